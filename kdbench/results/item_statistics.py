"""Statistics of items with first-order errors: a value, and how much each item moves it.

The influence of an item on a statistic T of n items is the derivative of T by the item's weight, times n. Its mean is
0 and the variance of T over other items is var(influence) / n (the infinitesimal jackknife; Jaeckel 1972, Efron 1982,
chapter 6). For means that is the textbook formula and what the bootstrap over items converges to; it needs no draws.
Seeds come in as everywhere in kdbench, by `significance.difference_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.results.significance import Difference, Floats, difference_of


@dataclass(frozen=True)
class ItemStatistic:
    """A statistic of n items, and the influence of each item on it [n]."""

    value: float
    influence: Floats

    def __sub__(self, other: ItemStatistic) -> ItemStatistic:
        return ItemStatistic(self.value - other.value, self.influence - other.influence)

    def times(self, factor: float) -> ItemStatistic:
        """Return the statistic in another unit."""
        return ItemStatistic(factor * self.value, factor * self.influence)


def mean_of(values: NDArray[np.generic]) -> ItemStatistic:
    """Return the mean of values [n]."""
    numbers = values.astype(np.float64)
    mean = float(numbers.mean())
    return ItemStatistic(mean, numbers - mean)


def share_among(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> ItemStatistic | None:
    """Return the share of hits [n] in the items `among` [n]; None where there is no such item."""
    if not among.any():
        return None
    share = float(hits[among].mean())
    return ItemStatistic(share, among * (hits - share) / among.mean())


def average_over_seeds(seeds: Sequence[Sequence[ItemStatistic]]) -> Difference:
    """Return the mean over seeds and splits with its error.

    Args:
        seeds: for each seed a statistic for each split; all seeds have the same items.
    """
    splits = len(seeds[0])
    values = np.array([np.mean([part.value for part in parts]) for parts in seeds])
    covariance = np.zeros((len(seeds), len(seeds)))
    for i in range(splits):  # splits have different items, so their errors are independent
        influence = np.stack([parts[i].influence for parts in seeds])
        covariance += influence @ influence.T / (influence.shape[1] * splits) ** 2
    return difference_of(values, covariance)
