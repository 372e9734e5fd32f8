"""Attention masks that are made on a GPU without waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import torch


@cache
def always_made() -> None:
    """From here on, networks on a GPU make their masks whether there is padding or not.

    transformers leaves out the mask of a batch without padding. To know that there is none it looks at the numbers, in
    every forward pass, and for that the host waits until the GPU has come so far. On the CPU this costs nothing, and
    nothing changes there. Versions of transformers without this switch go on looking.
    """
    with suppress(ImportError):
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

        for kind in ("eager", "sdpa"):
            MASKS[kind] = partial(_made, MASKS[kind])


def _made(make: Callable[..., Any], *args: Any, **given: Any) -> Any:
    mask = given.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.device.type != "cpu" and "allow_is_bidirectional_skip" in given:
        given["allow_is_bidirectional_skip"] = False
    return make(*args, **given)
