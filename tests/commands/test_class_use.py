"""A network that predicts one class, or two of many, is said to do so wherever its score stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from kdbench.core.atomic_files import read_json, write_json
from kdbench.data.task_registry import TASKS
from kdbench.results.archive.write import collect_study
from kdbench.results.class_use import ClassUse, collapse_heading, count_classes
from kdbench.results.store import Store
from tests.analysis.made import Made, spec, teacher
from tests.commands.conftest import Call
from tests.kdbench.small_runs import plan, the_run, train

ITEMS = 60
ONLY_ONE, ONE_OR_TWO = "Predicts only one class", "Predicts only one or two of the classes"
Use = Mapping[str, Sequence[int]]  # network -> the classes that it predicts, in turn


@pytest.mark.parametrize(
    ("classes", "labels", "predicted", "collapsed"),
    [
        (2, [0, 1], [1, 1], True),
        (2, [0, 1], [1, 0], False),
        (2, [1, 1], [1, 1], False),  # nothing else was to be found
        (3, [0, 1, 2], [2, 2, 2], True),
        (3, [0, 1, 2], [2, 0, 2], True),
        (3, [0, 1, 0], [0, 1, 0], False),  # all that occur
        (150, list(range(9)), [3, 4, 3] * 3, True),
        (150, list(range(9)), [3, 4, 5] * 3, False),
    ],
)
def test_what_a_collapse_is(classes: int, labels: list[int], predicted: list[int], collapsed: bool) -> None:
    assert ClassUse(**count_classes(np.array(predicted), np.array(labels), classes)).is_collapsed == collapsed


def test_the_heading_says_what_these_networks_predict() -> None:
    one, two, number = (ClassUse(classes, 9, predicted, 0, 1.0) for classes, predicted in ((2, 1), (3, 2), (1, 1)))
    assert collapse_heading([one, one]) == "Predicts only one class"
    assert collapse_heading([two]) == "Predicts only two of the classes"
    assert collapse_heading([two, one]) == "Predicts only one or two of the classes"
    undefined = "one number, with which correlations are undefined and count as 0"
    assert collapse_heading([number]) == f"Predicts only {undefined}"
    assert collapse_heading([number, one]) == f"Predicts only one class, or {undefined}"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_counts(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = [p for p, _ in pairs], [t for _, t in pairs]
    found = ClassUse(**count_classes(np.array(predicted), np.array(labels), 5))
    assert (found.predicted, found.true) == (len(set(predicted)), len(set(labels)))
    assert found.share == predicted.count(found.most) / len(predicted)
    assert found.share == max(predicted.count(c) for c in range(5)) / len(predicted)


def finish(made: Made, run_id: str, use: Use, *, stored: bool = True) -> str:
    """A finished run whose networks predict these classes.

    Args:
        stored: result.json says so; otherwise there are predictions only, as of runs of earlier versions.
    """
    made.done(run_id, 0.6)
    task, folder = TASKS.get(made.runs[run_id].task), made.store.run(run_id)
    classes = len(task.labels)
    labels = np.arange(ITEMS) % classes
    said = {name: np.resize(np.array(some), ITEMS) for name, some in use.items()}
    result = read_json(folder.path / "result.json")
    if stored:
        for name in ("best", "last"):
            result[name]["predicted"] = {s: count_classes(said[name], labels, classes) for s in task.report_splits}
        if "teacher" in use:
            result["teacher"] = result["best"]["report"]
            result["teacher_predicted"] = {
                s: count_classes(said["teacher"], labels, classes) for s in task.report_splits
            }
    write_json(folder.path / "result.json", result)
    tensors = {f"best/{s}/logits": np.eye(classes, dtype=np.float32)[said["best"]] for s in task.report_splits}
    save_file(tensors | {f"best/{s}/labels": labels for s in task.report_splits}, folder.predictions)
    return run_id


GOOD, ONE = {"best": (0, 1), "last": (0, 1)}, {"best": (1,), "last": (1,)}


def made_study(root: Path, *, stored: bool = True) -> Made:
    """KD collapses in one of two seeds, LGTM's teacher in both, the last student of DML in both, and the teacher."""
    made = Made(Store(root))
    for seed in (0, 1):
        parent = finish(made, made.need(teacher("rte", seed)), ONE, stored=stored)
        kd = made.ask(spec("kd", "rte", seed, needs={"teacher": parent}))
        finish(made, kd, GOOD if seed else ONE, stored=stored)
        finish(made, made.ask(spec("dml", "rte", seed)), {"best": (0, 1), "last": (0,)}, stored=stored)
        finish(made, made.ask(spec("lgtm", "rte", seed)), {**GOOD, "teacher": (1,)}, stored=stored)
        finish(made, made.ask(spec("kd", "mnli", seed)), {"best": (0, 2), "last": (0, 2)}, stored=stored)
        finish(made, made.ask(spec("dml", "mnli", seed)), {"best": (0, 1, 2), "last": (0, 1, 2)}, stored=stored)
    made.write()
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("collapsed")
    made_study(path / "results")
    return path


