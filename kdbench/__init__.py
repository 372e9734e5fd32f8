"""kdbench: compare knowledge-distillation methods for text classification.

What authors of methods and tasks need, and what a notebook wants, is imported from here; `__init__.pyi` lists it.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
