"""What tables and compare say of the best answer that is the same for every item."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from kdbench.analysis.tablescores import Scores
from kdbench.data.task_registry import TASKS
from kdbench.reporting.compare_rows import show_comparison
from kdbench.reporting.constant_notes import constant_notes
from kdbench.reporting.study_choice import EVERYTHING
from kdbench.results.constant_answer import best_constant, compare_with_constant
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import CellResult
from tests.analysis import exact_results
from tests.analysis.made import Made, spec


def _answered(root: Path, task: str, labels: np.ndarray, answers: list[np.ndarray]) -> list[CellResult]:
    """Cells of KD with these predicted classes, one array a seed."""
    made, kind = Made(Store(root)), TASKS.get(task)
    for seed, predicted in enumerate(answers):
        scores = kind().score(predicted.tolist(), labels.tolist())
        run = made.ask(spec("kd", task, seed), "kd")
        made.done(run, [scores[metric] for metric in kind.metrics])
        tensors = {"best/validation/logits": np.eye(len(kind.labels), dtype=np.float32)[predicted]}
        tensors["best/validation/labels"] = labels
        save_file(tensors, made.store.run(run).predictions)
    made.write()
    (study,) = studies(Store(root))
    return select_row(study, "kd").shown[task]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_best_constant_has_scikit_learns_scores(tmp_path: Path, share: float) -> None:
    """Always `equivalent` is the best answer to MRPC even where it is rarer, because F1 is that of this class."""
    labels = (np.random.default_rng(1).random(500) < share).astype(np.int64)
    cells = _answered(tmp_path, "mrpc", labels, [labels])
    by_hand = [
        (100 * f1_score(labels, np.full(500, c), zero_division=0), 100 * accuracy_score(labels, np.full(500, c)))
        for c in (0, 1)
    ]
    best = best_constant(TASKS.get("mrpc")(), cells)
    assert best.label == int(np.argmax([np.mean(pair) for pair in by_hand]))
    assert best.scores == pytest.approx(by_hand[best.label])


def test_a_constant_answer_has_a_matthews_correlation_of_0(tmp_path: Path) -> None:
    labels = np.arange(90) % 3 // 2
    best = best_constant(TASKS.get("cola")(), _answered(tmp_path, "cola", labels, [labels]))
    assert best.scores == (100 * matthews_corrcoef(labels, np.zeros(90)),) == (0.0,)


def test_difference_from_a_constant_answer_has_the_error_of_paired_items(tmp_path: Path) -> None:
    """With one seed and accuracy, the variance is that of the items' differences, over their number."""
    rng = np.random.default_rng(2)
    labels = (rng.random(400) < 0.6).astype(np.int64)
    predicted = np.where(rng.random(400) < 0.65, labels, 1 - labels)
    task = TASKS.get("rte")()
    cells = _answered(tmp_path, "rte", labels, [predicted])
    constant = best_constant(task, cells)
    found = compare_with_constant(task, cells, constant)
    items = 100.0 * (predicted == labels) - 100.0 * (labels == constant.label)
    assert found.value == pytest.approx(items.mean())
    assert found.variance == pytest.approx(items.var() / 400, rel=0.05)


def test_a_rare_class_is_tested_however_far_the_score_is_above(tmp_path: Path) -> None:
    """Two of ten rare items are found among 1,000: the correlation hangs on these two."""
    labels = (np.arange(1000) < 10).astype(np.int64)
    predicted = labels * (np.arange(1000) < 2) + (np.arange(1000) >= 995)
    task, cells = TASKS.get("cola")(), _answered(tmp_path, "cola", labels, [predicted])
    found = compare_with_constant(task, cells, best_constant(task, cells))
    draws = np.random.default_rng(1).integers(0, 1000, (500, 1000))
    error = 100 * np.std([matthews_corrcoef(labels[items], predicted[items]) for items in draws])
    assert found.value == pytest.approx(100 * matthews_corrcoef(labels, predicted))
    assert math.sqrt(found.variance) == pytest.approx(error, rel=0.15)
    assert found.p > 0.05
    (study,) = studies(Store(tmp_path))
    assert constant_notes([select_row(study, "kd")], [TASKS.get("cola")]) == [
        "One class for every item scores at most 0.0 (CoLA). Not separable above that (5 %, Holm-corrected over the "
        "rows): KD on CoLA."
    ]


