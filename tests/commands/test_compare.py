"""`kdbench compare`, and the marks that tables have from the same comparisons."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.data.task import Task, TaskData
from kdbench.data.task_registry import TASKS
from kdbench.reporting import compare_rows as view
from kdbench.reporting.show_table import show_table
from kdbench.reporting.study_choice import EVERYTHING, StudyChoice
from kdbench.results.comparison import compare_cells
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import StudyResults
from tests.analysis import exact_results
from tests.analysis.made import STUDY, Made, spec, teacher
from tests.commands.test_commands import call_here

ROWS = 400
TRUTH = {"rte": 5, "mrpc": 6, "mnli": 7, "cola": 8}  # what seeds the labels and the difficulties of a task's items


def predict(made: Made, run_id: str, skill: float, seed: int, rows: int = ROWS) -> str:
    """A finished run whose answers are right where skill, the item's ease and luck add up to more than 0."""
    run = made.runs[run_id]
    task, luck, tensors = TASKS.get(run.task)(), np.random.default_rng(seed), {}
    scores = []
    for i, split in enumerate(task.report_splits):
        truth = np.random.default_rng(TRUTH[run.task] + 100 * i)
        labels, ease = truth.integers(0, len(task.labels), rows), truth.normal(size=rows)
        wrong = (labels + 1) % len(task.labels)
        predicted = np.where(skill + ease + 0.5 * luck.normal(size=rows) > 0, labels, wrong)
        tensors[f"best/{split}/logits"] = np.eye(len(task.labels), dtype=np.float32)[predicted]
        tensors[f"last/{split}/logits"] = np.eye(len(task.labels), dtype=np.float32)[wrong]
        tensors |= {f"{name}/{split}/labels": labels for name in ("best", "last")}
        counts = np.zeros((len(task.labels), len(task.labels)))
        np.add.at(counts, (labels, predicted), 1)
        scores += [float(value) for value in task.score_counts(counts).values()]
    made.done(run_id, scores)
    save_file(tensors, made.store.run(run_id).predictions)
    return run_id


SKILLS: Mapping[str, float] = {"finetune": 0.0, "kd": 0.6, "dml": 0.61, "lgtm": 0.0}


def study(root: Path, names: tuple[str, ...] = ("rte", "mrpc", "mnli"), seeds: tuple[int, ...] = (0, 1, 2)) -> Made:
    """KD and DML are about equal and better than the others by 20 points; the teacher is like KD."""
    made = Made(Store(root))
    for t, task in enumerate(names):
        for seed in seeds:
            parent = predict(made, made.need(teacher(task, seed)), 0.6, 900 + 10 * t + seed)
            for m, (row, skill) in enumerate(SKILLS.items()):
                needs = {"teacher": parent} if row == "kd" else {}
                predict(made, made.ask(spec(row, task, seed, needs=needs)), skill, 1000 * m + 10 * t + seed)
    made.write()
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compared")
    study(path / "results")
    return path


def loaded(folder: Path) -> StudyResults:
    return studies(Store(folder / "results"))[0]


def told(folder: Path, *rows: str, form: str = "terminal", only: str | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=110, highlight=False)
    view.show_comparison((rows[0], rows[1]), Store(folder / "results"), StudyChoice(tasks=only), form, console)
    return out.getvalue()


def records(folder: Path, *rows: str, only: str | None = None) -> dict[str, dict[str, str]]:
    return {r["task"]: r for r in csv.DictReader(io.StringIO(told(folder, *rows, form="csv", only=only)))}


def test_what_is_told(folder: Path) -> None:
    text = told(folder, "kd", "finetune")
    assert text.startswith("KD and Fine-tuning, preset bert-6l: t-net teaches s-net\n")
    assert "\n  RTE: KD is higher.\n" in text
    assert "\n  Average: KD is higher.\n" in text
    assert "corrected for 3 tasks" in text
    text = told(folder, "kd", "dml")
    assert "\n  RTE: not separable with 3 seeds" in text
    assert "KD is higher" not in text
    assert "RTE: KD is higher." in told(folder, "finetune", "kd")
    assert "10,000 resamples" in text


