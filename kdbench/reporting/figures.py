"""Figures as plugins: each knows which points it shows of stored results, and nothing about how they are drawn."""

from __future__ import annotations

import math
import statistics
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from kdbench.core.registry import Registry
from kdbench.planning.exhibits import Exhibit
from kdbench.reporting.data_frames import records_frame
from kdbench.results.study import StudyResults

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class LineStyle:
    """Describe how a curve is drawn; `thin` is for one of many."""

    color: str
    dash: str | tuple[int, tuple[float, ...]]
    marker: str = "o"
    thin: bool = False


@dataclass(frozen=True)
class Curve:
    """Values over training, a line a seed; drawn is their mean, and a band of one standard deviation.

    Curves of one label look the same and are one entry of the legend. `about` goes into CSV. A curve over something
    else than training names that in `x_name`, as CSV does, and has its values in place of epochs; see `over`. A
    `reference` is drawn in every part of a figure whose curves are too many for one; see `figure_parts`.
    """

    label: str
    look: LineStyle
    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    values: Mapping[int, tuple[float, ...]]  # seed -> a value a step
    about: Mapping[str, Any] = field(default_factory=dict)
    x_name: str = ""
    reference: bool = False

    @classmethod
    def over(
        cls, x_name: str, xs: Iterable[float], label: str, look: LineStyle, values: Mapping[int, Iterable[float]],
        about: Mapping[str, Any],
    ) -> Curve:  # fmt: skip
        """Return a curve over `x_name`, which has the values `xs`."""
        kept = {seed: tuple(map(float, some)) for seed, some in values.items()}
        places = tuple(map(float, xs))
        return cls(label, look, tuple(range(len(places))), places, kept, about, x_name)

    @property
    def frame(self) -> DataFrame:
        """Return the values as a data frame with the columns step, epoch, seed, value."""
        import pandas as pd

        points = [(*at, seed, value) for seed, values in self.values.items()
                  for *at, value in zip(self.steps, self.epochs, values, strict=True)]  # fmt: skip
        return pd.DataFrame(points, columns=["step", "epoch", "seed", "value"])

    @property
    def mean(self) -> list[float]:
        return [statistics.fmean(at) for at in zip(*self.values.values(), strict=True)]

    @property
    def spread(self) -> list[float] | None:
        """Return the sample standard deviation over seeds [steps], or None where there is one seed."""
        if len(self.values) < 2:
            return None
        # statistics.stdev does not take nan
        columns = zip(*self.values.values(), strict=True)
        return [statistics.stdev(at) if all(map(math.isfinite, at)) else math.nan for at in columns]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds (or other points) with its interval, a row of a panel. `about` goes into CSV."""

    label: str
    look: LineStyle
    seeds: Mapping[Any, float]
    mean: float
    interval: tuple[float, float] | None
    about: Mapping[str, Any] = field(default_factory=dict)
    point_name: str = "seed"

    @property
    def records(self) -> Iterator[dict[str, Any]]:
        low, high = self.interval or ("", "")
        for seed, value in self.seeds.items():
            yield {self.point_name: seed, "value": value, "mean": self.mean, "low": low, "high": high}


@dataclass(frozen=True)
class Matrix:
    """Counts of items by true and predicted class [C, C], of the row `label`."""

    label: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def shares(self) -> list[list[float]]:
        """Return the shares of each true class [C, C]; 0 where it has no item."""
        return [[number / max(1, sum(row)) for number in row] for row in self.counts]

    @property
    def records(self) -> Iterator[dict[str, Any]]:
        for label, counts, shares in zip(self.labels, self.counts, self.shares, strict=True):
            for predicted, number, share in zip(self.labels, counts, shares, strict=True):
                yield {"true": label, "predicted": predicted, "count": number, "share": share}


@dataclass(frozen=True)
class Panel:
    """Axes with curves, with estimates below each other, or with a matrix, which is the only panel of its figure.

    Attributes:
        rule: a horizontal line to measure by.
        limits: those of the vertical axis; of estimates, of the horizontal one.
        by_step: curves run over steps instead of epochs.
        x_title: the label of the horizontal axis of curves that run over something else.
        linear_to: the vertical axis is linear up to this number, and logarithmic beyond it; None is a linear axis.
        others: curves of other parts of the figure, drawn pale behind those of this one.
        estimates: rows from the top; where there are some, `y_label` is the label of the horizontal axis.
    """

    y_label: str
    curves: Sequence[Curve] = ()
    title: str = ""
    rule: float | None = None
    limits: tuple[float, float] | None = None
    by_step: bool = False
    estimates: Sequence[Estimate] = ()
    x_title: str = ""
    matrix: Matrix | None = None
    linear_to: float | None = None
    others: Sequence[Curve] = ()

    @property
    def x_label(self) -> str:
        if self.estimates:
            return self.y_label
        return self.x_title or ("Step" if self.by_step else "Epoch")


@dataclass(frozen=True)
class FigureData:
    """A figure, ready to be drawn: panels row by row, the last row perhaps not full.

    `columns` holds at page width, `narrow` at the width of a column. `printed` are the notes that stand in the figure
    itself; the others are for its caption. With `share`, panels beside each other have one vertical scale.
    """

    title: str
    panels: Sequence[Panel]
    columns: int = 1
    narrow: int = 1
    notes: Sequence[str] = ()
    printed: Sequence[str] = ()
    about: Mapping[str, Any] = field(default_factory=dict)  # what it was drawn from; goes into CSV and names of files
    share: bool = False

    @property
    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a record for each value that is drawn, with the mean and the spread or interval that are drawn."""
        for panel in self.panels:
            place = {"panel": " ".join(f"{panel.title} {panel.y_label}".split())}
            for curve in panel.curves:
                for record in _points(curve):
                    yield {**self.about, **place, "curve": curve.label, **curve.about, **record}
            for row in panel.estimates:
                for record in row.records:
                    yield {**self.about, **place, "curve": row.label, **row.about, **record}
            if panel.matrix is not None:
                for record in panel.matrix.records:
                    yield {**self.about, **place, "curve": panel.matrix.label, **record}

    @property
    def frame(self) -> DataFrame:
        """Return `records` as a data frame."""
        return records_frame(self.records)


