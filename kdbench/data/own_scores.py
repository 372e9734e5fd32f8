"""Check the scores that a task in Python computes itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdbench.core.errors import UserError

ROUNDING = 1e-6
WANTED = "numbers of which 1 is the best, such as 1 - error"
Score = Callable[[Sequence[Any], Sequence[Any]], Mapping[str, float]]


def valid_scores(
    place: str, metrics: Sequence[str], score: Score, predictions: Sequence[Any], references: Sequence[Any]
) -> dict[str, float]:
    """Return a task's metrics of predictions.

    Args:
        place: names the task and begins the message.

    Raises:
        UserError: the task does not compute one of its metrics, or it is not finite or above 1.
    """
    try:
        found = dict(score(predictions, references))
    except (ArithmeticError, ValueError) as error:
        some = len(set(predictions))
        raise UserError(
            f"{place} cannot score {len(predictions)} rows of which {some} different answers are predicted "
            f"({type(error).__name__}: {error}); return a number for any predictions."
        ) from error
    if lacking := [name for name in metrics if name not in found]:
        raise UserError(
            f"{place} has the metric '{lacking[0]}' and its score computes {', '.join(found) or 'none'}; "
            "give both the same names."
        )
    values = {name: float(found[name]) for name in metrics}
    for name, value in values.items():
        if not (math.isfinite(value) and value <= 1 + ROUNDING):
            raise UserError(f"{place} scores {name}={value:.4g}; return {WANTED}.")
    return values
