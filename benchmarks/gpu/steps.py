"""Measure steps of KD and LGTM on a device: contestants of the benchmark with settings that matter there."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.inputs import Measurement
from benchmarks.operations import forward_operations, operations
from benchmarks.suites import Contestant
from benchmarks.work import BATCH, How, Timing, tokens
from kdbench.core.errors import UserError

Passes = Mapping[str, Mapping[str, float]]

BUCKETED = How("bucketed", "fp32", "eager", fused=True, last_layer="first")
BF16 = replace(BUCKETED, precision="bf16")
TRAINER = How("dynamic", "fp32")
# forward and backward passes of a row, of contestants that do not count their own
KD_PASSES: Passes = {"student": {"forward": 1, "backward": 1}, "teacher": {"forward": 1}}
RELEASED_PASSES: Passes = {"student": {"forward": 5, "backward": 3}, "teacher": {"forward": 4, "backward": 3}}


@dataclass(frozen=True)
class Entry:
    """A contestant, and the passes that a row makes in one of its steps where kdbench does not count them."""

    contestant: Contestant
    passes: Passes = field(default_factory=dict)


def _entry(name: str, title: str, module: str, how: How, passes: Passes | None = None, **options: Any) -> Entry:
    return Entry(Contestant(name, title, f"benchmarks.contestants.{module}", how, options), passes or {})


def _own(method: str, title: str, how: How) -> Entry:
    return _entry(f"{method}-{title}", f"kdbench, {title}", "method", how, method=method)


# the most wanted first, as time may end
SUITES: Mapping[str, tuple[Entry, ...]] = MappingProxyType({
    "kd": (
        _own("kd", "bf16, eager", BF16),
        _own("kd", "bf16, sdpa", replace(BF16, attention="sdpa")),
        _entry("trainer-bf16", "Hugging Face Trainer, bf16, sdpa", "trainer", replace(TRAINER, precision="bf16"),
               KD_PASSES),
        _own("kd", "fp32, eager", BUCKETED),
        _entry("trainer", "Hugging Face Trainer, fp32, sdpa", "trainer", TRAINER, KD_PASSES),
        _own("kd", "bf16, sdpa, compiled", replace(BF16, attention="sdpa", compile=True)),
        _own("kd", "fp32-fast, sdpa", replace(BUCKETED, precision="fp32-fast", attention="sdpa")),
        _own("kd", "bf16, eager, compiled", replace(BF16, compile=True)),
    ),
    # apart, as a step that cannot be recorded may leave the process unable to go on
    "graphs": (
        _entry("graphs-bf16", "a loop by hand, bf16, sdpa, a CUDA graph for each length", "graphs",
               replace(BF16, attention="sdpa", last_layer="whole")),
    ),
    "lgtm": (
        _own("lgtm", "bf16, eager", BF16),
        _own("lgtm", "bf16, sdpa", replace(BF16, attention="sdpa")),
        _entry("released", "the released algorithm, fp32, padded to 128", "lgtm_released", How("fixed", "fp32"),
               RELEASED_PASSES),
        _own("lgtm", "fp32, eager", BUCKETED),
        _own("lgtm", "fp32-fast, eager", replace(BUCKETED, precision="fp32-fast")),
        _own("lgtm", "bf16, eager, compiled", replace(BF16, compile=True)),
    ),
})  # fmt: skip


def measure(suite: str, how: Measurement) -> Iterator[dict[str, Any]]:
    """Measure each contestant of a suite.

    Yields:
        title; seconds, steps, passes, once, rows_per_second, operations, tflops, peak (bytes); or a problem.
    """
    work = how.work
    if suite == "lgtm":
        work = replace(work, steps=max(2, work.steps // 3))
    os.environ["HF_HUB_OFFLINE"] = "1"
    for entry in _entries(suite, how):
        contestant = entry.contestant
        gc.collect()
        if work.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(work.device)
        try:
            timing: Timing = import_module(contestant.module).measure(work, contestant.how, **contestant.options)
        except UserError as error:
            yield {"title": contestant.title, "problem": str(error)}
        except Exception as error:
            yield {"title": contestant.title, "problem": f"{type(error).__name__}: {str(error)[:300]}"}
        else:
            rows = timing.steps * BATCH
            peak = torch.cuda.max_memory_allocated(work.device) if work.device != "cpu" else 0
            yield {"title": contestant.title, **asdict(timing), **_rates(entry, timing, how, rows), "peak": peak}


def _entries(suite: str, how: Measurement) -> list[Entry]:
    """Return the contestants; to try the script out, those that are quick on a CPU: neither bfloat16 nor compiled."""
    return [
        entry for entry in SUITES[suite]
        if not how.small or entry.contestant.how.precision != "bf16" or entry.contestant.module.endswith("graphs")
    ]  # fmt: skip


def _rates(entry: Entry, timing: Timing, how: Measurement, rows: int) -> dict[str, float]:
    """Return rows a second, and the operations of all passes of these rows, in all and a second."""
    passes = timing.passes or {
        network: {kind: rows * number for kind, number in kinds.items()} for network, kinds in entry.passes.items()
    }
    forward = _forward(how, first_token=entry.contestant.how.last_layer == "first")
    total = operations({network: kinds for network, kinds in passes.items() if network in forward}, forward)
    return {
        "rows_per_second": rows / timing.seconds, "operations": total, "tflops": total / timing.seconds / 1e12,
    }  # fmt: skip


def _forward(how: Measurement, *, first_token: bool) -> dict[str, float]:
    """Return the operations of a forward pass of each network: the mean over the training rows, without padding."""
    sizes = how.sizes
    return {
        network: float(np.mean([
            forward_operations(layers, sizes.hidden, sizes.wide, length, first_token=first_token)
            for length in tokens(how.work).lengths
        ]))
        for network, layers in (("student", sizes.student), ("teacher", sizes.teacher))
    }  # fmt: skip
