"""Finished runs with series, for figures: written by hand through the project's own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdbench.core.spec import RunSpec
from kdbench.reporting.figures import FIGURES, FigureData
from kdbench.results.read_studies import studies
from kdbench.results.series import SeriesFile, SeriesMark
from kdbench.results.store import Store
from tests.analysis.made import STUDY, Made, spec

Rows = Sequence[tuple[int, str, Mapping[str, float | list[float]]]]  # step, split, values
PER_EPOCH = 10
MADE_DATA = {**STUDY, "source": "generated"}
WRONG, RIGHT = (0.2, 0.3), (0.8, 0.9)  # what teacher and student give to class 1
ONE_STAGE: dict[str, Any] = {"student_ce": 0.6, "teacher_ce": 1.0, "teacher_start": "pretrained"}
TWO_STAGES = {**ONE_STAGE, "teacher_start": "finetuned", "zero_heads": False}


def lgtm(task: str, seed: int, *, lr: float = 5e-5, **options: Any) -> RunSpec:
    """A run of LGTM; `options` are those that figures vary."""
    plain = {"update_order": "teacher", "teacher_start": "pretrained", "influence": "jvp", "teacher_ce": 0.6}
    return spec("lgtm", task, seed, options={**plain, **options}, feedback="train:0.1", student_lr=lr)


def prokt(task: str, seed: int, **options: Any) -> RunSpec:
    plain = {"student_ce": 0.0, "teacher_ce": 0.6, "teacher_start": "pretrained", "zero_heads": True}
    return spec("prokt", task, seed, options={**plain, **options})


def finish(made: Made, wanted: RunSpec, rows: Rows, selection: float = 0.5, **asked: Any) -> str:
    """A run that is done and left these numbers."""
    run = made.done(made.ask(wanted, **asked), 0.7, selection)
    series = SeriesFile(made.store.run(run).series, SeriesMark(), PER_EPOCH)
    for step, split, values in rows:
        series.add(step, split, values)
    return run


def scores(split: str, *, base: float, teacher: float) -> Rows:
    """Evaluations at steps 0, 10, 20: a loss that falls from 1, an accuracy that rises from `base`."""
    return [
        (step, split, {"loss": 1 - step / 40, "accuracy": base + step / 100, "teacher_accuracy": teacher - step / 200})
        for step in (0, 10, 20)
    ]  # fmt: skip


def gaps(*values: float) -> Rows:
    """Entropy gaps, an epoch each."""
    return [(PER_EPOCH * i, "probe", {"entropy_gap": value}) for i, value in enumerate(values)]


def influences(labels: Sequence[int], samples: Sequence[Sequence[tuple[float, float, float]]]) -> Rows:
    """What a run writes down of its samples.

    Args:
        samples: for each sample its points: influence, and the probability of class 1 for teacher and student.
    """
    rows = []
    for step, points in enumerate(zip(*samples, strict=True), start=1):
        influence, teacher, student = (list(column) for column in zip(*points, strict=True))
        values: dict[str, list[float]] = {
            "sample": [100.0 + i for i in range(len(labels))], "label": [float(label) for label in labels],
            "influence": influence, "teacher_p": _of_label(labels, teacher), "student_p": _of_label(labels, student),
            "teacher_predicts": [float(p > 0.5) for p in teacher],
            "student_predicts": [float(p > 0.5) for p in student],
        }  # fmt: skip
        rows.append((step, "influence", values))
    return rows


def _of_label(labels: Sequence[int], p: Sequence[float]) -> list[float]:
    return [value if label else 1 - value for label, value in zip(labels, p, strict=True)]


def samples() -> list[list[tuple[float, float, float]]]:
    """Five samples of class 1 with eight points: flat, hard and weighed down, hard, easy, easy and weighed up.

    Outside the middle half of training all have an influence that would change the choice.
    """
    flat = {0: (0.9, WRONG, RIGHT), 1: (-0.2, WRONG, WRONG), 2: (-0.1, WRONG, WRONG), 3: (0.1, RIGHT, RIGHT),
            4: (0.3, RIGHT, RIGHT)}  # fmt: skip
    return [
        [((w if 2 <= i < 6 else -9 * w), *(t[0], s[0])) for i in range(8)] for w, t, s in (flat[k] for k in range(5))
    ]  # fmt: skip


def everything(root: Path, seeds: tuple[int, ...] = (0, 1)) -> Store:
    """All runs of Figures 2 to 6, on the tasks of the paper."""
    made = Made(Store(root), study=MADE_DATA)
    for seed in seeds:
        for i, method in enumerate(("meta_distill", "lgtm")):
            wanted = lgtm("mnli", seed) if method == "lgtm" else spec(method, "mnli", seed, feedback="train:0.1")
            rows = scores("validation_matched", base=0.4 + i / 10 + seed / 50, teacher=0.7)
            finish(made, wanted, [*rows, *gaps(0.0, 0.1, 0.2 + seed)])
        finish(made, lgtm("mrpc", seed), influences([1] * 5, samples()))
        for order, value in (("student", 0.3), ("simultaneous", 0.4)):
            finish(made, lgtm("mnli", seed, update_order=order), gaps(0.0, value, value + seed / 10))
            made.cells[-1] = replace(made.cells[-1], varies={"update_order": order})
        for stage in (ONE_STAGE, TWO_STAGES):
            finish(made, prokt("sst2", seed, **stage), gaps(0.0, 0.2, 0.1 + seed / 10))
            made.cells[-1] = replace(made.cells[-1], varies=stage)
    return made.write()


def picture(number: int, store: Store, task: str) -> FigureData:
    return FIGURES.get(f"figure{number}")().build(studies(store)[-1], task)