def test_seeds_that_are_far_apart_are_tested_however_high_they_are(tmp_path: Path) -> None:
    """Two seeds, 26 and 48 points above: Student's t of one degree of freedom cannot tell their mean from nothing."""
    labels = np.arange(300) % 2
    answers = [np.where(np.arange(300) < right, labels, 1 - labels) for right in (228, 294)]
    task, cells = TASKS.get("rte")(), _answered(tmp_path, "rte", labels, answers)
    found = compare_with_constant(task, cells, best_constant(task, cells))
    assert found.value == pytest.approx(37)
    assert found.p > 0.05


def test_one_low_seed_is_tested_however_high_the_others_are(tmp_path: Path) -> None:
    labels = np.arange(400) % 2
    cells = _answered(tmp_path, "rte", labels, [labels, labels, np.zeros(400, np.int64)])
    task = TASKS.get("rte")()
    found = compare_with_constant(task, cells, best_constant(task, cells))
    assert found.value == pytest.approx(100 / 3)
    assert found.p > 0.05


def test_notes_name_rows_that_are_not_above_a_constant_answer(tmp_path: Path) -> None:
    rows = {"finetune": {"rte": (52.0, 50.0, 51.0), "qnli": (80.0, 81.0, 79.0)}, "kd": exact_results.NEAR}
    exact_results.study(tmp_path, rows | {"dist": dict.fromkeys(exact_results.TWO, (40.0, 41.0, 42.0))})
    (study,) = studies(Store(tmp_path))
    lines = [select_row(study, row) for row in rows]
    tasks = [TASKS.get(task) for task in exact_results.TWO]
    said = "One class for every item scores at most 50.0 (RTE), 50.0 (QNLI)."
    level = "Not separable above that (5 %, Holm-corrected over the rows)"
    assert constant_notes(lines, tasks) == [f"{said} {level}: Fine-tuning on RTE."]
    assert constant_notes(lines[1:], tasks) == [said]
    # below is not above
    assert constant_notes([select_row(study, "dist")], tasks) == [f"{said} {level}: DIST on RTE, QNLI."]


def test_runs_without_predictions_and_regressions_have_no_constant_answer(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "rte", 0), "kd"), 0.7)
    made.done(made.ask(spec("kd", "stsb", 0), "kd"), 0.7)
    made.write()
    (study,) = studies(Store(tmp_path))
    assert constant_notes([select_row(study, "kd")], [TASKS.get("rte"), TASKS.get("stsb")]) == []


def test_tables_and_compare_have_the_note(tmp_path: Path) -> None:
    exact_results.study(tmp_path, {"finetune": exact_results.NEAR, "kd": {"rte": (52.0, 50.0, 51.0)}})
    (study,) = studies(Store(tmp_path))
    sheet, out = Scores().build(study), io.StringIO()
    show_comparison(("kd", "finetune"), Store(tmp_path), EVERYTHING, "markdown", Console(file=out, width=400))
    ending = "Not separable above that (5 %, Holm-corrected over the rows): KD on RTE."
    assert sheet is not None
    assert f"One class for every item scores at most 50.0 (RTE), 50.0 (QNLI). {ending}" in sheet.notes
    assert f"One class for every item scores at most 50.0 (RTE). {ending}" in out.getvalue()


def test_tasks_with_scores_of_their_own_have_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a score for which the rarer class is the better answer."""
    labels = np.repeat([0, 1], [150, 50])

    def rare(self: object, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"accuracy": float(np.mean([p == r == 1 for p, r in zip(predictions, references, strict=True)]))}

    monkeypatch.setattr(TASKS.get("rte"), "score", rare)
    task = TASKS.get("rte")()
    assert task.has_own_score
    best = best_constant(task, _answered(tmp_path, "rte", labels, [labels]))
    assert (best.label, best.scores) == (1, (25.0,))
