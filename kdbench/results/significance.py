"""Test whether one method is better than another: a paired bootstrap over items, and the spread over seeds.

Both methods are scored on the same reported items with the same seeds. The test is about D, the mean difference over
S seeds. D would be different with other items and with other seeds, so both count:

    Var(D) = cov + max(between, var - cov) / S

`var` and `cov` are the variance of a seed's difference over resampled items and the covariance of two seeds'
differences over the same resampled items (the bootstrap; Efron & Tibshirani 1993, chapter 6). `between` is the sample
variance of the seeds' differences, with S - 1 degrees of freedom; the sum has degrees of freedom by Satterthwaite's
rule. This is the analysis of Obuchowski & Rockette (1995) for readers and cases, which vary in the same two ways, with
degrees of freedom in the spirit of Hillis (2007).

The seeds' part is never below the value that the items alone would give it, var - cov. That bound comes from thousands
of resamples and not from S seeds. Where it binds, the uncertainty of the seeds' part is therefore that of the smaller
`between`, but of half the bound at least, and of the whole bound with two seeds. Were S - 1 degrees of freedom charged
to the bound itself, a test at 5 % with three seeds would find equal methods different in 0.0 to 0.3 % of cases where
seeds add little to the items, and so would miss most real differences.

The seeds are not resampled, because there are few of them: S values drawn from S seeds have a variance that is too
small by the factor (S - 1) / S, and lack the tails of Student's t. tests/kdbench/test_significance.py measures how
often either interval holds the truth.

Dror et al. (2018) recommend resampling for F1; one test for all metrics keeps a table's marks comparable. Items of a
regression have no patterns; their metrics take the number of times that each item is drawn.
scipy.stats.bootstrap resamples one axis and computes a metric anew for each draw; hence our own bootstrap, on counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from kdbench.data.metrics import ScoreCounts

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]
Metric = Callable[[ScoreCounts], Floats]
WeightedMetric = Callable[[Floats, Floats, Floats], Floats]  # of weights [R, n], predicted [K, n] and true numbers [n]

# The standard error of a standard error is then 0.7 % of it. A p-value needs more than that: of 1,000 resamples, a pair
# with a corrected p-value of 0.04 came out between 0.02 and 0.07.
RESAMPLES = 10_000
FEWEST = 1_000  # where answers are many
MOST_ANSWERS = 3e9  # that are drawn; more take longer than two seconds
MOST_NUMBERS = 3e7  # the same of a regression, whose ranks take longer
ALPHA = 0.05
LEVEL = f"{100 * ALPHA:g} %, Holm-corrected over"
POWER = 0.80
BOUND_SHARE = 0.5  # of 0.25, p-values below 0.001 come out too small where seeds vary much
MOST_SEEDS = 50  # a larger number hangs on the draw of the items: of one pair, five draws gave 73 to 542
_AT_ONCE = 300_000  # numbers of a block of resamples, which the processor's cache holds


@dataclass(frozen=True)
class Difference:
    """A mean paired difference and its error, in the unit of the scores.

    Args:
        value: mean over seeds of the first minus the second.
        seeds: number of seeds.
        between: variance of one seed's difference, of which `seeds` are averaged; 0 with one seed, which says nothing
            about it.
        shared: variance that more seeds do not average away, because all are measured on the same items.
        degrees: degrees of freedom of the variance of `value`; infinite where only items count.
        free: degrees of freedom that every seed after the first adds to `between`: one a task, and up to four where
            the items bound the variance between seeds.
    """

    value: float
    seeds: int
    between: float
    shared: float
    degrees: float
    free: float = 1.0

    @property
    def variance(self) -> float:
        """Return the variance of `value`."""
        return self.shared + self.between / self.seeds

    def interval(self, level: float = 1 - ALPHA) -> tuple[float, float]:
        """Return the two-sided confidence interval by Student's t."""
        half = _quantile(self.degrees, 1 - (1 - level) / 2) * math.sqrt(self.variance)
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Return the two-sided p-value of no difference; 1 for rows with the same predictions."""
        if self.variance == 0:
            return float(self.value == 0)
        return min(1.0, 2 * _below(self.degrees, -abs(self.value) / math.sqrt(self.variance)))


def paired_difference(values: Floats, resampled: Floats) -> Difference:
    """Return the mean difference on one task with its error.

    Args:
        values: the seeds' differences [S].
        resampled: the same over resampled items [R, S]; in each row all seeds have the same items.
    """
    return difference_of(values, np.atleast_2d(np.cov(resampled, rowvar=False)))


def difference_of(values: Floats, covariance: Floats) -> Difference:
    """Return the mean over seeds with its error.

    Args:
        values: of the seeds [S].
        covariance: that of the values over resampled items [S, S].
    """
    seeds = len(values)
    own = float(np.trace(covariance)) / seeds
    if seeds == 1:
        return Difference(float(values[0]), 1, 0.0, own, math.inf)
    shared = max(0.0, float(covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))
    seen, bound = float(np.var(values, ddof=1)), max(0.0, own - shared)
    between = max(seen, bound)
    # what the seeds themselves say of the variance between them, which alone is uncertain
    uncertain = max(seen, BOUND_SHARE * bound if seeds > 2 else bound)
    free = (between / uncertain) ** 2 if uncertain else 1.0
    degrees = _satterthwaite([shared, between / seeds], [math.inf, free * (seeds - 1)])
    return Difference(float(np.mean(values)), seeds, between, shared, degrees, free)


def average_difference(parts: Sequence[Difference]) -> Difference:
    """Average over tasks, whose items and trainings are independent; the tasks themselves are not a sample.

    The result's `seeds` are the fewest of a task.
    """
    count, seeds = len(parts), min(part.seeds for part in parts)
    variances = [part.variance / count**2 for part in parts]
    trained = [part for part in parts if part.between]
    own = [part.between / part.seeds / count**2 for part in trained]
    between = sum(own) * seeds
    free = _satterthwaite(own, [part.free * (part.seeds - 1) for part in trained]) if seeds > 1 else math.inf
    degrees = _satterthwaite(variances, [part.degrees for part in parts])
    shared = max(0.0, sum(variances) - between / seeds)
    value = sum(part.value for part in parts) / count
    return Difference(value, seeds, between, shared, degrees, 1.0 if math.isinf(free) else free / (seeds - 1))


def _satterthwaite(variances: Sequence[float], degrees: Sequence[float]) -> float:
    """Return the degrees of freedom of a sum of independent variance estimates (Satterthwaite 1946)."""
    spread = sum(variance**2 / free for variance, free in zip(variances, degrees, strict=True))
    return sum(variances) ** 2 / spread if spread else math.inf


def _quantile(degrees: float, probability: float) -> float:
    """Return a quantile of Student's t. scipy.special imports faster than scipy.stats."""
    return float(special.ndtri(probability) if math.isinf(degrees) else special.stdtrit(degrees, probability))