def test_in_tables(folder: Path, say: Call) -> None:
    lines = {line.split("  ")[0]: line for line in say(folder, "table", "1").splitlines()}
    signs = {row: [cell.rstrip("°")[-1] == "§" for cell in lines[row].split()[-3:-1]] for row in ("KD", "DML", "LGTM")}
    assert signs == {"KD": [True, True], "DML": [False, False], "LGTM": [False, False]}
    assert "§" in lines["Teacher"]
    text = say(folder, "table", "1")
    assert f"§ {ONE_OR_TWO}. Not in every seed: KD on RTE (1 of 2 seeds)." in text
    assert f"{ONLY_ONE} at the end of training: the last student of DML on RTE; the teacher of LGTM on RTE." in text
    assert "60.0±0.0§ |" in say(folder, "table", "1", "--format", "markdown")
    assert r"60.0\rlap{$^{\S}$}" in say(folder, "table", "1", "--format", "latex")


def test_as_numbers(folder: Path, say: Call) -> None:
    rows = list(csv.DictReader(io.StringIO(say(folder, "table", "1", "--format", "csv"))))
    found = {(r["row"], r["task"], r["seed"]): (r["predicted_classes"], r["teacher_predicted_classes"]) for r in rows}
    assert found["teacher", "rte", "0"] == ("1", "")
    assert [found["kd", "rte", seed] for seed in "01"] == [("1", ""), ("2", "")]
    assert found["lgtm", "rte", "0"] == ("2", "1")
    assert found["dml", "mnli", "1"] == ("3", "")


def test_a_class_that_is_never_predicted(tmp_path: Path, say: Call) -> None:
    made = Made(Store(tmp_path / "results"))
    every, some = tuple(range(6)), (0, 1, 3, 4, 5)
    for seed in (0, 1):
        finish(made, made.ask(spec("kd", "trec", seed)), {"best": some if seed else every, "last": every})
        finish(made, made.ask(spec("dml", "trec", seed)), {"best": (0, 1, 2), "last": every}, stored=False)
        finish(made, made.ask(spec("pkd", "trec", seed)), {"best": (0, 1), "last": (0, 1)})  # collapsed
        finish(made, made.ask(spec("lgtm", "trec", seed)), {"best": every, "last": some})
    made.write()
    note = (
        "Some classes are never predicted: KD on TREC (5 of 6 predicted, 1 of 2 seeds); DML on TREC (3 of 6 predicted)."
    )
    for words in (("table", "1"), ("table", "scores"), ("compare", "kd", "dml")):
        assert note in say(tmp_path, *words)
    assert "never predicted" not in say(tmp_path, "compare", "pkd", "lgtm")


def test_many_rows_that_never_predict_a_class_are_counted(tmp_path: Path, say: Call) -> None:
    made = Made(Store(tmp_path / "results"))
    rows = ("finetune", "kd", "pkd", "skd", "dist", "dml", "prokt", "pesf_kd", "meta_distill", "lgtm")
    for place, row in enumerate(rows):
        best = tuple(range(6)) if row == "lgtm" else tuple(range(3 + place % 3))
        finish(made, made.ask(spec(row, "trec", 0)), {"best": best, "last": best})
    finish(made, made.ask(spec("kd", "tweeteval-emotion", 0)), {"best": (0, 1, 2), "last": (0, 1, 2)})
    made.write()
    emotion, trec = "KD on Emotion (3 of 4 predicted)", "9 of 10 rows on TREC (3 to 5 of 6 predicted)"
    assert f"Some classes are never predicted: {emotion}; {trec}." in say(tmp_path, "table", "scores")


def test_in_compare(folder: Path, say: Call) -> None:
    text = say(folder, "compare", "kd", "dml")
    assert [line.split()[1:3] for line in text.splitlines() if line.startswith(("RTE  ", "MNLI  "))] == [
        ["60.0§", "60.0"], ["60.0§", "60.0"]
    ]  # fmt: skip
    assert f"§ {ONE_OR_TWO}. Not in every seed: KD on RTE (1 of 2 seeds)." in text
    assert "§" not in say(folder, "compare", "dml", "lgtm")


