"""Compare two rows of a table, paired by seed and item."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.core.errors import UserError
from kdbench.data.metrics import SIGNED, ScoreCounts
from kdbench.data.task import Task
from kdbench.results import significance
from kdbench.results.predictions import Predictions
from kdbench.results.selection import SelectedRow
from kdbench.results.significance import Classes, Difference, Floats, Metric, WeightedMetric, mean_of_splits
from kdbench.results.study import CellResult

BOOTSTRAP = f"by bootstrap ({significance.RESAMPLES:,} resamples, fewer of large splits and regressions)"
SAME_SCORE = 1e-3  # a collected study keeps rounded numbers
ERROR_METHOD = (
    f"Paired by seed and reported item; the error counts both: items {BOOTSTRAP}, seeds by their sample variance with "
    "Student's t."
)


@dataclass(frozen=True)
class Comparison:
    """Two rows on a task over the seeds that both have, in per cent.

    As in tables, a score is the mean over seeds, splits and metrics.
    """

    seeds: tuple[int, ...]
    first: float
    second: float
    difference: Difference


def compare_cells(task: Task, first: Sequence[CellResult], second: Sequence[CellResult]) -> Comparison:
    """Compare the cells that a table shows of two rows, one a seed.

    The random numbers depend only on the ids of the runs; exchanging the rows only changes signs.

    Raises:
        UserError: the rows have no seed in common, or a run was scored on other items than the others.
    """
    seeds = sorted({c.cell.seed for c in first} & {c.cell.seed for c in second})
    sides = [[c for c in sorted(cells, key=_seed) if c.cell.seed in seeds] for cells in (first, second)]
    if not seeds:
        raise UserError(
            f"There is no seed that is done in both rows on {task.title} ({_seeds(first)} in one, {_seeds(second)} in "
            "the other); run both with the same --seeds."
        )
    sign, sides = (-1, sides[::-1]) if _ids(sides[0]) > _ids(sides[1]) else (1, sides)
    scores = 100 * sign * mean_of_splits([_split(task, split, sides) for split in task.report_splits])
    means = [float(np.mean(cell_scores(task, cells))) for cells in sides][::sign]
    return Comparison(tuple(seeds), means[0], means[1], significance.paired_difference(scores[0], scores[1:]))


@dataclass(frozen=True)
class SeedScores:
    """Scores of several rows on the same items and resampled items, in per cent.

    As in tables, a score is the mean over splits and metrics.

    Args:
        observed: by row and seed [K, S].
        resampled: the same over resampled items [R, K, S].
    """

    observed: Floats
    resampled: Floats

    def of(self, rows: Sequence[int]) -> SeedScores:
        """Return the scores of some rows alone."""
        return SeedScores(self.observed[rows], self.resampled[:, rows])

    def combined(self, weights: Sequence[float]) -> Difference:
        """Return the weighted sum of the rows, averaged over seeds, with its error.

        Args:
            weights: one a row [K]; (1, -1) gives the difference of two rows.
        """
        own = np.asarray(weights, float)
        return significance.paired_difference(own @ self.observed, np.einsum("k,rks->rs", own, self.resampled))


def score_seeds(task: Task, rows: Sequence[Sequence[CellResult]]) -> SeedScores:
    """Score rows on the same resampled items.

    Args:
        rows: the cells of each row, with the same seeds in the same order.

    Raises:
        UserError: a run kept no predictions, or was scored on other items than the others.
    """
    cells = [cell for row in rows for cell in row]
    scores = mean_of_splits([_resampled(task, split, cells) for split in task.report_splits])
    found = 100 * scores.reshape(-1, len(rows), len(rows[0]))
    return SeedScores(found[0], found[1:])


def mean_score(task: Task, cells: Sequence[CellResult]) -> Difference:
    """Return the mean score of a row over its seeds, in per cent, with the error of `significance.paired_difference`.

    The errors of two rows are not independent, because both are scored on the same items: use `compare_cells` to test
    whether rows differ.

    Raises:
        UserError: a run kept no predictions, or was scored on other items than the others.
    """
    return score_seeds(task, [cells]).combined([1.0])


def scale_interval(task: Task, found: Difference) -> tuple[float, float]:
    """Return the 95 % interval of a mean score, within the scale of the task's metrics."""
    low, high = found.interval()
    least = -math.inf if task.has_own_score else 0.0
    floor = statistics.fmean(-100.0 if metric in SIGNED else least for metric in task.metrics)
    return max(low, floor), min(high, 100.0)


def answers_difference(
    metric: Metric, splits: Sequence[tuple[Classes, Classes, Classes]], classes: int, most: int = significance.RESAMPLES
) -> Difference:  # fmt: skip
    """Return how much higher the first of two kinds of answers to the same items score, in per cent.

    Args:
        splits: for each split the true classes [n], and the first and the second predicted classes [S, n]; the second
            may be [1, n], for all seeds.
        most: resamples that are drawn at most.
    """
    parts = []
    for number, (labels, first, second) in enumerate(splits):
        answers = np.vstack([first, second])
        scores = significance.resample_scores(metric, labels, answers, classes, np.random.default_rng(number), most)
        parts.append(scores[:, : len(first)] - scores[:, len(first) :])
    found = 100 * mean_of_splits(parts)
    return significance.paired_difference(found[0], found[1:])


