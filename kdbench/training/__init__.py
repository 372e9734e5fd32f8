"""From a plan to results: checks before the start, the training loop, checkpoints, evaluation."""
