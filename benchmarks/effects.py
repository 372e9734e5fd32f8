"""Measure the effect of faster settings on a result: the same training with one of them changed, over several seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

from benchmarks.work import BATCH, Work
from kdbench.core.settings import Execution, Recording
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan
from kdbench.results.store import Store

TASK, ROWS, EPOCHS, RATE = "sst2", 3200, 2, 1e-4
SURE = 0.95
PLAIN = {"precision": "fp32", "dropout": "torch", "bucket": 1, "last_layer": "whole"}
FASTEST = {"precision": "bf16", "dropout": "packed", "bucket": 50, "last_layer": "first"}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "plain float32, torch's dropout, rows in random order, the whole last layer": {},
    "rows of like length together": {"bucket": 50},
    "packed dropout": {"dropout": "packed"},
    "last layer for the first token": {"last_layer": "first"},
    "fast float32": {"precision": "fp32-fast"},
    "bfloat16": {"precision": "bf16"},
    "like lengths, first token, bfloat16": {**FASTEST, "dropout": "torch"},
    "the same and packed dropout": FASTEST,
}


def play(work: Work, seeds: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Fine-tune the student with every setting and seed; what is trained already in `folder` is not trained again.

    Yields:
        setting, seed, and at the end of the training: accuracy and loss on the validation set, seconds of a step.
    """
    from kdbench.training.runner import execute

    store = Store(folder)
    for seed in range(seeds):
        for title, changed in SETTINGS.items():
            layer = {
                "preset": "minilm", "methods": "finetune", "tasks": TASK, "seeds": str(seed), **work.source,
                "student": work.student, "epochs": EPOCHS, "train_rows": ROWS, "batch_size": BATCH, "student_lr": RATE,
                "selection": "validation", **PLAIN, **changed,
            }  # fmt: skip
            (spec,) = make_plan(assemble_config(layer, folder)).runs.values()
            execute(spec, store, Execution(device="cpu", threads=work.threads), Recording(probe_size=0))
            cost, result = store.run(spec.id).cost(), store.run(spec.id).result()
            assert result is not None, "it was trained just now"
            scores = result["last"]["report"]["validation"]
            yield {
                "setting": title, "seed": seed, "accuracy": scores["accuracy"], "loss": scores["loss"],
                "step": cost["step_seconds"] / cost["steps"],
            }  # fmt: skip


def table(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each setting beside the plain one, seed by seed: mean differences with their intervals."""
    by_title: dict[str, dict[int, Mapping[str, Any]]] = {}
    for found in measured:
        by_title.setdefault(found["setting"], {})[found["seed"]] = found
    plain = by_title[next(iter(SETTINGS))]
    lines = ["| | seeds | accuracy, % | difference | loss | difference |", "|---|---|---|---|---|---|"]
    for title, runs in by_title.items():
        cells = [title, str(len(runs))]
        for key, scale, digits in (("accuracy", 100, 1), ("loss", 1, 3)):
            values = {seed: scale * run[key] for seed, run in runs.items()}
            apart = [value - scale * plain[seed][key] for seed, value in values.items() if seed in plain]
            cells += [f"{mean(values.values()):.{digits}f}", "" if runs is plain else _interval(apart, digits)]
        lines.append("|".join(["", *cells, ""]))
    return lines


def _interval(values: Sequence[float], digits: int) -> str:
    """Write the mean and its interval by Student's t."""
    middle = f"{mean(values):+.{digits}f}"
    if len(values) < 2:
        return middle
    half = float(t.ppf((1 + SURE) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{middle} ({mean(values) - half:+.{digits}f} to {mean(values) + half:+.{digits}f})"
