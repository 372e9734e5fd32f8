"""Tasks, and the way from their files to batches of tokens."""
