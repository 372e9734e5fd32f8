"""Torch, imported when something of it is first used: the import takes seconds, and planning needs none of it.

Methods are loaded to plan, to list and to make tables. They import torch from here, and what only annotations name
under TYPE_CHECKING.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
    from torch import nn as nn
    from torch.nn import functional as functional


class LazyModule:
    """Stand for a module that is imported when an attribute of it is first read."""

    def __init__(self, name: str) -> None:
        self._module = name

    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module(self._module), name)
        setattr(self, name, found)  # so that this is asked once
        return found


if not TYPE_CHECKING:
    torch, nn, functional = map(LazyModule, ("torch", "torch.nn", "torch.nn.functional"))
