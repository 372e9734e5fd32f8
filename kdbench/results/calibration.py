"""Do a student's probabilities mean what they say? Calibration, proper scores, and abstaining.

Expected calibration error of the predicted class (Naeini et al. 2015; Guo et al. 2017, Equation 3) in bins of equal
mass (Nguyen & O'Connor 2015), Brier score (Brier 1950), negative log-likelihood, one temperature (Guo et al. 2017,
Section 4.2), and the risk at each coverage (El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.results.item_statistics import ItemStatistic, mean_of
from kdbench.results.significance import Floats

BINS = 15  # as in Guo et al. (2017)
COOLEST, HOTTEST = 1e-3, 1e3  # temperatures that are looked at
Classes = NDArray[np.integer]


@dataclass(frozen=True)
class Confidences:
    """The probability of the predicted class [n], and whether that class is right [n]."""

    confidence: Floats
    correct: NDArray[np.bool_]

    @classmethod
    def together(cls, parts: Sequence[Confidences]) -> Confidences:
        """Return the items of all parts."""
        return cls(np.concatenate([p.confidence for p in parts]), np.concatenate([p.correct for p in parts]))


def log_probabilities(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return log-probabilities of logits [n, C] divided by a temperature."""
    scaled = logits / temperature
    scaled = scaled - scaled.max(1, keepdims=True)
    out: Floats = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
    return out


def fit_temperature(logits: Floats, labels: Classes) -> float:
    """Return the temperature between `COOLEST` and `HOTTEST` with the least NLL (Guo et al. 2017, Section 4.2).

    The NLL is convex in 1 / T, so that bisection of its derivative finds the one minimum.
    """
    own = np.take_along_axis(logits, labels.astype(np.int64)[:, None], 1)[:, 0]

    def slope(temperature: float) -> float:
        """Return the derivative of the mean NLL by 1 / T: the mean logit less the mean logit of the true class."""
        p = np.exp(log_probabilities(logits, temperature))
        return float(((p * logits).sum(1) - own).mean())

    low, high = math.log(COOLEST), math.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        # a positive slope: a smaller 1 / T, so a higher temperature, has a smaller NLL
        low, high = (middle, high) if slope(math.exp(middle)) > 0 else (low, middle)
    return math.exp((low + high) / 2)


def is_limit(temperature: float) -> bool:
    """Return whether a temperature is a limit of the search of `fit_temperature`, beyond which the NLL still falls."""
    return not 1.001 * COOLEST < temperature < 0.999 * HOTTEST


def confidences(log_p: Floats, labels: Classes) -> Confidences:
    """Return confidences of log-probabilities [n, C]."""
    return Confidences(np.exp(log_p.max(1)), log_p.argmax(1) == labels)


def equal_mass_bins(confidence: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin of each item [n]: as many items in each as equal confidences, which stay together, allow."""
    ordered = np.sort(confidence)
    starts = ordered[np.arange(1, bins) * len(ordered) // bins]
    out: NDArray[np.int64] = np.searchsorted(np.unique(starts), confidence, side="right")
    return out


def calibration_error(found: Confidences, bins: NDArray[np.int64]) -> ItemStatistic:
    """Return ECE = sum over bins of |mean(correct) - mean(confidence)|, each by its share of the items.

    The influence holds the bins and the signs of their gaps fixed.
    """
    gaps = found.correct - found.confidence
    signs = np.sign(np.bincount(bins, gaps))[bins]
    value = float((signs * gaps).mean())
    return ItemStatistic(value, signs * gaps - value)


def bias_of_calibration_error(found: Confidences, bins: NDArray[np.int64]) -> float:
    """Return about the ECE of a perfectly calibrated network with these confidences and bins.

    There a bin's gap is normal with variance sum c (1 - c) / n_b^2, and E|gap| is sqrt(2 / pi) of its deviation.
    """
    variances = np.bincount(bins, found.confidence * (1 - found.confidence))
    return float(math.sqrt(2 / math.pi) * np.sqrt(variances).sum() / len(bins))


def brier_score(log_p: Floats, labels: Classes) -> ItemStatistic:
    """Return the mean of sum_c (p_c - y_c)^2, between 0 and 2 (Brier 1950)."""
    errors = np.exp(log_p)
    errors[np.arange(len(labels)), labels] -= 1
    return mean_of((errors**2).sum(1))


def log_loss(log_p: Floats, labels: Classes) -> ItemStatistic:
    """Return the mean negative log-likelihood, in nats."""
    return mean_of(-log_p[np.arange(len(labels)), labels])


def reliability(found: Confidences, bins: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the mean confidence and the accuracy of each bin that has items."""
    counts = np.bincount(bins)
    filled = counts > 0
    sums = (np.bincount(bins, values)[filled] for values in (found.confidence, found.correct.astype(np.float64)))
    confidence, accuracy = (values / counts[filled] for values in sums)
    return confidence, accuracy


def risk_at(found: Confidences, coverages: Floats) -> Floats:
    """Return the share of errors among the most confident items, for each share of the items that is answered.

    Items of equal confidence count with the mean error of their group, so that the order of rows does not matter.
    """
    _, groups, sizes = np.unique(-found.confidence, return_inverse=True, return_counts=True)
    errors = (np.bincount(groups, ~found.correct) / sizes)[np.sort(groups)]
    answered = np.maximum(1, np.round(coverages * len(errors)).astype(np.int64))
    out: Floats = np.cumsum(errors)[answered - 1] / answered
    return out
