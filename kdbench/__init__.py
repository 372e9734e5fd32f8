"""kdbench: compare knowledge-distillation methods for text classification."""

__version__ = "0.1.0"
