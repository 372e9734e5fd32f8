"""Tell whether a file of outputs holds logits or probabilities, and turn its values into logits."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.core.formatting import count

Content = Literal["auto", "logits", "probabilities"]
SUM_TOLERANCE = 1e-3  # of probabilities with many decimals, whose sums have errors of computation
DECIMALS = range(2, 6)  # to which probabilities are rounded; with one, nearly any values would pass
LARGEST_TOLERANCE = 0.5  # a row that rounding can have moved by more says too little
EQUAL_SUMS = 1e-3  # sums of rows that differ by less than this part are no accident
SMALLEST = 1e-12  # probabilities below are raised to it before the logarithm
SHOWN = 4  # values of a wrong row that a message shows


def is_probabilities(values: NDArray[np.float64], content: Content, name: str) -> bool:
    """Return whether a file's values [n, C] are probabilities.

    Args:
        content: what the user or the file says; `auto` decides by the values.
        name: the file's name, for messages.

    Raises:
        UserError: rows are not within [0, 1] or do not sum to 1, although they are said to be probabilities, or at
            least half of the rows are such, or all of them look like probabilities in another scale.
    """
    if values.shape[1] == 1:
        if content == "probabilities":
            raise UserError(f"{name} cannot hold probabilities, because the task is a regression.")
        return False
    if content == "logits":
        return False
    is_wrong = (values < 0).any(1) | (values > 1).any(1) | (np.abs(values.sum(1) - 1) > _sum_tolerance(values))
    wrong = np.flatnonzero(is_wrong)
    if not len(wrong):
        return True
    if content == "auto" and 2 * len(wrong) > len(values) and not _is_rescaled(values):
        return False
    first, rest = values[wrong[0]], values.shape[1] - SHOWN
    shown = ", ".join(f"{value:.4g}" for value in first[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
    raise UserError(
        f"{name} has {count(len(wrong), 'row')} with no probabilities that sum to 1, such as its row {wrong[0]} "
        f"(counted from 0; {shown}, with the sum {first.sum():.4g}); correct these rows or take them out, divide each "
        "row by its sum if only that is wrong, or give --teacher-outputs-are logits if the file holds logits."
    )


def log_probabilities(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the logarithms of probabilities [n, C] divided by the sum of their row, and how far a sum was from 1."""
    sums = values.sum(1, keepdims=True)
    return np.log((values / sums).clip(SMALLEST)), float(np.abs(sums - 1).max())


def _sum_tolerance(values: NDArray[np.float64]) -> float:
    """Return how far from 1 the sum of C probabilities can be: half a unit of the last decimal for each of them."""
    # numbers of single precision are up to 6e-8 beside their decimals
    rounded = (10.0**-decimals for decimals in DECIMALS if np.allclose(values, values.round(decimals), 0, 1e-7))
    unit = next(rounded, 0.0)
    return float(np.clip(values.shape[1] * unit / 2, SUM_TOLERANCE, LARGEST_TOLERANCE)) + 1e-9


def _is_rescaled(values: NDArray[np.float64]) -> bool:
    """Return whether values are as probabilities are but for their sums, which are near 1 or 100, or all the same."""
    sums = values.sum(1)
    is_near = any((np.abs(sums / total - 1) < LARGEST_TOLERANCE).all() and values.max() <= total for total in (1, 100))
    are_equal = len(sums) > 1 and np.ptp(sums) <= EQUAL_SUMS * sums.max()
    return bool((values >= 0).all() and (is_near or are_equal))
