"""Table 1 against numbers computed by hand and by numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdbench.analysis.table1 import Table1
from kdbench.reporting.tables import Detail, TableData
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import STUDY, Made, full, spec, states, teacher, texts


def sheet(store: Store) -> TableData:
    return Table1().build(studies(store)[0])


def test_pairs_are_averaged_first_then_tasks(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "mrpc", 0)), (0.90, 0.80))
    made.done(made.ask(spec("kd", "mnli", 0)), (0.70, 0.60))
    made.done(made.ask(spec("kd", "rte", 0)), 0.50)
    found = sheet(made.write())
    assert found.head == ["", "MRPC\nF1/Acc.", "RTE\nAcc.", "MNLI\nm/mm", "Avg."]
    # (85 + 65 + 50) / 3; averaging the five numbers would give 70.0
    assert texts(found) == {"KD": ["90.0/80.0", "50.0", "70.0/60.0", "66.7"]}
    assert found.notes[1] == (
        "Avg. = mean of the 3 task means shown here, not of the 6 GLUE tasks; "
        "F1/Acc. and m/mm are averaged first."
    )  # fmt: skip


def test_the_average_of_one_task_is_not_that_of_glue(tmp_path: Path) -> None:
    made = Made(Store(tmp_path / "rte"))
    made.done(made.ask(spec("kd", "rte", 0)), 0.5)
    found = sheet(made.write())
    assert texts(found) == {"KD": ["50.0", "50.0"]}
    assert not any("Avg." in note or not note for note in found.notes)
    # that of two numbers tells which row is the best
    made = Made(Store(tmp_path / "mrpc"))
    made.done(made.ask(spec("kd", "mrpc", 0)), (0.90, 0.80))
    found = sheet(made.write())
    assert texts(found) == {"KD": ["90.0/80.0", "85.0"]}
    assert found.notes[1] == "Avg. = mean of the numbers of a cell."


def test_all_six_tasks_give_the_average_of_the_paper(tmp_path: Path) -> None:
    found = sheet(full(tmp_path, seeds=(0,)))
    assert found.notes[1].startswith("Avg. = mean of the 6 task means;")
    assert "one seed a number" in found.notes[0]
    assert [row[0].text for row in found.rows] == [
        "Teacher", "Fine-tuning", "KD", "DML", "LGTM", "LGTM (released code)",
    ]  # fmt: skip


def test_mean_and_sample_standard_deviation(tmp_path: Path) -> None:
    values = np.array([0.612, 0.655, 0.571])
    made = Made(Store(tmp_path))
    for seed, value in enumerate(values):
        made.done(made.ask(spec("kd", "rte", seed)), float(value))
    found = sheet(made.write())
    mean, std = 100 * values.mean(), 100 * values.std(ddof=1)
    assert texts(found)["KD"] == [f"{mean:.1f}±{std:.1f}", f"{mean:.1f}"]
    assert found.notes[0].endswith("mean ± sample standard deviation over seeds (3 a number).")


def test_the_number_of_seeds_is_said_of_the_numbers_that_are_there(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for seed in (0, 1):
        made.done(made.ask(spec("kd", "rte", seed)), 0.6)
    made.done(made.ask(spec("dml", "rte", 0)), 0.7)
    made.ask(spec("lgtm", "rte", 0))
    found = sheet(made.write())
    assert found.notes[0].endswith("(1 to 2 a number; no ± where one seed is done).")
    assert texts(found) == {"KD": ["60.0±0.0", "60.0"], "DML": ["70.0", "70.0"], "LGTM": ["–", "–"]}


def test_the_best_of_a_column_is_marked_and_the_teacher_does_not_compete(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    parent = made.done(made.need(teacher("rte", 0)), 0.99)
    made.done(made.ask(spec("kd", "rte", 0, needs={"teacher": parent})), 0.70004)
    made.done(made.ask(spec("dml", "rte", 0)), 0.70001)  # prints the same
    made.done(made.ask(spec("finetune", "rte", 0)), 0.6)
    found = sheet(made.write())
    marked = {row[0].text: row[1].best for row in found.rows}
    assert marked == {"Teacher": False, "Fine-tuning": False, "KD": True, "DML": True}
    assert found.rules == {1}


@pytest.mark.parametrize("feedback", ["validation", "train:0.1"])
def test_a_row_that_learned_from_the_reported_split_is_marked(tmp_path: Path, feedback: str) -> None:
    made = Made(Store(tmp_path), study={**STUDY, "feedback": feedback})
    made.done(made.ask(spec("kd", "mnli", 0)), 0.7)
    made.done(made.ask(spec("lgtm", "mnli", 0, feedback=feedback)), 0.7)
    found = sheet(made.write())
    fed = feedback == "validation"
    assert list(texts(found)) == ["KD", "LGTM†" if fed else "LGTM"]
    sentence = "† Learned from feedback on the reported split (MNLI: validation_matched only)."
    assert any(text.startswith(sentence) for text in found.notes) == fed
    assert ("Feedback (LGTM) from 10 % of train, held out." in found.notes) == (not fed)


def test_no_dagger_note_where_no_row_has_one(tmp_path: Path) -> None:
    made = Made(Store(tmp_path), study={**STUDY, "feedback": "validation"})
    made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    assert not any("†" in note for note in sheet(made.write()).notes)


def test_selection_on_the_reported_split_is_confessed(tmp_path: Path) -> None:
    made = Made(Store(tmp_path), study={**STUDY, "selection": "validation"})
    made.done(made.ask(spec("kd", "rte", 0, selection="validation")), 0.7)
    assert any("optimistic" in note for note in sheet(made.write()).notes)


def test_holes_are_dashes_and_are_named(tmp_path: Path) -> None:
    store, _ = states(tmp_path)
    found = sheet(store)
    assert texts(found)["Fine-tuning"] == ["–", "–"]
    (note,) = [note for note in found.notes if note.startswith("Not finished")]
    assert "Teacher: RTE 2 of 3 runs (1 failed: non-finite, 1 waiting)" in note
    assert "KD: RTE 2 of 3 runs (1 blocked, 1 waiting)" in note


def test_a_missing_task_leaves_no_average(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    made.done(made.ask(spec("dml", "rte", 0)), 0.6)
    made.done(made.ask(spec("dml", "sst2", 0)), 0.8)
    found = sheet(made.write())
    assert texts(found) == {"KD": ["70.0", "–", "–"], "DML": ["60.0", "80.0", "70.0"]}
    assert "Not asked for: KD on SST-2." in found.notes


def test_grid_points_are_shown_with_their_values(tmp_path: Path) -> None:
    found = sheet(full(tmp_path, seeds=(0,)))
    assert any("best mean first metric on 10 % of train, held out" in note for note in found.notes)
    made = Made(Store(tmp_path / "two"))
    for task, best in (("rte", 1e-4), ("sst2", 3e-5)):
        for lr in (1e-4, 3e-5):
            made.done(made.ask(spec("kd", task, 0, student_lr=lr), choice={"student_lr": lr}), 0.5, 0.5 + (lr == best))
    assert "KD: student_lr=0.0001 on RTE; student_lr=3e-05 on SST-2." in sheet(made.write()).notes


def test_rows_that_were_trained_otherwise_are_told_apart(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "rte", 0, epochs=3)), 0.7)
    made.done(made.ask(spec("dml", "rte", 0, epochs=6)), 0.6)
    notes = sheet(made.write()).notes
    assert "Rows differ in epochs: KD 3, DML 6." in notes
    assert "All runs shown: batch_size=32, max_length=128." in notes


def test_a_value_of_many_rows_is_said_once_and_warnings_come_before_details(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for method, epochs in (("kd", 3), ("pkd", 3), ("skd", 3), ("dml", 6), ("dist", 6), ("lgtm", 9)):
        made.done(made.ask(spec(method, "rte", 0, epochs=epochs)), 0.7)
    notes = sheet(made.write()).notes
    differs = "Rows differ in epochs: 3, but 6 for DIST, DML; 9 for LGTM."
    assert differs in notes
    details = [isinstance(note, Detail) for note in notes]
    assert details == sorted(details)
    assert notes.index(differs) < notes.index("Checkpoints selected on 10 % of train, held out.")


def test_of_one_row_nothing_is_the_best(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    assert not any(cell.best for row in sheet(made.write()).rows for cell in row)
    made.done(made.ask(spec("dml", "rte", 0)), 0.6)
    assert [row[1].best for row in sheet(made.write()).rows] == [True, False]


def test_tasks_that_were_trained_otherwise_are_told_apart(tmp_path: Path) -> None:
    """Each task has settings of its own; where rows of one task differ, that task is named."""
    for name, of_dml, sentence in (
        ("tasks", 3, "Tasks differ in epochs: 3 on RTE; 6 on SST-2."),
        ("rows", 9, "Rows differ in epochs on RTE: KD 3, DML 9."),
    ):
        made = Made(Store(tmp_path / name))
        for method, epochs in (("kd", 3), ("dml", of_dml)):
            made.done(made.ask(spec(method, "rte", 0, epochs=epochs, precision="bf16")), 0.7)
            made.done(made.ask(spec(method, "sst2", 0, epochs=6, precision="bf16")), 0.8)
        found = [note for note in sheet(made.write()).notes if "differ" in note]
        assert found == [sentence]


def test_tasks_that_differ_are_told_also_where_rows_differ_on_another(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for method, epochs in (("kd", 3), ("dml", 9)):
        for task, own in (("rte", epochs), ("sst2", 6), ("qnli", 4)):
            made.done(made.ask(spec(method, task, 0, epochs=own)), 0.7)
    assert [note for note in sheet(made.write()).notes if "differ" in note] == [
        "Rows differ in epochs on RTE: KD 3, DML 9.", "Tasks differ in epochs: 6 on SST-2; 4 on QNLI.",
    ]  # fmt: skip


def test_rows_that_differ_otherwise_on_each_task_are_told_apart_task_by_task(tmp_path: Path) -> None:
    """`0.0001/0.0003 for DML` would not say which task has which."""
    made = Made(Store(tmp_path))
    rates = {"kd": (3e-4, 3e-4), "pkd": (3e-4, 3e-4), "skd": (3e-4, 3e-4), "dml": (1e-4, 1e-4), "lgtm": (1e-3, 1e-4)}
    for method, of_tasks in rates.items():
        for task, rate in zip(("rte", "sst2"), of_tasks, strict=True):
            made.done(made.ask(spec(method, task, 0, student_lr=rate)), 0.7)
    assert [note for note in sheet(made.write()).notes if "differ" in note] == [
        "Rows differ in student_lr on RTE: 0.0003, but 0.0001 for DML; 0.001 for LGTM.",
        "Rows differ in student_lr on SST-2: 0.0003, but 0.0001 for DML, LGTM.",
    ]


def test_records_are_the_unrounded_numbers_of_all_rows(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    parent = made.done(made.need(teacher("mrpc", 0)), (0.95, 0.9123456789))
    made.done(made.ask(spec("kd", "mrpc", 0, needs={"teacher": parent})), (0.8, 0.7123456789), last=0.5)
    records = sheet(made.write()).records
    assert [(r["row"], r["metric"], r["value"]) for r in records] == [
        ("teacher", "f1", 95.0), ("teacher", "accuracy", 91.23456789), ("kd", "f1", 80.0),
        ("kd", "accuracy", 71.23456789),
    ]  # fmt: skip
    assert records[-1]["last"] == 50.0
