"""Import torch at its first use, because the import takes seconds and planning does not need it.

Method files, which planning and tables load, import torch from here, and names for annotations under TYPE_CHECKING.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
    from torch import nn as nn
    from torch.nn import functional as functional


class LazyModule:
    """A proxy for a module that is imported when an attribute is first read."""

    def __init__(self, name: str) -> None:
        self._module = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self._module), name)
        setattr(self, name, value)  # found directly from now on
        return value


if not TYPE_CHECKING:
    torch, nn, functional = map(LazyModule, ("torch", "torch.nn", "torch.nn.functional"))
