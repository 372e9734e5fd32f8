"""The influence alone: what is left of an LGTM step when the direction v and both networks' logits are there.

Per-sample gradients are taken in two ways: from one pass over the batch, whose graph is gone through once for each
sample (as `weights_via=loop` does), or from a pass over each sample by itself.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.contestants.planned import epoch_last, planned, prepared
from benchmarks.work import How, Timing, Work
from kdbench.data.batches import Batch
from kdbench.distill.bilevel import Params, gradient
from kdbench.distill.context import seed_everything
from kdbench.distill.losses import soft_cross_entropy_each
from kdbench.distill.trainable import TrainableModel


def measure(work: Work, how: How, rows: bool = False, **options: Any) -> Timing:
    """Without the backward pass through the teacher, which all forms share.

    Args:
        rows: per-sample gradients from a pass over each sample by itself, in place of the method's own form.
    """
    seconds: list[float] = []
    with planned(work, how, "lgtm", options, feedback=True) as (spec, store), prepared(spec, store, work) as setup:
        method: Any = setup.method
        for step in epoch_last(work):
            seed_everything(spec.seed, "step", step)
            batch = setup.train.at(step)
            s, t = method._forward(batch)
            v = method.direction(batch, setup.context.feedback(), s, t)
            t = t.detach()
            start = time.perf_counter()
            if rows:
                by_rows(method.student, batch, t, v)
            else:
                method.influence(batch, t.requires_grad_(), v)
            seconds.append(time.perf_counter() - start)
    return Timing(sum(seconds[work.warmup :]), work.steps)


def by_rows(student: TrainableModel, batch: Batch, t: Tensor, v: Params) -> Tensor:
    """w_i of Eq. 8 [B], a row at a time without its padding."""
    weights = []
    with student.mode(False):
        for i, length in enumerate(batch.attention_mask.sum(1).tolist()):
            fields = {key: value[i : i + 1, :length] for key, value in batch.inputs.items()}
            row = replace(batch, **fields, labels=batch.labels[i : i + 1], index=batch.index[i : i + 1])  # type: ignore[arg-type]
            (loss,) = soft_cross_entropy_each(t[i : i + 1], student.logits(row))
            found = gradient(loss, student.named_params())
            weights.append(torch.stack([(found[name] * v[name]).sum() for name in v]).sum())
    return torch.stack(weights)
