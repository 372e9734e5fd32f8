"""Made results with exact accuracies, whose differences can be worked out by hand, and what `kdbench compare` says."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.numpy import save_file

from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.reporting.compare_rows import show_comparison
from kdbench.reporting.study_choice import EVERYTHING
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import Made, spec, teacher

ITEMS = 200
Scores = Mapping[str, Mapping[str, Sequence[float]]]  # row -> task -> accuracy in per cent, by seed


def answer(made: Made, run_id: str, accuracy: float) -> str:
    """A finished run that is wrong on as many of the items as the accuracy says, which ones by chance."""
    labels, split = np.arange(ITEMS) % 2, "validation"
    wrong = np.random.default_rng(int.from_bytes(run_id.encode()[-6:])).permutation(ITEMS)
    predicted = labels.copy()
    predicted[wrong[: round(ITEMS * (1 - accuracy / 100))]] ^= 1
    logits = np.eye(2, dtype=np.float32)[predicted]
    made.done(run_id, accuracy / 100)
    tensors = {f"{name}/{split}/logits": logits for name in ("best", "last")}
    save_file(
        tensors | {f"{name}/{split}/labels": labels for name in ("best", "last")}, made.store.run(run_id).predictions
    )
    return run_id


def study(root: Path, rows: Scores, teachers: Mapping[str, Sequence[float]] | None = None) -> Made:
    """Rows with these accuracies; all are taught, where there are teachers."""
    made = Made(Store(root))
    parents = {
        (task, seed): answer(made, made.need(teacher(task, seed)), score)
        for task, each in (teachers or {}).items() for seed, score in enumerate(each)
    }  # fmt: skip
    for row, tasks in rows.items():
        for task, each in tasks.items():
            for seed, score in enumerate(each):
                needs = {"teacher": parents[task, seed]} if parents and row != "finetune" else {}
                options = {} if row in ("lgtm", "kd") else {"of": row}
                wanted = spec(_method(row), task, seed, needs=needs, options=options, feedback=_feedback(row))
                answer(made, made.ask(wanted, row), score)
    made.write()
    return made


def _method(row: str) -> str:
    return row.split("_")[0] if row.startswith(("lgtm", "prokt")) else row


def _feedback(row: str) -> str | None:
    return "train:0.1" if row.startswith("lgtm") else None


def contrasts(root: Path, rows: Scores, teachers: Mapping[str, Sequence[float]] | None = None) -> StudyContrasts:
    study(root, rows, teachers)
    (found,) = studies(Store(root))
    return StudyContrasts(found)


def compared(root: Path, first: str, second: str, task: str = "average") -> dict[str, str]:
    """What `kdbench compare` says of two rows."""
    out = io.StringIO()
    show_comparison((first, second), Store(root), EVERYTHING, "csv", Console(file=out))
    return next(row for row in csv.DictReader(io.StringIO(out.getvalue())) if row["task"] == task)


def words_of(one: dict[str, str]) -> str:
    value, low, high = (float(one[key]) for key in ("difference", "low", "high"))
    return f"{value:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}"


def commands(text: str) -> list[list[str]]:
    return [shlex.split(code) for code in re.findall(r"`(kdbench run [^`]*)`", text)]


TWO = ("rte", "qnli")
NEAR = dict.fromkeys(TWO, (70.0, 71.0, 69.0))


def shifted(points: float) -> dict[str, tuple[float, ...]]:
    return {task: tuple(score + points for score in each) for task, each in NEAR.items()}


READINGS = {"lgtm": shifted(10), "lgtm_no_influence": shifted(-10), "prokt_lgtm": shifted(20)}
