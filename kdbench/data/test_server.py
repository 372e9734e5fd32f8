"""What a test server takes: a zip with one file of predictions for each of its test splits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerFile:
    """The predictions for one test split.

    Args:
        name: the server's, without the ending.
        rows: of the published split; a prediction is wanted for each.
        words: what a prediction may be, in class order; empty where it is a number within `limits`.
        filler: the prediction where there is no student: the most frequent class of the training set.
        split: as the task's sources call it.
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
    """A place that scores test splits.

    Args:
        title: as people call it.
        page: where the zip is handed in.
        others: files that it wants although no task here stands behind them.
    """

    title: str
    page: str
    others: tuple[ServerFile, ...]
