"""Build attention masks on a GPU without making the host wait."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import torch


@cache
def always_build_masks() -> None:
    """Make networks on a GPU build attention masks for every batch, also without padding, from now on.

    transformers omits the mask of a batch without padding. It checks the mask's values in every forward pass, for which
    the host waits until the GPU has computed them. The CPU has no such wait and is not affected, nor are versions of
    transformers without this switch.
    """
    with suppress(ImportError):
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

        for kind in ("eager", "sdpa"):
            MASKS[kind] = partial(_build_mask, MASKS[kind])


def _build_mask(build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    mask = kwargs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.device.type != "cpu" and "allow_is_bidirectional_skip" in kwargs:
        kwargs["allow_is_bidirectional_skip"] = False
    return build(*args, **kwargs)