def test_in_status_and_show(folder: Path, say: Call) -> None:
    made = Store(folder / "results")
    runs = {run.id: " ".join(words) for run in made.runs() for words in [run.id.split("-")[:3]]}
    listed = say(folder, "status").partition(ONE_OR_TWO)[2]
    said = {runs[line.split()[0]]: line.split("  ")[2] for line in listed.splitlines() if line.startswith("  ")}
    assert said == {
        "rte finetune s0": "Predicts only 1 of 2 classes (not_entailment 100 %): kept student, last student.",
        "rte finetune s1": "Predicts only 1 of 2 classes (not_entailment 100 %): kept student, last student.",
        "rte kd s0": "Predicts only 1 of 2 classes (not_entailment 100 %): kept student, last student.",
        "rte dml s0": "Predicts only 1 of 2 classes (entailment 100 %): last student.",
        "rte dml s1": "Predicts only 1 of 2 classes (entailment 100 %): last student.",
        "rte lgtm s0": "Predicts only 1 of 2 classes (not_entailment 100 %): teacher trained along.",
        "rte lgtm s1": "Predicts only 1 of 2 classes (not_entailment 100 %): teacher trained along.",
        "mnli kd s0": "Predicts only 2 of 3 classes (entailment 50 %): kept student, last student.",
        "mnli kd s1": "Predicts only 2 of 3 classes (entailment 50 %): kept student, last student.",
    }
    shown = say(folder, "show", "rte-lgtm-s0")
    assert "Predicts only 1 of 2 classes (not_entailment 100 %): teacher trained along." in shown
    assert "2 of 2 classes (entailment 50 %)" in shown
    assert "Predicts only 1 of 2 classes (not_entailment 100 %): kept student" in say(folder, "show", "kd", "rte")


def test_in_the_report(folder: Path, say: Call) -> None:
    say(folder, "report", "--out", "page.html")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page.count('<span class="sign">§</span>') + page.count('<span class="sign">°§</span>') >= 3
    assert f"<li>§ {ONE_OR_TWO}." in page
    assert page.count("Predicts only 2 of 3 classes (entailment 50 %): kept student, last student.") == 4


def test_a_collected_study_says_the_same(folder: Path, say: Call) -> None:
    collect_study("kept", [Store(folder / "results")], folder / "kept", None)
    for words in (["table", "1"], ["table", "1", "--format", "csv"], ["compare", "kd", "dml"], ["status"]):
        assert say(folder, *words, "--results", "kept") == say(folder, *words)


def test_of_earlier_runs_the_predictions_are_counted(tmp_path: Path, say: Call) -> None:
    made_study(tmp_path / "results", stored=False)
    text = say(tmp_path, "table", "1")
    assert f"§ {ONE_OR_TWO}. Not in every seed: KD on RTE (1 of 2 seeds)." in text
    assert "at the end of training" not in text  # nobody knows
    collect_study("kept", [Store(tmp_path / "results")], tmp_path / "kept", None)
    assert say(tmp_path, "table", "1", "--results", "kept") == text
    for run in Store(tmp_path / "results").runs():
        run.predictions.unlink()
    assert "Predicts only" not in say(tmp_path, "table", "1")


def test_a_run_stores_it_and_says_it_in_its_log(tmp_path: Path) -> None:
    """With rates too small to learn anything, student and teacher keep the one class that they begin with."""
    store = Store(tmp_path / "results")
    made = plan(tmp_path, "student_lr=1e-9", "teacher_lr=1e-9", "epochs=1", methods="prokt", tasks="mrpc")
    train(made, store)
    run = store.run(the_run(made).id)
    result = json.loads((run.path / "result.json").read_text())
    use = result["best"]["predicted"]["validation"]
    assert use == {"classes": 2, "true": 2, "predicted": 1, "most": use["most"], "share": 1.0}
    assert result["last"]["predicted"]["validation"] == use
    assert result["teacher_predicted"]["validation"]["predicted"] == 1
    log = run.log.read_text()
    word = TASKS.get("mrpc").labels[use["most"]]
    assert f"Predicts only 1 of 2 classes ({word} 100 %): kept student, last student" in log
    assert "teacher trained along." in log
    assert ", selection F1 " in log
