"""Tasks, their data splits, and batches of tokens."""
