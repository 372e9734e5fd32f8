"""What the numbers of a cell are called, here and in the paper's tables."""

from __future__ import annotations

from kdbench.data.task import Task, metric_title

AVERAGE = "average"  # the key of the column
SHORT = {
    "accuracy": "Acc.", "balanced_accuracy": "bal. Acc.", "matthews": "MCC",
    "validation_matched": "m", "validation_mismatched": "mm",
}  # fmt: skip


def short_metric(name: str) -> str:
    """Return how heads of columns name a metric."""
    return SHORT.get(name) or metric_title(name)


def part_names(task: type[Task]) -> list[str]:
    """What the numbers of a cell are."""
    splits = [SHORT.get(name, name) for name in task.report_splits]
    metrics = list(map(short_metric, task.metrics))
    if len(splits) > 1:
        metrics = [f"{metric} {split}" if len(metrics) > 1 else split for split in splits for metric in metrics]
    return metrics
