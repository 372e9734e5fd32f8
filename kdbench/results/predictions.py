"""Read the predictions of finished runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.results.store import RunFolder

CHECKPOINT = "best"  # the one that tables report


@dataclass(frozen=True)
class Predictions:
    """Predicted and true classes of one report split, in the order of its rows."""

    classes: NDArray[np.int64]  # predicted [n]
    labels: NDArray[np.int64]  # true [n]


@lru_cache(maxsize=64)
def _shared(labels: bytes) -> NDArray[np.int64]:
    """Return one array for all runs that were scored on the same items, to save memory."""
    return np.frombuffer(labels, np.int64)


def read_predictions(folder: RunFolder) -> dict[str, Predictions]:
    """Return the selected checkpoint's predictions by report split, from its logits or stored classes.

    Raises:
        UserError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    # logits become classes
    found: dict[str, dict[str, NDArray[np.int64]]] = {}
    try:
        if folder.damage(folder.predictions):
            raise ValueError("not what was written")
        with safe_open(folder.predictions, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dictionary
                checkpoint, split, kind = name.split("/")
                if checkpoint == CHECKPOINT:
                    values = file.get_tensor(name)
                    part = found.setdefault(split, {})
                    part["classes" if kind == "logits" else kind] = values.argmax(1) if kind == "logits" else values
        return {split: Predictions(p["classes"], _shared(p["labels"].tobytes())) for split, p in found.items()}
    except (OSError, SafetensorError, KeyError, ValueError):
        raise UserError(
            f"{folder.id} has no readable {folder.predictions.name}; delete the folder {folder.path} and repeat the "
            f"command that made it (kdbench show {folder.id})."
        ) from None
