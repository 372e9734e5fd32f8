"""Metrics of regression tasks: correlations of predicted with true values, on rows with weights.

The weight of a row is the number of times that it is drawn, so that one call scores a thousand resamples; weights of 1
score the rows as they are. With these, the metrics equal scipy's `pearsonr` and `spearmanr`.

Where all predicted or all true values are equal, a correlation is not defined, and counts as 0. Values that differ by
less than float32 can tell, as outputs of a network for one text in two batches do, are equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESOLUTION = 1e-6  # of a float32, relative to the largest value; smaller differences are rounding


def is_constant(values: Floats) -> bool:
    """Return whether values [n] are all equal, but for rounding."""
    return bool(np.ptp(values) <= RESOLUTION * np.abs(values).max())


def pearson(weights: Floats, predicted: Floats, true: Floats) -> Floats:
    """Compute Pearson's correlation of K rows of predictions with the true values, for R weightings.

    Args:
        weights: how often each item counts [R, n].
        predicted: predicted values [K, n].
        true: true values [n].

    Returns:
        correlations [R, K]; 0 where one is not defined.
    """
    total = weights.sum(1, keepdims=True)
    known = np.array([not (is_constant(row) or is_constant(true)) for row in predicted])
    # differences from the means of all rows, so that no large numbers cancel
    x, y = predicted - predicted.mean(1, keepdims=True), true - true.mean()
    mean_x, mean_y = weights @ x.T / total, weights @ y[:, None] / total
    covariance = weights @ (x * y).T / total - mean_x * mean_y
    spread_x, spread_y = weights @ (x**2).T / total - mean_x**2, weights @ (y**2)[:, None] / total - mean_y**2
    return _ratio(covariance, spread_x, spread_y, known)


def spearman(weights: Floats, predicted: Floats, true: Floats) -> Floats:
    """Compute Spearman's correlation, which is Pearson's of the ranks among the weighted items; see `pearson`."""
    total = weights.sum(1, keepdims=True)
    known = np.array([not (is_constant(row) or is_constant(true)) for row in predicted])
    y = _centred_ranks(weights, true)
    spread_y = (weights * y**2).sum(1, keepdims=True) / total
    found = np.empty((len(weights), len(predicted)))
    for column, row in enumerate(predicted):
        x = _centred_ranks(weights, row)
        covariance, spread_x = ((weights * x * other).sum(1, keepdims=True) / total for other in (y, x))
        found[:, column] = _ratio(covariance, spread_x, spread_y, known[column : column + 1])[:, 0]
    return found


def _ratio(covariance: Floats, spread_x: Floats, spread_y: Floats, known: NDArray[np.bool_]) -> Floats:
    """Divide covariances [R, K] by the standard deviations; 0 where these are 0 or a column is not `known` [K]."""
    # a variance of rounding errors is none; those of resamples are compared with the largest of the same predictions
    x_varies, y_varies = (spread > 1e-12 * spread.max(0, initial=0.0) for spread in (spread_x, spread_y))
    valid = known & x_varies & y_varies
    scale = np.sqrt(np.where(valid, spread_x * spread_y, 1.0))
    found: Floats = np.where(valid, np.clip(covariance / scale, -1.0, 1.0), 0.0)
    return found


def _centred_ranks(weights: Floats, values: Floats) -> Floats:
    """Return the ranks of values [n] among the weighted items [R, n], less their mean; equal values share a rank."""
    distinct, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(distinct)))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
    centred: Floats = ranks[:, place] - (weights.sum(1, keepdims=True) + 1) / 2
    return centred
