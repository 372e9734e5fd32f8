"""Compile forward passes with torch.compile, for runs with compile=true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

BACKEND = "inductor"  # some tests replace it by one that needs no compiler
MAX_VARIANTS = 64  # of one network: with and without dropout, gradient, hidden states, batches of one row or token


def compiled(module: nn.Module) -> Callable[..., Any]:
    """Return the module's forward pass, compiled at its first use, for batches of any length.

    The module itself does not change. A compiled pass supports one backward pass; second derivatives and other
    parameters need the module.
    """
    # dropout draws the same masks as uncompiled, a function of the step's seed
    options = {"options": {"fallback_random": True}} if BACKEND == "inductor" else {}
    forward: Callable[..., Any] = torch.compile(module, dynamic=True, backend=BACKEND, **options)  # type: ignore[call-overload]
    return forward


@contextmanager
def allow_compilation(wanted: bool) -> Iterator[None]:
    """Configure torch.compile for the block if `wanted`; afterwards discard the compiled code."""
    if not wanted:
        yield
        return
    import torch._dynamo.config
    import torch._functorch.config
    import torch.fx.experimental._config as shapes

    with ExitStack() as changes:
        changes.callback(torch._dynamo.reset)  # else the variants would count for the next run's networks
        # by default, torch runs variants beyond its limit uncompiled without a word
        changes.enter_context(
            torch._dynamo.config.patch(recompile_limit=MAX_VARIANTS, fail_on_recompile_limit_hit=True)
        )
        # a pass may be differentiated twice in sequence (look-ahead and step)
        changes.enter_context(torch._functorch.config.patch(donated_buffer=False))
        # a batch with as many rows as tokens is no variant of its own
        changes.enter_context(shapes.patch(use_duck_shape=False))  # type: ignore[attr-defined]
        yield


def compiler_problem(device: str) -> str:
    """Return why torch.compile does not work on a device, in a few words; "" when it works. Takes some seconds."""
    try:
        with allow_compilation(True):
            torch.compile(torch.cosh, backend=BACKEND)(torch.ones(8, device=device))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return ""
