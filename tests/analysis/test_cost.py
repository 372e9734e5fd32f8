"""What numbers cost: the table, and the mark on what was tuned with a larger budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.atomic_files import write_json
from kdbench.reporting.provenance import total_cost
from kdbench.reporting.tables import TABLES, TableData
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import COST, ENVIRONMENT, Made, full, spec, teacher


def sheet(name: str, store: Store) -> TableData:
    (found,) = TABLES.get(name)().sheets(studies(store))
    return found


def rows(found: TableData) -> dict[str, list[str]]:
    return {row[0].text: [entry.text for entry in row[1:]] for row in found.rows}


def test_sums_over_tasks_means_over_seeds_and_what_is_shared(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for task in ("mrpc", "rte"):
        for seed, seconds in ((0, 60.0), (1, 120.0)):
            parent = made.need(teacher(task, seed))
            made.done(parent, 0.9)
            run = made.done(made.ask(spec("kd", task, seed, needs={"teacher": parent})), 0.8)
            write_json(made.store.run(run).path / "cost.json", COST | {"train_seconds": seconds})
    found = sheet("cost", made.write())
    assert found.head == ["", "\nSteps", "Student\nfwd/jvp/bwd", "Teacher\nfwd/jvp/bwd", "Settings\ntried",
                          "Time\nmin", "All\nmin", "Needs\nmin", "Memory\nMB"]  # fmt: skip
    # 2 tasks of 10 steps; (60 + 120) / 2 twice; all four; one teacher of 65 s a training, two tasks
    assert rows(found)["KD"] == ["20", "2.0/0/1.0", "0.25/0/0", "1", "3.0", "6.0", "2.2", "2"]


def test_what_the_runs_do_not_tell_is_not_guessed(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    run = made.done(made.ask(spec("kd", "mrpc", 0)), 0.8)
    write_json(made.store.run(run).path / "cost.json", {"train_seconds": 60.0, "steps": 10})
    made.ask(spec("dml", "mrpc", 0))
    found = sheet("cost", made.write())
    assert rows(found)["KD"] == ["10", "–", "–", "1", "60.0", "60.0", "–", "–"]
    assert set(rows(found)["DML"]) == {"–"}
    assert any("Not finished: DML" in note for note in found.notes)


def test_that_times_cannot_be_compared_is_said_once(tmp_path: Path) -> None:
    """Two machines, one of which had other work."""
    made = Made(Store(tmp_path))
    for seed, (cpu, seconds) in enumerate((("one", 60.0), ("one", 200.0), ("other", 60.0))):
        path = made.store.run(made.done(made.ask(spec("kd", "mrpc", seed)), 0.8)).path
        write_json(path / "cost.json", {"train_seconds": seconds, "steps": 10})
        write_json(path / "environment.json", {"cpu": cpu, "threads": 1})
    told = [note for note in sheet("cost", made.write()).notes if "times cannot" in note or "other work" in note]
    assert told == [
        "The times cannot be compared: they are of different machines (one, 1 thread; other, 1 thread).",
        "The machines had other work too: seeds of one row took 60 to 200 s.",
    ]


def test_rows_of_train_are_said_where_not_all_are_used(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for task, rows in (("rte", 0), ("sst2", 500)):
        made.done(made.ask(spec("kd", task, 0, train_rows=rows)), 0.6)
    assert "Rows of train that are used: at most 500 (SST-2)." in sheet("cost", made.write()).notes


def test_table_3_does_not_compare_times_of_a_busy_machine(tmp_path: Path) -> None:
    made, options = Made(Store(tmp_path)), {"influence": "fda"}
    for seed, seconds in enumerate((40.0, 400.0)):
        wanted = spec("lgtm", "mrpc", seed, options=options)
        run = made.done(made.ask(wanted, "lgtm_printed", varies=options), 0.8)
        write_json(made.store.run(run).path / "cost.json", COST | {"train_seconds": seconds})
    assert (
        "The times cannot be compared, because the machine had other work: seeds of one row took 40 to 400 s."
    ) in sheet("table3", made.write()).notes


def test_memory_of_a_gpu_is_not_that_of_a_process(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    runs = [made.done(made.ask(spec(row, "rte", 0)), 0.6) for row in ("kd", "dml")]
    store, file = made.write(), made.store.run(runs[0]).path / "environment.json"
    assert sum("Memory" in note and "libraries" in note for note in sheet("cost", store).notes) == 1
    write_json(file, ENVIRONMENT | {"gpu": "H100"})
    (note,) = [note for note in sheet("cost", store).notes if note.startswith("Memory")]
    assert note.startswith("Memory cannot be compared: on a GPU the most that torch had there, on a CPU the most that")


def test_before_anything_is_done_it_says_what_is_missing(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.state(made.ask(spec("kd", "mrpc", 0)), "failed", kind="non-finite")
    found = sheet("cost", made.write())
    assert set(rows(found)["KD"]) == {"–"}
    assert any("Not finished: KD: MRPC 1 of 1 run (1 failed: non-finite)" in note for note in found.notes)


def test_what_is_lost_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    kept, lost = (made.done(made.ask(spec(name, "mrpc", 0)), 0.8) for name in ("kd", "dml"))
    (made.store.run(lost).path / "cost.json").unlink()
    (made.store.run(lost).path / "environment.json").write_text("{")
    found = sheet("cost", made.write())
    assert rows(found)["KD"][0] == "10"
    assert rows(found)["DML"] == ["–", "–", "–", "1", "–", "–", "–", "–"]
    assert f"cost.json is lost or damaged: {lost}." in found.notes
    assert kept not in str(found.notes)


@pytest.mark.parametrize("name", ["cost", "table1"])
def test_a_larger_budget_is_marked(tmp_path: Path, name: str) -> None:
    found = sheet(name, full(tmp_path))  # LGTM has a grid of two learning rates, the others one setting
    signed = {row[0].text for row in found.rows if any("‡" in entry.sign for entry in row)}
    assert signed == {"LGTM"}
    assert any(note.startswith("‡ Picked among more settings") for note in found.notes)


def test_settings_tried_elsewhere_are_said_not_to_count(tmp_path: Path) -> None:
    (note,) = (note for note in sheet("cost", full(tmp_path)).notes if note.startswith("Settings tried:"))
    assert "grid points among the runs of this table, none of other folders or seeds" in note


def test_equal_budgets_have_no_mark(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for method in ("kd", "dml"):
        for lr in (1e-4, 3e-5):
            made.done(made.ask(spec(method, "mrpc", 0, student_lr=lr), choice={"student_lr": lr}), 0.8)
    store = made.write()
    assert not any("‡" in entry.sign for name in ("cost", "table1") for row in sheet(name, store).rows for entry in row)


def test_records_hold_every_run_and_say_which_are_shown(tmp_path: Path) -> None:
    records = [r for r in sheet("cost", full(tmp_path)).records if r["row"] == "lgtm" and r["task"] == "mrpc"]
    assert len(records) == 6
    assert sum(r["shown"] for r in records) == 3
    assert records[0]["student_forward"] == 200
    assert records[0]["trials"] == 2


def test_means_without_a_spread_have_no_note_on_it(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for method, seed in (("kd", 0), ("kd", 1), ("dml", 0)):
        made.done(made.ask(spec(method, "mrpc", seed)), 0.8)
    store = made.write()
    assert any("mean over seeds (1 to 2 a number)." in note for note in sheet("cost", store).notes)
    assert any("no ± where one seed is done" in note for note in sheet("table1", store).notes)


def test_passes_of_a_run_and_its_teacher_are_summed_over_the_networks(tmp_path: Path) -> None:
    """A teacher is called the student in its own training. Each run: 200 and 25 passes forward, 100 back."""
    made = Made(Store(tmp_path))
    parent = made.done(made.need(teacher("rte", 0)), 0.9)
    child = made.done(made.ask(spec("kd", "rte", 0, needs={"teacher": parent})), 0.8)
    tangents = {"student": {**COST["passes"]["student"], "jvp": 50}}
    write_json(made.store.run(child).path / "cost.json", {**COST, "passes": {**COST["passes"], **tangents}})
    (study,) = studies(made.write())
    total = total_cost(study.runs[child], study.runs)
    assert {key: number for key, number in total.items() if key.startswith("passes")} == {
        "passes of all networks forward": 450, "passes of all networks backward": 200,
        "passes of all networks jvp": 50,
    }  # fmt: skip
    assert total["train_seconds"] == 2 * COST["train_seconds"]
    assert total["peak_memory"] == COST["peak_memory"]
