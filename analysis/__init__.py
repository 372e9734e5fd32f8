"""The paper's tables and figures, one file each, made from stored results without loading a model."""
