"""Check the scores that a task in Python computes itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kdbench.core.errors import UserError

ROUNDING = 1e-6
WANTED = "numbers of which 1 is the best, such as 1 - error"


def valid_scores(place: str, metrics: Sequence[str], found: object) -> dict[str, float]:
    """Return a task's metrics as numbers.

    Args:
        place: names the task and begins the message.
        found: what the task's `score` returned.

    Raises:
        UserError: one of the metrics is missing, is no finite number, or is above 1.
    """
    if not isinstance(found, Mapping):
        raise UserError(
            f"{place} scores by a {type(found).__name__}; return a dictionary with a number for each metric "
            f"({', '.join(metrics)})."
        )
    if lacking := [name for name in metrics if name not in found]:
        raise UserError(
            f"{place} has the metric '{lacking[0]}' and its score computes {', '.join(map(str, found)) or 'none'}; "
            "give both the same names."
        )
    values: dict[str, float] = {}
    for name in metrics:
        try:
            values[name] = float(found[name])
        except (TypeError, ValueError):
            raise UserError(f"{place} scores {name}={found[name]!r}; return {WANTED}.") from None
        if not (math.isfinite(values[name]) and values[name] <= 1 + ROUNDING):
            raise UserError(f"{place} scores {name}={values[name]:.4g}; return {WANTED}.")
    return values