def test_numbers_are_those_of_the_table(folder: Path) -> None:
    """Means from predictions are the means of result.json; the average is that of the task means."""
    found, made = records(folder, "kd", "lgtm"), loaded(folder)
    assert found["average"]["seeds"] == "0 1 2"
    for name in ("rte", "mrpc", "mnli"):
        task, cells = TASKS.get(name), select_row(made, "kd").shown[name]
        mean = np.mean([c.score(m, s) for c in cells for s in task.report_splits for m in task.metrics])
        assert float(found[name]["first_mean"]) == pytest.approx(mean)
        one = found[name]
        assert float(one["difference"]) == pytest.approx(float(one["first_mean"]) - float(one["second_mean"]))
        assert float(one["low"]) < float(one["difference"]) < float(one["high"])
        assert float(one["p_holm"]) >= float(one["p"])
    mean = np.mean([float(found[t]["difference"]) for t in ("rte", "mrpc", "mnli")])
    assert float(found["average"]["difference"]) == pytest.approx(mean)
    assert found["average"]["p_holm"] == ""


def test_the_same_results_give_the_same_numbers_and_exchanging_rows_the_opposite(folder: Path) -> None:
    assert told(folder, "kd", "dml", form="csv") == told(folder, "kd", "dml", form="csv")
    one, other = records(folder, "kd", "dml"), records(folder, "dml", "kd")
    for name, here in one.items():
        there = other[name]
        assert float(here["difference"]) == -float(there["difference"])
        assert (float(here["low"]), float(here["high"])) == (-float(there["high"]), -float(there["low"]))
        assert here["p"] == there["p"]
        assert here["first_mean"] == there["second_mean"]


def test_it_warns_as_the_table_does(tmp_path: Path) -> None:
    """Of feedback and selection on the reported split, of made data, and of a row that had more settings."""
    both = {"feedback": "validation", "selection": "validation", "source": "generated"}
    made = Made(Store(tmp_path / "results"), study={**STUDY, **both})
    for seed in (0, 1):
        predict(made, made.ask(spec("kd", "rte", seed)), 0.5, seed)
        for lr in (1e-4, 3e-5):
            predict(made, made.ask(spec("lgtm", "rte", seed, student_lr=lr, feedback="validation")), 0.6, 5 + seed)
    made.write()
    text = " ".join(told(tmp_path, "lgtm", "kd").split())
    assert text.startswith("LGTM† and KD, preset bert-6l")
    assert "† Learned from feedback on the reported split." in text
    assert "so the numbers are optimistic." in text
    assert "Made data: these numbers say nothing about the methods." in text
    assert "Picked among unequal numbers of settings: LGTM 2 settings, KD 1 setting (RTE)." in text
    assert "LGTM: student_lr=" in text


def test_seeds_needed(folder: Path) -> None:
    """On several tasks p is corrected, and so is the number of seeds. Of about equal rows no number is told."""
    assert "(on a task at 5 % / 3, as p is corrected)" in " ".join(told(folder, "kd", "dml").split())
    assert records(folder, "kd", "dml", only="rte")["rte"]["seeds_needed"] == ""
    assert "more than 50 seeds, or more items, are needed" in told(folder, "kd", "dml", only="rte")
    assert records(folder, "kd", "finetune", only="rte")["rte"]["seeds_needed"] == "2"


def test_no_difference_has_no_minus(tmp_path: Path) -> None:
    made = Made(Store(tmp_path / "results"))
    for row in ("kd", "dml"):
        for seed in (0, 1):
            predict(made, made.ask(spec(row, "rte", seed)), 0.5, seed)
    made.write()
    for pair in (("kd", "dml"), ("dml", "kd")):
        text = told(tmp_path, *pair)
        assert " 0.0 to 0.0" in text
        assert not re.search(r"[-+]0\.0\b", text)


def test_an_interval_that_ends_near_zero_shows_on_which_side(tmp_path: Path) -> None:
    exact_results.study(tmp_path / "results", {"kd": {"rte": (65.0,)}, "dist": {"rte": (74.5,)}})
    low = float(records(tmp_path, "dist", "kd", only="rte")["rte"]["low"])
    assert 0 < low < 0.05
    assert f" {low:+.2f} to +" in told(tmp_path, "dist", "kd", only="rte")


