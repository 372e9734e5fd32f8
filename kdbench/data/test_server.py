"""Describe a test server: the files with predictions that it expects in a zip, one for each test split."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerFile:
    """The predictions for one test split.

    Args:
        name: the file's name without suffix.
        rows: number of rows of the published split, and so of predictions.
        words: the valid predictions, in class order; empty for a number within `limits`.
        filler: the prediction without a student, the most frequent class of the training set.
        split: the split's name in the task's sources.
        limits: the smallest and the largest number.
        metrics: those of the server's answer; () for those of the task.
    """

    name: str
    rows: int
    words: tuple[str, ...]
    filler: str
    split: str = "test"
    limits: tuple[float, float] = (0.0, 0.0)
    metrics: tuple[str, ...] = ()

    def word_of(self, answer: float) -> str:
        """Return the server's word for a class index, or for a number, which is moved into the limits."""
        if self.words:
            return self.words[int(answer)]
        return f"{max(self.limits[0], min(self.limits[1], answer)):.3f}"

    @property
    def filename(self) -> str:
        return f"{self.name}.tsv"


@dataclass(frozen=True)
class Server:
    """A server that scores test splits.

    Args:
        title: its name in messages.
        page: the web page for submissions.
    """

    title: str
    page: str
