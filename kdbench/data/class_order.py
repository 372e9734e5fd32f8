"""Find out whether a teacher that comes from elsewhere has the task's classes in another order.

Such a teacher is worse than guessing, and nothing else shows it: MNLI's classes have three orders in published
networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

GAIN = 0.2  # of the accuracy, by which another order must be better
SURE = 4.0  # standard errors; one is at most 1 / sqrt(n)


def other_order(predicted: NDArray[Any], true: NDArray[Any], labels: Sequence[str]) -> str:
    """Say in which order of the classes the predictions would fit the labels far better; "" where in none.

    An order counts where it is also better than one class for every row, which a network that has learned nothing can
    seem to have in any place.

    Args:
        predicted: classes [n].
        true: classes [n]; -1 for rows without a label, which are left out.
        labels: the task's label words, in the order in which the predicted classes are taken to be.
    """
    from scipy.optimize import linear_sum_assignment

    known = true >= 0
    classes, rows = len(labels), int(known.sum())
    if classes < 2 or not rows:
        return ""
    places = true[known].astype(np.int64) * classes + predicted[known].astype(np.int64)
    counts = np.bincount(places, minlength=classes**2).reshape(classes, classes)  # [true class, predicted class]
    # the true class that each predicted one stands for, so that most rows are right
    meant, given = linear_sum_assignment(-counts)
    own, best = np.trace(counts) / rows, counts[meant, given].sum() / rows
    sure = SURE / np.sqrt(rows)
    if best - own < max(GAIN, sure) or best - counts.sum(1).max() / rows < sure / 2:
        return ""
    order = ", ".join(labels[i] for i in meant[np.argsort(given)])
    return (
        f"is right on {100 * own:.0f} % of {rows:,} labelled rows with the classes in the order {', '.join(labels)}, "
        f"and on {100 * best:.0f} % in the order {order}"
    )