def test_the_other_formats_and_some_tasks(folder: Path) -> None:
    assert "| RTE |" in told(folder, "kd", "dml", form="markdown")
    assert r"95 \% interval" in told(folder, "kd", "dml", form="latex")
    assert set(records(folder, "kd", "teacher", only="rte,mnli")) == {"rte", "mnli", "average"}
    assert set(records(folder, "kd", "teacher", only="rte")) == {"rte"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("kd kdd", "Unknown row 'kdd'. Did you mean 'kd'? Valid: dml, finetune, kd, lgtm, teacher."),
        ("kd kd", "'kd' is given twice; compare it with one of: dml, finetune, lgtm, teacher."),
        ("kd dml --tasks rt", "Unknown task 'rt'. Did you mean 'rte'"),
        ("kd dml --tasks sst2", "Unknown task 'sst2'. Valid: all, glue, mnli, mrpc, rte."),
        ("kd dml --format pdf", "Unknown format 'pdf'"),
        ("kd dml --preset tiney", "Unknown preset 'tiney'. Did you mean 'tiny'"),
        ("kd dml --results nowhere", "There are no results in nowhere"),
        ("kd", "Missing argument 'B'"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, arguments: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert call_here(["compare", *arguments.split()], monkeypatch) == 2
    out, text = capsys.readouterr()
    assert not out
    assert text.startswith(f"kdbench: {sentence}")
    assert text.count("\n") == 1


def test_only_seeds_that_both_have(tmp_path: Path) -> None:
    made = Made(Store(tmp_path / "results"))
    for row, seeds in (("kd", (0, 1, 2)), ("dml", (1, 2, 3)), ("lgtm", (4,))):
        for seed in seeds:
            predict(made, made.ask(spec(row, "rte", seed)), 0.5, 10 * seed + len(row))
    made.write()
    assert records(tmp_path, "kd", "dml")["rte"]["seeds"] == "1 2"
    with pytest.raises(UserError, match="There is no seed that is done of both 'kd' and 'lgtm'"):
        told(tmp_path, "kd", "lgtm")
    shown = {row: select_row(loaded(tmp_path), row).shown["rte"] for row in ("kd", "lgtm")}
    with pytest.raises(UserError, match=r"no seed that is done in both rows on RTE \(0, 1, 2 in one, 4 in the other\)"):
        compare_cells(TASKS.get("rte")(), shown["kd"], shown["lgtm"])


@pytest.mark.parametrize("rows", [ROWS - 1, ROWS])
def test_other_items_are_refused(tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer of them, or as many with other labels."""
    made = Made(Store(tmp_path / "results"))
    predict(made, made.ask(spec("kd", "rte", 0)), 0.5, 1)
    monkeypatch.setitem(TRUTH, "rte", 5 if rows < ROWS else 55)
    predict(made, made.ask(spec("dml", "rte", 0)), 0.5, 2, rows)
    made.write()
    with pytest.raises(UserError, match="scored on different data"):
        told(tmp_path, "kd", "dml")


def test_a_lost_file_is_named_and_the_table_is_printed_all_the_same(tmp_path: Path) -> None:
    made = study(tmp_path / "results", ("rte",), seeds=(0,))
    (lost,) = (run for run in made.runs if run.startswith("rte-kd-"))
    made.store.run(lost).predictions.write_bytes(b"\x01")
    with pytest.raises(UserError, match=f"{lost} has no readable predictions.safetensors; delete the folder"):
        told(tmp_path, "kd", "dml")
    text = table(tmp_path)
    assert "Not compared with the best, for want of predictions or of a common seed: " in text


def table(folder: Path, form: str = "terminal", number: str = "1") -> str:
    out = io.StringIO()
    show_table(number, Store(folder / "results"), EVERYTHING, form, Console(file=out, width=110, highlight=False))
    return out.getvalue()


def test_marks_in_the_table(folder: Path) -> None:
    """In every column one of KD and DML is best, the other is marked, and the worse ones are not."""
    lines = {text[:12].strip(): text[12:] for text in table(folder).splitlines() if text[:1].isalpha()}
    assert {row: lines[row].count("°") for row in ("Teacher", "Fine-tuning", "LGTM")} == {
        "Teacher": 0, "Fine-tuning": 0, "LGTM": 0,
    }  # fmt: skip
    assert lines["KD"].count("°") + lines["DML"].count("°") == 4
    text = table(folder)
    assert "° Not separable from the best of its column (5 %, Holm-corrected over the column's rows)." in text
    assert "10,000 resamples" in text
    assert "°" not in table(folder, "latex")
    assert table(folder, "latex").count(r"$^{\circ}$") == 5  # one is in the note
    assert table(folder) == text
    assert "in common" not in text


def test_the_best_has_no_mark_however_many_they_are(tmp_path: Path) -> None:
    """Rows that print the same are all the best."""
    made = Made(Store(tmp_path / "results"))
    for row in ("kd", "dml"):
        predict(made, made.ask(spec(row, "rte", 0)), 0.5, 1)
    made.write()
    text = table(tmp_path, "markdown")
    assert text.count("| **") == 4
    assert not [line for line in text.splitlines() if line.startswith("|") and "°" in line]


def test_a_mark_agrees_with_compare(folder: Path) -> None:
    """Both ask the same comparison, so a row with a mark has a p of at least 5 % there."""
    marked = [
        row for row in ("kd", "dml") if "°" in next(x for x in table(folder).splitlines() if x.startswith(row.upper()))
    ]
    assert marked
    assert float(records(folder, "kd", "dml", only="rte")["rte"]["p"]) > 0.05


def test_marks_from_fewer_seeds_than_the_means(tmp_path: Path) -> None:
    """On the seeds that both have LGTM is far better; KD has the better mean by a seed that LGTM has not."""
    made = Made(Store(tmp_path / "results"))
    for row, skills in (("kd", {0: 0.0, 1: 0.0, 3: 9.0}), ("lgtm", {0: 0.6, 1: 0.6, 2: -0.6})):
        for seed, skill in skills.items():
            predict(made, made.ask(spec(row, "rte", seed)), skill, seed + len(row))
    made.write()
    text = table(tmp_path)
    assert "°" in next(line for line in text.splitlines() if line.startswith("LGTM"))
    assert float(records(tmp_path, "lgtm", "kd")["rte"]["p"]) < 0.05
    assert "° is from the seeds in common with the best, fewer than the means have: LGTM on RTE." in text


def skilled(made: Made, row: str, skill: float, seed: int, **varies: str) -> None:
    """A row of Table 3 or 6 on MRPC, two seeds."""
    for i in (0, 1):
        wanted = spec("lgtm", "mrpc", i, options=varies, feedback=made.study["feedback"])
        predict(made, made.ask(wanted, row, varies=varies), skill, seed + i)


def test_tables_3_and_6_have_marks_too(tmp_path: Path) -> None:
    made = Made(Store(tmp_path / "results"))
    skilled(made, "lgtm_no_fda", 0.60, 10, influence="weighted", weights_via="samples")
    skilled(made, "lgtm_printed", 0.61, 20, influence="fda")
    skilled(made, "lgtm_printed", -0.5, 30, influence="jvp")
    skilled(made, "lgtm", 0.60, 40)
    made.write("10 %")
    made = Made(made.store, study={**STUDY, "feedback": "train:0.05"})
    skilled(made, "lgtm", 0.61, 50)
    made.write("5 %", "2026-01-02T00:00:00+0000")
    for number, marks in (("3", 1), ("6", 2)):  # Table 6 has an average too, and both count
        rows, _, notes = table(tmp_path, number=number).partition("  Development sets")
        assert rows.count("°") == marks
        assert "exact" not in rows or "°" not in next(x for x in rows.splitlines() if "exact" in x)
        assert "° Not separable from the best of its column" in notes


class Plain(Task):
    """A task that says how to score predictions and no more."""

    title = "Plain"
    labels = ("no", "yes")
    metrics = ("share", "recall")

    def load(self, location: DataLocation) -> TaskData:
        raise NotImplementedError

    def score(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        predicted, true = np.array(predictions), np.array(references)
        return {"share": float(predicted.mean()), "recall": float(predicted[true == 1].mean())}


def test_a_task_without_counts_of_its_own_is_resampled_by_its_score() -> None:
    counts = np.array([[[[5.0, 2.0], [1.0, 7.0]], [[3.0, 0.0], [4.0, 8.0]]]])
    found = Plain().score_counts(counts)
    assert found["share"] == pytest.approx(np.array([[9 / 15, 8 / 15]]))
    assert found["recall"] == pytest.approx(np.array([[7 / 8, 8 / 12]]))
