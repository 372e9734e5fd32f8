"""Import `bilevel` and `trainable`, which need torch, when a method's step first uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.core.lazy_torch import LazyModule

if TYPE_CHECKING:
    from kdbench.distill import bilevel as bilevel
    from kdbench.distill import trainable as trainable
else:
    bilevel, trainable = map(LazyModule, ("kdbench.distill.bilevel", "kdbench.distill.trainable"))
