"""What Figures 3 and 4 share: the samples whose influence a run has followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import curves
from kdbench.figures import Curve, Lacking, Look
from kdbench.results import CellResult, Line, StudyResults, task_title
from kdbench.training import series

METHOD = "lgtm"
KEYS = ("influence", "teacher_p", "student_p", "teacher_predicts", "student_predicts")


@dataclass(frozen=True)
class Followed:
    """The samples of one run: `values[key][point][sample]`, where `steps` and `epochs` are those of the points."""

    cell: CellResult
    rows: tuple[int, ...]  # in the training set
    labels: tuple[int, ...]
    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    values: dict[str, list[list[float]]]

    def of(self, key: str, sample: int) -> list[float]:
        """One sample over training."""
        return [point[sample] for point in self.values[key]]

    def curve(self, key: str, sample: int, label: str, look: Look) -> Curve:
        about = {
            "row": self.cell.cell.row, "runs": self.cell.run.id, "key": key,
            "sample": self.rows[sample], "label": self.labels[sample],
        }  # fmt: skip
        values = {self.cell.cell.seed: tuple(self.of(key, sample))}
        return Curve(label, look, self.steps, self.epochs, values, about)


def line(study: StudyResults, task: str) -> Line:
    """The runs of the method.

    Raises:
        Lacking: none is done.
    """
    return curves.lines(study, task, [METHOD])[0]


def followed(shown: Line, task: str) -> list[Followed]:
    """What each seed wrote down.

    Raises:
        Lacking: nothing.
    """
    found = [one for cell in shown.shown[task] if (one := read(cell))]
    if not found:
        raise Lacking(f"{shown.title} on {task_title(task)} with influence_samples and influence_points above 0")
    return found


def read(cell: CellResult) -> Followed | None:
    """The samples of a run; None where it followed none."""
    points: dict[int, dict[str, list[float]]] = {}
    epochs: dict[int, float] = {}
    for row in series.read(cell.run.folder.series):
        if row["split"] == "influence":
            points.setdefault(row["step"], {})[row["key"]] = [curves.number(v) for v in row["value"]]
            epochs[row["step"]] = float(row["epoch"])
    steps = [step for step in sorted(points) if {"sample", "label", *KEYS} <= points[step].keys()]
    if not steps:
        return None
    first = points[steps[0]]
    values = {key: [points[step][key] for step in steps] for key in KEYS}
    rows, labels = (tuple(map(int, first[key])) for key in ("sample", "label"))
    return Followed(cell, rows, labels, tuple(steps), tuple(epochs[step] for step in steps), values)


def middle(points: Sequence[float]) -> Sequence[float]:
    """The middle half of a training, at least one point."""
    quarter = len(points) // 4
    return points[quarter : max(quarter + 1, len(points) - quarter)]