def _below(degrees: float, t: float) -> float:
    """Return the cumulative probability of Student's t."""
    return float(special.ndtr(t) if math.isinf(degrees) else special.stdtr(degrees, t))


def mean_of_splits(parts: Sequence[Floats]) -> Floats:
    """Return the mean over splits of their scores [1 + resamples, K]; all have as many as the split with the fewest."""
    shortest = min(map(len, parts))
    mean: Floats = np.mean(np.stack([part[:shortest] for part in parts]), axis=0)
    return mean


def _number(answers: int, most: float) -> int:
    """Return how many resamples are drawn of so many answers of all trainings together."""
    return min(RESAMPLES, max(FEWEST, int(most / answers)))


def resample_scores(
    metric: Metric, labels: Classes, predicted: Classes, classes: int, rng: np.random.Generator, most: int = RESAMPLES
) -> Floats:  # fmt: skip
    """Return the scores of K trainings [1 + resamples, K]: on the items as they are, then on resampled items.

    In each row all trainings have the same items. Items with the same label and the same predictions form a pattern.
    The counts of resampled patterns are multinomial, which is the bootstrap over items at a cost that does not grow
    with their number. Sparse sums over the wrong predictions, which are few, give the counts of the classes.

    Args:
        metric: a function of class counts; one that `is_slow` gets the fewest resamples.
        labels: true classes [n].
        predicted: classes [K, n].
        classes: number of classes.
        most: resamples that are drawn at most.
    """
    from scipy.sparse import csr_array

    number = FEWEST if getattr(metric, "is_slow", False) else min(most, _number(predicted.size, MOST_ANSWERS))
    patterns, counts = _patterns(np.vstack([labels, predicted]), classes)
    truth, predicted = patterns[0], patterns[1:]
    trainings, width = predicted.shape
    # which patterns are of a class [C, U], which ones a training misses, and to which it gives the class [K C, U]
    training, wrong = np.nonzero(predicted != truth)
    of_class = csr_array((np.ones(width), (truth, np.arange(width))), (classes, width))
    missed, claimed = (
        csr_array((np.ones(len(wrong)), (training * classes + some, wrong)), (trainings * classes, width))
        for some in (truth[wrong], predicted[training, wrong])
    )
    blocks = []
    for weights in (counts[None, :], *_draws(counts, rng, number, _AT_ONCE // (trainings * classes))):
        actual = np.repeat((of_class @ weights.T)[None], trainings, axis=0)  # [K, C, R]
        hits = actual - (missed @ weights.T).reshape(actual.shape)
        claims = hits + (claimed @ weights.T).reshape(actual.shape)
        # [R, K, C]
        hits, actual, claims = (np.ascontiguousarray(np.moveaxis(some, -1, 0)) for some in (hits, actual, claims))
        blocks.append(
            metric(ScoreCounts(hits, actual, claims, partial(_confusion, truth, predicted, weights, classes)))
        )
    return np.concatenate(blocks)


def resample_numbers(metric: WeightedMetric, true: Floats, predicted: Floats, rng: np.random.Generator) -> Floats:
    """Return the scores of K regressions [1 + resamples, K]: on the items as they are, then on resampled items.

    Args:
        true: the true numbers [n].
        predicted: numbers [K, n].
    """
    counts = np.ones(len(true))
    number = _number(predicted.size, MOST_NUMBERS)
    blocks = (counts[None, :], *_draws(counts, rng, number, number))
    return np.concatenate([metric(weights, predicted, true) for weights in blocks])


def _confusion(truth: Classes, predicted: Classes, weights: Floats, classes: int) -> Floats:
    """Return confusion matrices [R, K, C, C] of resampled counts [R, U]."""
    places = np.arange(len(predicted))[:, None] * classes**2 + truth * classes + predicted
    size = len(predicted) * classes**2
    found = [np.bincount(places.ravel(), np.tile(one, len(predicted)), minlength=size) for one in weights]
    return np.stack(found).reshape(len(weights), len(predicted), classes, classes).astype(np.float64)


def _patterns(columns: Classes, classes: int) -> tuple[Classes, Floats]:
    """Return the distinct items [1 + K, U] and their counts [U]."""
    code, bound = columns[0], classes
    for column in columns[1:]:
        if bound > 2**62 // classes:  # numbered anew, so that no code overflows
            code = np.unique(code, return_inverse=True)[1]
            bound = int(code.max()) + 1
        code, bound = code * classes + column, bound * classes
    _, where, counts = np.unique(code, return_index=True, return_counts=True)
    return columns[:, where], counts.astype(np.float64)


def _draws(counts: Floats, rng: np.random.Generator, number: int, most: int) -> Iterator[Floats]:
    """Yield `number` resampled counts of the patterns [some, U], in blocks of at most `most` that fit into memory."""
    items, block = int(counts.sum()), max(1, min(most, _AT_ONCE // len(counts)))
    for start in range(0, number, block):
        some = min(block, number - start)
        yield rng.multinomial(items, counts / items, size=some).astype(np.float64)


def holm_correction(p: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979), in the order given; scipy has no step-down correction."""
    order = np.argsort(np.asarray(p), kind="stable")
    steps = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in out]


def seeds_needed(found: Difference, level: float = ALPHA) -> int | None:
    """Return how many seeds would show a difference of this size in 80 of 100 studies on the same items.

    Two-sided at `level`, by the noncentral t distribution. None where the items are too few however many seeds there
    are, or where more than `MOST_SEEDS` are needed. A rough number: few seeds say little about the variance between
    them.

    Raises:
        ValueError: there is one seed, which says nothing about the variance between seeds.
    """
    if found.seeds < 2:
        raise ValueError("The variance between seeds needs two seeds.")
    if found.value == 0:
        return None
    seeds = np.arange(2, MOST_SEEDS + 1)
    enough = np.flatnonzero(_power(found, seeds, level) >= POWER)
    return int(seeds[enough[0]]) if len(enough) else None


def _power(found: Difference, seeds: NDArray[Any], level: float) -> Floats:
    """Return the power of the test by number of seeds."""
    part = found.between / seeds
    variance = np.maximum(found.shared + part, np.finfo(float).tiny)
    spread = np.maximum(part**2 / (found.free * (seeds - 1)), variance**2 / 1e6)  # at most a million degrees of freedom
    degrees = variance**2 / spread
    limit, shift = special.stdtrit(degrees, 1 - level / 2), np.minimum(abs(found.value) / np.sqrt(variance), 30.0)
    power: Floats = 1 - special.nctdtr(degrees, shift, limit)  # the other tail adds nothing where it matters
    return power
