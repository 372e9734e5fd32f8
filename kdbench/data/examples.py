"""Examples of a task: a split's columns, and all splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Examples:
    """A split as columns of equal length.

    `text_b` is None for single-sentence tasks. `labels` are class indices, or the numbers of a regression; -1 in
    unlabelled splits.
    """

    text_a: Sequence[str]
    text_b: Sequence[str] | None
    labels: Sequence[int] | Sequence[float]

    def __len__(self) -> int:
        return len(self.labels)

    def texts(self) -> list[tuple[str, str]]:
        """Return both texts of each row; the second is "" for single-sentence tasks."""
        return list(zip(self.text_a, self.text_b if self.text_b is not None else [""] * len(self), strict=True))


@dataclass(frozen=True)
class TaskData:
    """All splits of a task.

    `vocabulary` lists the words of synthetic data, for tokenizers of models built from a configuration; it is empty
    for real data.
    """

    splits: Mapping[str, Examples]
    vocabulary: Sequence[str] = field(default=())
