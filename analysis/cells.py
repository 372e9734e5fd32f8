"""What the numbers of a cell are called, here and in the paper's tables."""

from __future__ import annotations

from kdbench.task import Task

AVERAGE = "average"  # the key of the column
SHORT = {"accuracy": "Acc.", "f1": "F1", "validation_matched": "m", "validation_mismatched": "mm"}


def part_names(task: type[Task]) -> list[str]:
    """What the numbers of a cell are."""
    splits = [SHORT.get(name, name) for name in task.report_splits]
    metrics = [SHORT.get(name, name) for name in task.metrics]
    if len(splits) > 1:
        metrics = [f"{metric} {split}" if len(metrics) > 1 else split for split in splits for metric in metrics]
    return metrics