def _points(curve: Curve) -> Iterator[dict[str, Any]]:
    mean, spread = curve.mean, curve.spread
    for seed, values in curve.values.items():
        for i, value in enumerate(values):
            trained = {"step": curve.steps[i], "epoch": curve.epochs[i]}
            at = {curve.x_name: curve.epochs[i]} if curve.x_name else trained
            yield {
                **at,
                "seed": seed,
                "value": _number(value),
                "mean": _number(mean[i]),
                "sd": _number(spread[i]) if spread else "",
            }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else ""


class Lacking(Exception):
    """Say that what a figure shows is not there: `LGTM on MNLI`.

    Args:
        lost: runs are done and did not keep it, which no training brings back.
        sentence: says what is wrong where that is something else.
    """

    def __init__(self, what: str, *, lost: bool = False, sentence: str = "") -> None:
        super().__init__(what)
        self.lost = lost
        self.sentence = sentence


class Figure(Exhibit):
    """A figure of the paper. Subclass it in a file `analysis/figureN.py`."""

    task: ClassVar[str]  # the one that the paper draws; "" is every task of a study, see `TaskFigure`

    @abstractmethod
    def build(self, study: StudyResults, task: str) -> FigureData:
        """Build the figure for one task of one study.

        Raises:
            Lacking: a run that it shows is not done, or wrote down nothing to draw.
        """


class TaskFigure(Figure):
    """A figure that any study has, a panel for each of its tasks. Subclass it in a file `analysis/figure_NAME.py`.

    Class attributes:
        lacking: the sentence about a study without anything to draw; by default it names the command that trains runs.
    """

    title = ""  # a base, not a figure
    task = ""
    lacking: ClassVar[str] = ""

    @abstractmethod
    def build_panels(self, study: StudyResults, tasks: Sequence[str]) -> FigureData:
        """Build one figure of all these tasks that have something to show.

        Raises:
            Lacking: none has.
        """

    def build_figures(self, study: StudyResults, tasks: Sequence[str]) -> list[FigureData]:
        """Build the figures of all these tasks: one, unless a subclass makes several.

        Raises:
            Lacking: there is nothing to show.
        """
        return [self.build_panels(study, tasks)]

    def build(self, study: StudyResults, task: str) -> FigureData:
        return self.build_panels(study, [task])


FIGURES: Registry[Figure] = Registry("figure", "kdbench.figures", Figure)  # type: ignore[type-abstract]
