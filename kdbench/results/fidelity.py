"""Measure how closely a student follows its teacher, item by item.

Stanton et al. (2021), "Does Knowledge Distillation Really Work?", measure the top-1 agreement and KL(T || S); Xu et al.
(2021), "Beyond Preserved Accuracy", call the agreement label loyalty and add probability loyalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kdbench.results.calibration import log_probabilities
from kdbench.results.item_statistics import ItemStatistic, mean_of, share_among
from kdbench.results.significance import Floats

Classes = NDArray[np.int64]


def divergence(teacher: Floats, student: Floats) -> Floats:
    """Return KL(T || S) of each item [n], in nats, of logits [n, C] at temperature 1."""
    t, s = log_probabilities(teacher), log_probabilities(student)
    out: Floats = (np.exp(t) * (t - s)).sum(1)
    return out


def probability_loyalty(teacher: Floats, student: Floats) -> Floats:
    """Return 1 - sqrt(JSD) of each item [n] (Xu et al. 2021, Section 3).

    The Jensen-Shannon divergence is in nats, as in the authors' code, so that no loyalty is below 1 - sqrt(ln 2).
    """
    t, s = log_probabilities(teacher), log_probabilities(student)
    middle = np.logaddexp(t, s) - np.log(2)
    divergences = ((np.exp(t) * (t - middle)).sum(1) + (np.exp(s) * (s - middle)).sum(1)) / 2
    out: Floats = 1 - np.sqrt(np.maximum(divergences, 0))
    return out


def agreement(teacher: Classes, student: Classes) -> ItemStatistic:
    """Return the share of items to which both give the same class."""
    return mean_of(teacher == student)


def agreement_where_wrong(teacher: Classes, student: Classes, labels: Classes) -> ItemStatistic | None:
    """Return the share of the teacher's errors that the student repeats with the same class; None without errors."""
    return share_among(teacher == student, teacher != labels)


def right_and_wrong(teacher: Classes, student: Classes, labels: Classes) -> dict[str, ItemStatistic]:
    """Return the shares of items that both, the teacher alone, the student alone, or neither classify correctly."""
    t, s = teacher == labels, student == labels
    cells = {"both_right": t & s, "teacher_only": t & ~s, "student_only": ~t & s, "both_wrong": ~t & ~s}
    return {name: mean_of(items) for name, items in cells.items()}


def agreement_of_seeds(seeds: Sequence[Classes]) -> ItemStatistic | None:
    """Return the mean agreement of two students with different seeds; None with one seed.

    The influence is that of the items alone: the pairs share seeds, so their spread says little about other seeds.
    """
    pairs = [one == other for one, other in combinations(seeds, 2)]
    return mean_of(np.mean(pairs, axis=0)) if pairs else None
