"""Compute which share of the way from a baseline to the teacher a row covers, with an interval.

The share r of the tasks together solves mean(row - baseline) = r mean(teacher - baseline). Its interval has every r at
which (row - baseline) - r (teacher - baseline) does not differ from 0 by the test of `significance` (Fieller 1954). It
ends on both sides only where the teacher differs from the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kdbench.results.comparison import SeedScores
from kdbench.results.significance import ALPHA, Difference, average_difference

FARTHEST = 2.0**20  # from the share, where an end is looked for


@dataclass(frozen=True)
class GapShare:
    """A share and the ends of its 95 % interval, as fractions; without an interval where the gap may be none.

    The share is nan where the teacher is not above the baseline: a row below both would cover part of such a gap.
    """

    value: float
    interval: tuple[float, float] | None


def covered_share(tasks: Sequence[SeedScores]) -> GapShare:
    """Return the share of the gap that the row covers over the tasks together.

    Args:
        tasks: for each task the scores of baseline, row and teacher, in this order.
    """

    def left(share: float) -> Difference:
        return average_difference([task.combined((share - 1, 1, -share)) for task in tasks])

    gap = average_difference([task.combined((-1, 0, 1)) for task in tasks])
    if gap.value <= 0:
        return GapShare(math.nan, None)
    value = left(0).value / gap.value
    if gap.p >= ALPHA:
        return GapShare(value, None)
    ends = sorted(_end(lambda share: left(share).p - ALPHA, value, sign) for sign in (-1, 1))
    return GapShare(value, (ends[0], ends[1]))


def _end(excess: Callable[[float], float], start: float, sign: int) -> float:
    """Return where `excess` falls to 0 on one side of `start`."""
    from scipy.optimize import brentq

    if excess(start) <= 0:  # without any error
        return start
    near, reach = start, 0.125
    while excess(start + sign * reach) > 0:
        near, reach = start + sign * reach, 2 * reach
        if reach > FARTHEST:
            return sign * math.inf
    return float(brentq(excess, near, start + sign * reach, xtol=1e-6))
