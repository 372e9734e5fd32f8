"""TextBrewer's BasicDistiller.

One patch: it tells a batch of named tensors by `type(batch) is dict`, which what transformers' collators give is not;
so the collator's batch is made a dict. Its loss is CE(T, S), which differs from KL(T || S) by a constant.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from benchmarks.batches import Example, collator, loader
from benchmarks.kernels import adamw, linear, product
from benchmarks.stopwatch import Stopwatch
from benchmarks.work import CE_WEIGHT, KD_WEIGHT, How, Timing, Work, network

warnings.filterwarnings("ignore", category=SyntaxWarning)  # its source compares strings by `is`

from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig  # noqa: E402


def see(batch: dict[str, Any], outputs: Any) -> dict[str, Any]:
    """Its adaptor: what the losses are made of; the model computes the cross-entropy with the labels."""
    return {"logits": outputs.logits, "losses": outputs.loss}


def build(student: nn.Module, teacher: nn.Module, folder: str, *, cache: bool = False) -> Any:
    train = TrainingConfig(device="cpu", output_dir=folder, ckpt_steps=10**9)
    distil = DistillationConfig(
        temperature=1, hard_label_weight=CE_WEIGHT, kd_loss_weight=KD_WEIGHT, kd_loss_type="ce", is_caching_logits=cache
    )
    return BasicDistiller(train, distil, teacher, student, see, see)


def measure(work: Work, how: How, cache: bool = False) -> Timing:
    """With `cache` it asks the teacher once for every batch and then shuffles batches that stay as they are."""
    student, teacher = (network(name, work, how.attention) for name in (work.student, work.teacher))
    collate = collator(work, how)

    def as_dict(rows: Sequence[Example]) -> dict[str, Any]:
        return dict(collate(rows))

    batches, watch = loader(work, how, as_dict), Stopwatch(work.warmup)
    optimizer = adamw(student.parameters(), how)
    optimizer.register_step_post_hook(watch.lap)
    once = _timed(teacher) if cache else []
    steps = {"num_epochs": 1} if cache else {"num_steps": len(batches)}
    with TemporaryDirectory() as folder, product(how):
        distiller = build(student, teacher, folder, cache=cache)
        with distiller, torch.random.fork_rng():
            distiller.train(
                optimizer, batches, scheduler_class=lambda optimizer: linear(optimizer, len(batches)),
                scheduler_args={}, **steps,
            )  # fmt: skip
    return Timing(watch.seconds(work.steps), work.steps, sum(once[work.warmup :]))


def _timed(teacher: nn.Module) -> list[float]:
    """Seconds of every pass that the network makes from now on."""
    seconds: list[float] = []
    teacher.register_forward_pre_hook(lambda *_: seconds.append(-time.perf_counter()))

    def ended(*_: object) -> None:
        seconds[-1] += time.perf_counter()

    teacher.register_forward_hook(ended)
    return seconds
