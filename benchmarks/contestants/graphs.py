"""A training loop by hand whose whole step, from the forward pass to AdamW, is a CUDA graph for each length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.batches import stream
from benchmarks.contestants.bare import objective
from benchmarks.kernels import product
from benchmarks.stopwatch import Stopwatch
from benchmarks.work import BATCH, RATE, How, Timing, Work, network
from kdbench.core.errors import UserError
from kdbench.data.batches import Batch
from kdbench.models import attention_masks
from kdbench.models.inference import all_logits

MULTIPLE = 8  # lengths are rounded up to a multiple, so that few graphs are recorded
REHEARSALS = 3  # of a step before it is recorded


class GraphedStep:
    """A step on batches of one length. Its tensors keep their places; batches are copied into them.

    Args:
        optimizer: capturable.
        pool: the memory that all graphs share.
    """

    def __init__(
        self, student: nn.Module, optimizer: torch.optim.Optimizer, length: int, classes: int, how: How, pool: Any
    ) -> None:
        device = next(student.parameters()).device
        self.student, self.optimizer, self.how = student, optimizer, how
        self.inputs = {
            name: torch.zeros(BATCH, length, dtype=torch.long, device=device)
            for name in ("input_ids", "token_type_ids", "attention_mask")
        }
        self.inputs["attention_mask"][:, 0] = 1
        self.labels, self.t = (torch.zeros(BATCH, dtype=torch.long, device=device),
                               torch.zeros(BATCH, classes, device=device))  # fmt: skip
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(REHEARSALS):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph, pool=pool):
            self.loss = self._step()

    def _step(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        # no cache: autocast would go on using the weights as they were when the graph was recorded
        with torch.autocast("cuda", torch.bfloat16, enabled=self.how.precision == "bf16", cache_enabled=False):
            s = self.student(**self.inputs).logits
        loss = objective(self.labels, self.t, s.float())
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def __call__(self, batch: Batch, t: Tensor) -> None:
        """Make the step on a batch that is at most as long."""
        for name, place in self.inputs.items():
            place.zero_()
            place[:, : batch.input_ids.shape[1]].copy_(getattr(batch, name))
        self.labels.copy_(batch.labels)
        self.t.copy_(t)
        self.graph.replay()


def measure(work: Work, how: How) -> Timing:
    """Batches of like length; the teacher's logits are looked up.

    Raises:
        UserError: the device is no GPU.
    """
    device = torch.device(work.device)
    if device.type != "cuda":
        raise UserError("CUDA graphs need a GPU.")
    attention_masks.always_build_masks()  # a graph cannot look into a batch
    student, teacher = network(work.student, work, how.attention), network(work.teacher, work, how.attention).eval()
    every, timed = stream(work, work.warmup + work.steps), stream(work, work.steps)
    batches = [every.at(step) for step in range(work.warmup)] + [timed.at(step) for step in range(work.steps)]
    rate, watch = torch.tensor(RATE, device=device), Stopwatch(work.warmup, work.device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.0, fused=True, capturable=True)
    with product(how, work.device):
        rows = torch.cat([batch.index for batch in batches]).unique().cpu()  # type: ignore[no-untyped-call]
        found = all_logits(teacher, timed.tokens, rows.numpy(), device).to(device)
        known = torch.zeros(len(timed.tokens), found.shape[1], device=device).index_copy_(0, rows.to(device), found)
        student.train()
        pool = torch.cuda.graph_pool_handle()
        graphs: dict[int, GraphedStep] = {}
        for length in sorted({_rounded(batch) for batch in batches}, reverse=True):
            graphs[length] = GraphedStep(student, optimizer, length, found.shape[1], how, pool)
        for number, batch in enumerate(batches):
            rate.fill_(RATE * (1 - number / len(batches)))
            graphs[_rounded(batch)](batch, known[batch.index.to(device)])
            watch.lap()
    passes = {"student": {"forward": work.steps * BATCH, "backward": work.steps * BATCH}}
    return Timing(watch.seconds(work.steps), work.steps, passes=passes)


def _rounded(batch: Batch) -> int:
    return -(-batch.input_ids.shape[1] // MULTIPLE) * MULTIPLE
