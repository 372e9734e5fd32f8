"""The samples whose influence a run followed; shared by Figures 3 and 4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from kdbench.analysis import curves
from kdbench.analysis.published import PAPER_METHOD
from kdbench.reporting.figures import Curve, LineStyle
from kdbench.results import series
from kdbench.results.selection import SelectedRow
from kdbench.results.study import CellResult, StudyResults

WIDE = 100  # times the median: values beyond are not seen together with most others
KEYS = ("influence", "teacher_p", "student_p", "teacher_predicts", "student_predicts")


@dataclass(frozen=True)
class FollowedSamples:
    """The samples of one run: `values[key][point][sample]`; `steps` and `epochs` are those of the points."""

    cell: CellResult
    rows: tuple[int, ...]  # in the training set
    labels: tuple[int, ...]
    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    values: dict[str, list[list[float]]]

    def of(self, key: str, sample: int) -> list[float]:
        """Return the values of one sample over training."""
        return [point[sample] for point in self.values[key]]

    def curve(self, key: str, sample: int, label: str, look: LineStyle) -> Curve:
        """Build the curve of one sample."""
        about = {
            "row": self.cell.cell.row, "runs": self.cell.run.id, "key": key,
            "sample": self.rows[sample], "label": self.labels[sample],
        }  # fmt: skip
        values = {self.cell.cell.seed: tuple(self.of(key, sample))}
        return Curve(label, look, self.steps, self.epochs, values, about)


def followed_row(study: StudyResults, task: str) -> tuple[SelectedRow, list[str]]:
    """Return the method's runs that followed samples, and a note about those that did not.

    Raises:
        Lacking: no finished run followed samples.
    """
    (shown,), told = curves.drop_incomplete_seeds(
        curves.method_lines(study, task, [PAPER_METHOD]), task, {"influence": _points}
    )
    return shown, told


def samples_by_seed(shown: SelectedRow, task: str) -> list[FollowedSamples]:
    """Return the samples of each seed."""
    return [one for cell in shown.shown[task] if (one := read_samples(cell))]


def linear_range(drawn: Iterable[Curve]) -> float | None:
    """Return the power of ten up to which an axis of influences is linear; None where all of it is.

    Influences grow over training by orders of magnitude; on a linear axis a few of them hide all others.
    """
    every = (value for curve in drawn for values in curve.values.values() for value in values)
    sizes = sorted(abs(value) for value in every if value and math.isfinite(value))
    usual = median(sizes) if sizes else 1.0
    return 10.0 ** math.floor(math.log10(usual)) if sizes and sizes[-1] > WIDE * usual else None


def range_notes(linear_to: float | None) -> list[str]:
    """Explain an axis that is not linear."""
    return [] if linear_to is None else [f"Influence: linear from -{linear_to:g} to {linear_to:g}, logarithmic beyond."]


def _points(cell: CellResult) -> curves.SeriesPoints:
    """Return step -> (epoch, key -> one number a sample); steps that lack a key are left out."""
    points: dict[int, tuple[float, dict[str, list[float]]]] = {}
    for row in series.read_series(cell.run.folder.series):
        if row["split"] == "influence":
            _, values = points.setdefault(row["step"], (float(row["epoch"]), {}))
            values[row["key"]] = [curves.stored_number(v) for v in row["value"]]
    return {step: point for step, point in sorted(points.items()) if {"sample", "label", *KEYS} <= point[1].keys()}


def read_samples(cell: CellResult) -> FollowedSamples | None:
    """Read the samples of a run; None where it followed none."""
    points = _points(cell)
    if not points:
        return None
    epochs, values = zip(*points.values(), strict=True)
    rows, labels = (tuple(map(int, values[0][key])) for key in ("sample", "label"))
    return FollowedSamples(cell, rows, labels, tuple(points), epochs, {key: [v[key] for v in values] for key in KEYS})


def middle_half(points: Sequence[float]) -> Sequence[float]:
    """Return the middle half of a training, at least one point."""
    quarter = len(points) // 4
    return points[quarter : max(quarter + 1, len(points) - quarter)]
