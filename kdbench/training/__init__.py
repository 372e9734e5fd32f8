"""Turn a plan into results: checks before the start, the training loop, checkpoints, evaluation."""
