"""A training loop written by hand for this one purpose: what a runner can at best be as fast as."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.batches import stream
from benchmarks.kernels import adamw, linear, product
from benchmarks.stopwatch import Stopwatch
from benchmarks.work import CE_WEIGHT, KD_WEIGHT, How, Timing, Work, network
from kdbench.data.batches import Batch, Stream
from kdbench.models.inference import all_logits

Teacher = Callable[[Batch], Tensor]


def measure(work: Work, how: How, table: bool = True) -> Timing:
    """Batches of like length.

    Args:
        table: look the teacher's logits up, made once for all rows; else ask it in every step.
    """
    student, teacher = network(work.student, work, how.attention), network(work.teacher, work, how.attention).eval()
    every, timed = stream(work, work.warmup + work.steps), stream(work, work.steps)
    batches = [every.at(step) for step in range(work.warmup)] + [timed.at(step) for step in range(work.steps)]
    watch = Stopwatch(work.warmup, work.device)
    with product(how, work.device):
        ask, once = _table(teacher, timed) if table else (lambda batch: teacher(**batch.inputs).logits, 0.0)
        train(student, ask, batches, how, watch)
    return Timing(watch.seconds(work.steps), work.steps, once)


def _table(teacher: nn.Module, timed: Stream) -> tuple[Teacher, float]:
    """Logits by row, and the seconds that they took."""
    rows = np.unique(timed.rows)
    all_logits(teacher, timed.tokens, rows[:64], timed.device)
    start = time.perf_counter()
    values = all_logits(teacher, timed.tokens, rows, timed.device)
    known = torch.zeros(len(timed.tokens), values.shape[1])
    known[torch.from_numpy(rows)] = values
    return lambda batch: known[batch.index], time.perf_counter() - start


def train(student: nn.Module, ask: Teacher, batches: list[Batch], how: How, watch: Stopwatch) -> None:
    optimizer = adamw(student.parameters(), how)
    schedule = linear(optimizer, len(batches))
    student.train()
    for batch in batches:
        with torch.no_grad():
            t = ask(batch)
        loss = objective(batch.labels, t, student(**batch.inputs).logits)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        loss.item()
        watch.lap()


def objective(labels: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """0.6 CE(y, S) + 0.4 KL(T || S)."""
    soft = functional.kl_div(s.log_softmax(1), t.log_softmax(1), reduction="batchmean", log_target=True)
    return CE_WEIGHT * functional.cross_entropy(s, labels) + KD_WEIGHT * soft
