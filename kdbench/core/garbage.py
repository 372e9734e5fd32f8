"""Pause the search for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Switch off garbage collection while many objects are read: searching thousands takes as long as reading them."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor shall a later collection look through them
        if before:
            gc.enable()
