"""Names of the numbers of a cell, as in the paper's tables."""

from __future__ import annotations

from kdbench.data.task import Task, metric_title

AVERAGE = "average"  # the key of the column
SHORT = {
    "accuracy": "Acc.", "balanced_accuracy": "bal. Acc.", "matthews": "MCC",
    "validation_matched": "m", "validation_mismatched": "mm",
}  # fmt: skip


def short_metric(name: str) -> str:
    """Return the name of a metric in the heads of columns."""
    return SHORT.get(name) or metric_title(name)


def part_names(task: type[Task]) -> list[str]:
    """Return the names of the numbers of a cell."""
    splits = [SHORT.get(name, name) for name in task.report_splits]
    metrics = list(map(short_metric, task.metrics))
    if len(splits) > 1:
        metrics = [f"{metric} {split}" if len(metrics) > 1 else split for split in splits for metric in metrics]
    return metrics
