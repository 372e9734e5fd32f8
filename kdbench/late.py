"""Torch and what is made of it, imported when something of it is first used: it takes seconds, and planning needs none.

Methods are loaded to plan, to list and to make tables. They take from here what their steps use, and under
TYPE_CHECKING what only annotations name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
    from torch import nn as nn
    from torch.nn import functional as functional

    from kdbench.training import learner as learner
    from kdbench.training import lookahead as lookahead


class _Late:
    """Stands for a module."""

    def __init__(self, name: str) -> None:
        self._module = name

    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module(self._module), name)
        setattr(self, name, found)  # so that this is asked once
        return found


if not TYPE_CHECKING:
    torch, nn, functional = map(_Late, ("torch", "torch.nn", "torch.nn.functional"))
    learner, lookahead = map(_Late, ("kdbench.training.learner", "kdbench.training.lookahead"))
