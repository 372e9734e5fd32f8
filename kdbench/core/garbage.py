"""Pause the garbage collection."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collection() -> Iterator[None]:
    """Switch off garbage collection while runs are read: searching thousands of them takes as long as reading them."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor shall a later collection look through them; they hold no cycles and so are freed all the same
        if before:
            gc.enable()
