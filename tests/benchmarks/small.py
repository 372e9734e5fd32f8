"""Work on networks that take no time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from benchmarks.batches import stream
from benchmarks.work import Work, network
from kdbench.data.batches import Batch

WORK = Work(glue_dir="", steps=3, warmup=2, seed=1, threads=1, teacher="tiny-3x32", student="tiny-2x32")


def networks(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    """Student and teacher, always the same, without dropout; of opinions that differ."""
    found: list[nn.Module] = []
    for name in (WORK.student, WORK.teacher):
        module = network(name, WORK, "eager").to(dtype)
        module.classifier.weight.data *= 20
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        found.append(module)
    return found[0], found[1]


def batches() -> tuple[Batch, Batch]:
    """One to train on, one for feedback."""
    made = stream(WORK, 2)
    return made.at(0), made.at(1)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All of them as one vector."""
    return torch.cat([t.flatten() for t in tensors])


def apart(found: Tensor, wanted: Tensor) -> float:
    """Distance relative to the length of `wanted`."""
    return float((found - wanted).norm() / wanted.norm())