def count_trials(line: SelectedRow, task: str) -> int:
    """Count the settings among which a row was selected: grid points with a finished run."""
    return len({cell.point for cell in line.asked.get(task, ()) if cell.run.result is not None})


def _seed(cell: CellResult) -> int:
    """Return the seed of a cell."""
    return cell.cell.seed


def _seeds(cells: Sequence[CellResult]) -> str:
    return ", ".join(str(c.cell.seed) for c in sorted(cells, key=_seed)) or "none"


def _ids(cells: Sequence[CellResult]) -> list[str]:
    """Return the ids of the cells' runs."""
    return [c.run.id for c in cells]


def cell_scores(task: Task, cells: Sequence[CellResult]) -> Floats:
    """Return the mean over splits and metrics in per cent, by cell."""
    means: Floats = np.mean([[cell.score(*number) for number in task.numbers()] for cell in cells], axis=1)
    return means


def _split(task: Task, split: str, sides: Sequence[Sequence[CellResult]]) -> Floats:
    """Return the seeds' differences on one split, observed and over resampled items [1 + resamples, S]."""
    scores, seeds = _resampled(task, split, [cell for cells in sides for cell in cells]), len(sides[0])
    return np.ascontiguousarray(scores[:, :seeds] - scores[:, seeds:])


def _resampled(task: Task, split: str, cells: Sequence[CellResult]) -> Floats:
    """Return the scores of cells on one split, observed and over resampled items [1 + resamples, cells].

    A score is the mean of the metrics.

    Raises:
        UserError: see `same_items` and `check_scored_alike`, or a score of resampled items is not finite.
    """
    labels = same_items(split, cells)
    predicted: Any = np.stack([split_predictions(cell, split).classes for cell in cells])
    # random numbers that depend on the names alone
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256("|".join([split, *_ids(cells)]).encode()).digest()[:8]))
    if task.kind == "regression":
        found = significance.resample_numbers(_weighted_metric(task), labels, predicted.astype(np.float64), rng)
    else:
        found = significance.resample_scores(MeanMetric(task), labels, predicted, len(task.labels), rng)
    check_scored_alike(task, split, cells, found[0])
    if not np.isfinite(found).all():
        raise UserError(
            f"Task '{task.name}' scores some resampled rows of {split} by no finite number, so that no error can be "
            "computed; let its score return a number for any predictions."
        )
    return found


def check_scored_alike(task: Task, split: str, cells: Sequence[CellResult], found: Floats) -> None:
    """Check that a task with scores of its own computes those that the runs were given.

    Args:
        found: the mean of the metrics of each cell's predictions, as the task computes it now.

    Raises:
        UserError: its code has changed since, so that errors and differences would be of other scores than the means.
    """
    for cell, now in zip(cells, found, strict=True) if task.has_own_score else ():
        then = float(np.mean([cell.score(metric, split) for metric in task.metrics])) / 100
        if abs(now - then) > SAME_SCORE:
            raise UserError(
                f"Task '{task.name}' scores otherwise than when {cell.run.id} was trained ({100 * then:.2f} then, "
                f"{100 * now:.2f} now, {split}), so that no error can be computed; put its code back, or train anew."
            )


@dataclass(frozen=True)
class MeanMetric:
    """A function from class counts to the mean of a task's metrics."""

    task: Task

    @property
    def is_slow(self) -> bool:
        """Return whether one evaluation takes long; see `significance.resample_scores`."""
        return self.task.has_own_score

    def __call__(self, counts: ScoreCounts) -> Floats:
        """Return the mean [...] of the metrics."""
        mean: Floats = np.mean(list(self.task.score_classes(counts).values()), axis=0)
        return mean


def _weighted_metric(task: Task) -> WeightedMetric:
    """Return a function from weighted items to the mean of the task's metrics."""

    def metric(weights: Floats, predicted: Floats, true: Floats) -> Floats:
        mean: Floats = np.mean(list(task.score_weights(weights, predicted, true).values()), axis=0)
        return mean

    return metric


def split_predictions(cell: CellResult, split: str) -> Predictions:
    """Return the predictions of a cell's run on a split."""
    found = cell.run.predictions
    if split not in found:
        raise UserError(f"{cell.run.id} kept no predictions of {split} (kept: {', '.join(found) or 'none'}).")
    return found[split]


def same_items(split: str, cells: Sequence[CellResult]) -> Any:
    """Return the labels [n], classes or numbers, that all runs were scored with.

    Raises:
        UserError: the labels differ.
    """
    reference = cells[0]
    labels = split_predictions(reference, split).labels
    for cell in cells:
        data = cell.run.spec.data.fingerprint
        own = split_predictions(cell, split).labels
        if data != reference.run.spec.data.fingerprint or not (own is labels or np.array_equal(own, labels)):
            raise UserError(
                f"{reference.run.id} and {cell.run.id} were scored on different data ({split}), so they cannot be "
                "compared item by item; run both on the same data."
            )
    return labels
