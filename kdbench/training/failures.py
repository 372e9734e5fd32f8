"""Classify the errors of a run, for `kdbench status`."""

from __future__ import annotations

import torch
from safetensors import SafetensorError

from kdbench.core.errors import RunFailure, UserError


def as_failure(error: Exception) -> RunFailure:
    """Return the error as a `RunFailure`, which names its kind."""
    return error if isinstance(error, RunFailure) else RunFailure(_kind(error), f"{type(error).__name__}: {error}")


def _kind(error: Exception) -> str:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "out-of-memory"
    if isinstance(error, OSError) or (isinstance(error, SafetensorError) and "os error" in str(error)):
        return "disk"
    return "missing-data" if isinstance(error, UserError) else "bug"
