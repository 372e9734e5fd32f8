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
    """

    name: str
    rows: int
    words: tuple[str, ...]
    filler: str
    split: str = "test"
    limits: tuple[float, float] = (0.0, 0.0)

    @property
    def filename(self) -> str:
        return f"{self.name}.tsv"


@dataclass(frozen=True)
class Server:
    """A server that scores test splits.

    Args:
        title: its name in messages.
        page: the web page for submissions.
        others: further files that it requires, of tasks that kdbench does not have.
    """

    title: str
    page: str
    others: tuple[ServerFile, ...]
