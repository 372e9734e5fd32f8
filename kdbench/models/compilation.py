"""Forward passes that torch.compile has put together, where a run asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

BACKEND = "inductor"  # tests of what is compiled, and not of how, take one that needs no compiler
MOST = 64  # forms of one network: with and without dropout, gradient, hidden states, and batches of one row or token


def compiled(module: nn.Module) -> Callable[..., Any]:
    """The module's forward pass, compiled when it is first used, for batches of any length.

    The module itself stays what it is: its names, its parameters, what is saved of it. A compiled pass can be
    differentiated once, backwards; whoever needs more, or other parameters, takes the module.
    """
    # dropout draws what it draws uncompiled: a function of the step's seed, whatever was compiled before
    options = {"options": {"fallback_random": True}} if BACKEND == "inductor" else {}
    made: Callable[..., Any] = torch.compile(module, dynamic=True, backend=BACKEND, **options)  # type: ignore[call-overload]
    return made


@contextmanager
def in_force(wanted: bool) -> Iterator[None]:
    """Within the block a run may compile its networks; after it, what was compiled is forgotten."""
    if not wanted:
        yield
        return
    import torch._dynamo.config
    import torch._functorch.config
    import torch.fx.experimental._config as shapes

    with ExitStack() as changes:
        changes.callback(torch._dynamo.reset)  # else it would count for the next run's networks
        # else what does not fit into torch's usual number of forms would silently not be compiled
        changes.enter_context(torch._dynamo.config.patch(recompile_limit=MOST, fail_on_recompile_limit_hit=True))
        # a pass may be differentiated twice, one after the other (a look-ahead and a step)
        changes.enter_context(torch._functorch.config.patch(donated_buffer=False))
        # a batch that happens to be as long as it has rows is compiled like any other
        changes.enter_context(shapes.patch(use_duck_shape=False))  # type: ignore[attr-defined]
        yield


def problem(device: str) -> str:
    """Why torch.compile does not work on a device, in a few words; "" when it does, which takes some seconds to see."""
    try:
        with in_force(True):
            torch.compile(torch.cosh, backend=BACKEND)(torch.ones(8, device=device))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return ""
