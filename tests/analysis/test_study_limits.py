"""What docs/study.md says of its own limits and machines, on results worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from kdbench.analysis.study_page import facts
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.convergence import _last_change
from kdbench.analysis.study_page.limits import limits
from kdbench.core.atomic_files import write_json
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.exact_results import NEAR, contrasts, study
from tests.analysis.made import Made, spec


def test_what_selection_and_a_rare_class_do(tmp_path: Path) -> None:
    """The last checkpoints of KD are 2 points below the selected ones, those of DIST 3 above; one class has 3 items."""
    made = Made(Store(tmp_path))
    labels = np.repeat([0, 1, 2, 3, 4, 5], [3, 7, 10, 10, 10, 10])
    for seed in (0, 1):
        for row, last in (("kd", 0.68), ("dist", 0.73)):
            run = made.done(made.ask(spec(row, "trec", seed)), 0.70, last=last)
            file = made.store.run(run).path / "result.json"
            write_json(file, {**json.loads(file.read_text()), "rows": {"selection": 545}})
            tensors = {f"best/test/{key}": value for key, value in (("labels", labels), ("logits", np.eye(6)[labels]))}
            save_file(tensors, made.store.run(run).predictions)
    said = limits(StudyContrasts(studies(made.write())[0])).splitlines()
    assert said[:3] == [
        "- The numbers are of 2 seeds and 1 task.",
        "- Checkpoints are selected by held-out rows (545 on TREC). To report the last checkpoint instead would change "
        "scores most by +3.0 points (DIST on TREC).",
        "- The smallest class, of TREC, has 3 of 50 reported items, and counts as one of 6 in the macro-F1.",
    ]


def test_seeds_are_told_task_by_task_where_tasks_have_unequal_numbers(tmp_path: Path) -> None:
    rows = {row: {"rte": (70.0, 71.0), "qnli": (70.0, 71.0, 69.0), "mrpc": (70.0, 71.0)} for row in ("kd", "dist")}
    first = limits(contrasts(tmp_path, rows)).splitlines()[0]
    assert first == (
        "- The numbers are of 2 to 3 seeds and 3 tasks: 2 seeds on MRPC and RTE, 3 seeds on QNLI. An average counts "
        "every task the same, whatever its seeds."
    )


def test_tasks_that_are_still_learned_are_named(tmp_path: Path) -> None:
    """On RTE all of 9 runs are best at their end, on QNLI 6."""
    made = Made(Store(tmp_path))
    for task, rows in (("rte", ("kd", "dist", "skd")), ("qnli", ("kd", "dist"))):
        for row in ("kd", "dist", "skd"):
            for seed in range(3):
                run_id = made.done(made.ask(spec(row, task, seed)), 0.7)
                made.best_at(run_id, 10 if row in rows else 5)
    found = StudyContrasts(studies(made.write())[0])
    said = (
        "- RTE shows which methods are fast, and perhaps not which are good: the last evaluation is the best one in 9 "
        "of 9 runs"
    )
    lines = [line for line in limits(found).splitlines() if "fast" in line]
    assert lines == [f"{said}, and no rate was tuned there."]
    assert f"{said}." in limits(found, found.study)  # the same tasks, as if rates were tuned there


def test_rows_of_another_machine_are_named(tmp_path: Path) -> None:
    made = study(tmp_path, {"kd": NEAR, "dist": NEAR, "skd": NEAR})
    assert "another machine" not in facts.setup_words(StudyContrasts(studies(made.store)[0]))
    for run_id, run in made.runs.items():
        if run.method == "skd" and run.task == "rte":
            file = made.store.run(run_id).path / "environment.json"
            write_json(file, {**json.loads(file.read_text()), "cpu": "Other", "threads": 4})
    said = facts.setup_words(StudyContrasts(studies(made.store)[0]))
    assert (
        "RTE: SKD (Other, 4 threads) were trained on another machine than the other rows (one, 1 thread). Equal" in said
    )
    assert said.count("another machine") == 1


def test_the_last_epoch_is_compared_with_the_one_before_it_alone() -> None:
    assert _last_change({1: 80.0, 2: 81.5}) == 1.5
    assert _last_change({2: 80.0, 4: 81.0, 6: 81.5}) is None  # evaluations that skip ends of epochs
    assert _last_change({1: 80.0}) is None
    assert _last_change({}) is None
