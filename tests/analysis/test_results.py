"""Which cells a table shows, and which may stand in one table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kdbench.core.atomic_files import write_json
from kdbench.core.plugin_files import PluginFile
from kdbench.core.spec import DataRef
from kdbench.distill.method_registry import methods_of_group
from kdbench.reporting import missing_runs, notes
from kdbench.reporting.tables import TABLES
from kdbench.results.read_studies import studies
from kdbench.results.selection import best_grid_point, select_row
from kdbench.results.store import Store
from kdbench.results.study_part import part_of_study
from tests.analysis.made import STUDY, Made, spec, states, teacher

RELEASED = "--methods lgtm_released --tasks"


def grid(made: Made, scores: dict[float, list[tuple[float, float]]]) -> None:
    """Runs of kd on mrpc: learning rate -> (report, selection) by seed."""
    for lr, seeds in scores.items():
        for seed, (report, selection) in enumerate(seeds):
            run = made.ask(spec("kd", "mrpc", seed, student_lr=lr), choice={"student_lr": lr})
            if report:
                made.done(run, report, selection)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # the best mean on selection, although the report says otherwise
        ({1e-4: [(0.9, 0.5), (0.9, 0.6)], 3e-5: [(0.1, 0.6), (0.1, 0.6)]}, 3e-5),
        # more finished seeds go before a better mean
        ({1e-4: [(0.5, 0.9), (0, 0)], 3e-5: [(0.5, 0.2), (0.5, 0.2)]}, 3e-5),
        # the mean over seeds, not the best seed
        ({1e-4: [(0.5, 0.9), (0.5, 0.1)], 3e-5: [(0.5, 0.6), (0.5, 0.6)]}, 3e-5),
    ],
)
def test_the_grid_point_with_most_seeds_then_the_best_selection(
    tmp_path: Path, scores: dict[float, list[tuple[float, float]]], expected: float
) -> None:
    made = Made(Store(tmp_path))
    grid(made, scores)
    cells = best_grid_point(studies(made.write())[0].of("kd", "mrpc"), "f1")
    assert [c.cell.seed for c in cells] == [0, 1]
    assert {c.run.spec.training.student_lr for c in cells} == {expected}


def test_one_grid_point_needs_no_score_on_the_selection_split(tmp_path: Path) -> None:
    """A file of outputs may lack the rows of the validation split."""
    made = Made(Store(tmp_path))
    run = made.done(made.ask(spec("kd", "mrpc", 0)), 0.5)
    file = made.store.run(run).path / "result.json"
    found = json.loads(file.read_text())
    write_json(file, {**found, "best": {**found["best"], "selection": {}}})
    cells = best_grid_point(studies(made.write())[0].of("kd", "mrpc"), "f1")
    assert [cell.run.id for cell in cells] == [run]


def test_points_that_differ_in_their_teachers_only_are_different_points(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for lr, selection in ((1e-4, 0.5), (3e-5, 0.7)):
        for seed in (0, 1):
            parent = made.need(teacher("rte", seed, student_lr=lr))
            made.done(parent, 0.9, selection)
            child = spec("kd", "rte", seed, needs={"teacher": parent})
            made.done(made.ask(child, choice={"teacher_lr": lr}), 0.8, selection)
    study = studies(made.write())[0]
    for row in ("kd", "teacher"):
        shown = select_row(study, row).shown["rte"]
        assert [c.cell.seed for c in shown] == [0, 1]
    assert {c.run.spec.training.student_lr for c in select_row(study, "teacher").shown["rte"]} == {3e-5}


def test_results_of_an_older_version_of_a_method_are_not_shown(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for seed in (0, 1, 2):
        made.done(made.ask(spec("kd", "rte", seed)), 0.9, 0.9)
    made.write("old", "2026-01-01T00:00:00+0000")
    new = Made(made.store)
    new.done(new.ask(spec("kd", "rte", 0, method_version=2)), 0.5, 0.5)
    study = studies(new.write("new", "2026-01-02T00:00:00+0000"))[0]
    assert [c.run.spec.method_version for c in select_row(study, "kd").shown["rte"]] == [2]


def test_a_row_does_not_mix_versions_over_tasks(tmp_path: Path) -> None:
    """KD has a newer version, and on another task a newer file: what is left of the older one is told and not shown."""
    made = Made(Store(tmp_path))
    for task in ("rte", "mrpc"):
        made.done(made.ask(spec("kd", task, 0)), 0.9, 0.9)
        made.done(made.ask(spec("dml", task, 0, method_file=PluginFile(path="dml.py", sha256="a" * 64))), 0.9, 0.9)
    made.write("old", "2026-01-01T00:00:00+0000")
    new = Made(made.store)
    new.done(new.ask(spec("kd", "rte", 0, method_version=2)), 0.5, 0.5)
    new.done(new.ask(spec("dml", "mrpc", 0, method_file=PluginFile(path="dml.py", sha256="b" * 64))), 0.5, 0.5)
    study = studies(new.write("new", "2026-01-02T00:00:00+0000"))[0]
    kd, dml = select_row(study, "kd"), select_row(study, "dml")
    assert [(len(kd.shown[task]), len(dml.shown[task])) for task in ("rte", "mrpc")] == [(1, 0), (0, 1)]
    assert [c.score("accuracy", "validation") for c in (kd.shown["rte"][0], dml.shown["mrpc"][0])] == [50.0, 50.0]
    assert {task: len(cells) for task, cells in kd.older.items()} == {"rte": 1, "mrpc": 1}
    told = missing_runs.unfinished_notes(study, [kd, dml])
    assert told == [
        "Not asked for: KD on MRPC; DML on RTE.",
        "Left out, as trained by an earlier version of a method or of its file: KD on MRPC; DML on RTE.",
    ]
    assert missing_runs.unfinished_notes(study, [kd.on(["mrpc"])])[1].endswith("its file: KD on MRPC.")
    part = part_of_study(study, None, ["mrpc"])
    assert part is not None
    assert not select_row(part, "kd").shown["mrpc"]


def test_sweeps_of_one_study_are_joined_and_a_cell_counts_once(tmp_path: Path) -> None:
    first, second = Made(Store(tmp_path)), Made(Store(tmp_path))
    for made, seeds in ((first, (0, 1)), (second, (1, 2))):
        for seed in seeds:
            made.ask(spec("kd", "rte", seed))
    first.write("a", "2026-01-01T00:00:00+0000")
    second.write("b", "2026-01-02T00:00:00+0000")
    (study,) = studies(Store(tmp_path))
    assert sorted(c.cell.seed for c in study.cells) == [0, 1, 2]


@pytest.mark.parametrize("together", [False, True])
def test_a_run_that_two_tables_vary_is_in_both(tmp_path: Path, together: bool) -> None:
    """Each table's variation, in one sweep or in two, and once the run is also asked for itself."""
    made = Made(Store(tmp_path))
    purposes: list[dict[str, object]] = [{"teacher_ce": 0.6}, {"feedback": "train:0.1"}]
    run = spec("lgtm", "rte", 0, options={"teacher_ce": 0.6}, feedback="train:0.1")
    for i, varies in enumerate(purposes):
        made = made if together else Made(made.store)
        made.ask(run, varies=varies)
        made.write("one" if together else str(i), f"2026-01-0{i + 1}T00:00:00+0000")
    (study,) = studies(made.store)
    assert [len(select_row(study, "lgtm", varies).asked["rte"]) for varies in (*purposes, {})] == [1, 1, 0]
    plain = Made(made.store)
    plain.ask(run)
    (study,) = studies(plain.write("plain", "2026-01-03T00:00:00+0000"))
    assert [len(select_row(study, "lgtm", varies).asked["rte"]) for varies in (*purposes, {})] == [1, 1, 1]


@pytest.mark.parametrize(
    ("preset", "study", "changes"),
    [
        ("tiny", {}, {}),
        ("bert-6l", {"feedback": "validation"}, {}),
        ("bert-6l", {"selection": "validation"}, {"selection": "validation"}),
        ("bert-6l", {"source": "generated"}, {"data": {"source": "generated", "path": None, "fingerprint": "made"}}),
        ("bert-6l", {}, {"train_rows": 500}),
        ("bert-6l", {}, {"split_seed": 1}),
        ("bert-6l", {}, {"data": {"source": "hub", "path": None, "fingerprint": "other rows"}}),
    ],
)
def test_what_may_not_be_compared_is_not_in_one_study(
    tmp_path: Path, preset: str, study: dict[str, str], changes: dict[str, object]
) -> None:
    one, other = Made(Store(tmp_path)), Made(Store(tmp_path), preset, {**STUDY, **study})
    one.ask(spec("kd", "rte", 0))
    one.write("a", "2026-01-01T00:00:00+0000")
    other.ask(spec("kd", "rte", 0, **changes))
    other.write("b", "2026-01-02T00:00:00+0000")
    found = studies(Store(tmp_path))
    assert [len(s.cells) for s in found] == [1, 1]
    assert found[-1].preset == preset
    assert len(studies(Store(tmp_path), "tiny")) == (preset == "tiny")


def some_rows(root: Path, asked: Sequence[tuple[str, int]]) -> list[dict[str, int]]:
    """Ask for KD on tasks with so many rows of train, one after the other; return the rows of each study's tasks."""
    for i, (task, rows) in enumerate(asked):
        made = Made(Store(root))
        made.ask(spec("kd", task, 0, train_rows=rows))
        made.write(str(i), f"2026-01-0{i + 1}T00:00:00+0000")
    return [study.train_rows for study in studies(Store(root))]


def test_some_rows_of_a_large_task_stand_beside_all_rows_of_others(tmp_path: Path) -> None:
    assert some_rows(tmp_path, [("rte", 0), ("sst2", 500), ("qnli", 800)]) == [{"rte": 0, "sst2": 500, "qnli": 800}]
    (study,) = studies(Store(tmp_path))
    assert study.tasks == ["rte", "sst2", "qnli"]
    said = notes.protocol_notes(study, [select_row(study, "kd")])
    assert "Rows of train that are used: at most 500 (SST-2), at most 800 (QNLI)." in said
    part = study.on(["sst2"])
    assert "Rows of train that are used: at most 500." in notes.protocol_notes(part, [select_row(part, "kd")])


@pytest.mark.parametrize("order", list(itertools.permutations([("rte", 0), ("sst2", 0), ("sst2", 500)])))
def test_two_sizes_of_one_task_keep_all_studies_apart(tmp_path: Path, order: Sequence[tuple[str, int]]) -> None:
    """In whatever order they were asked for: else a small trial would stand in the table of the other tasks."""
    last = dict(order)["sst2"] if order[-1][0] == "sst2" else 0
    expected = [{"rte": 0, "sst2": 0}, {"sst2": 500}]
    assert some_rows(tmp_path, order) == (expected if last else expected[::-1])


def test_one_folder_of_data_under_two_paths_is_one_study(tmp_path: Path) -> None:
    for i, folder in enumerate(("/a", "/b")):
        made = Made(Store(tmp_path), study={**STUDY, "glue_dir": folder})
        made.ask(spec("kd", "rte", i))
        made.write(str(i), f"2026-01-0{i + 1}T00:00:00+0000")
    assert len(studies(Store(tmp_path))) == 1


def test_tasks_of_ones_own_are_in_one_study_with_glue_from_anywhere(tmp_path: Path) -> None:
    """The source tells where GLUE comes from; what reads no GLUE goes with either, in any order of the commands."""
    mine, glue = {"source": "files", "path": None}, {"source": "hub", "path": None}
    asked = (("hub", "trec", mine), ("glue-dir", "banking77", mine), ("glue-dir", "rte", glue), ("hub", "snli", mine),
             ("generated", "mrpc", glue))  # fmt: skip
    for i, (source, task, data) in enumerate(asked):
        made = Made(Store(tmp_path), study={**STUDY, "source": source, "glue_dir": "/glue" if "-" in source else ""})
        run = made.ask(spec("kd", task, i, data=DataRef(**data, fingerprint="a")))
        if data is mine:
            made.runs[run] = spec("kd", task, i, data=DataRef(**data, fingerprint="a"))
        made.write(str(i), f"2026-01-0{i + 1}T00:00:00+0000")
    found = {tuple(study.tasks): study for study in studies(Store(tmp_path))}
    assert len(found) == 2
    whole = max(found.values(), key=lambda study: len(study.tasks))
    assert set(whole.tasks) == {"trec", "banking77", "rte", "snli"}
    assert (whole.study["source"], whole.study["glue_dir"], whole.sources) == ("glue-dir", "/glue", {"glue-dir"})


def test_a_failed_teacher_holds_back_its_students_only(tmp_path: Path) -> None:
    store, runs = states(tmp_path)
    (study,) = studies(store)
    blocked = {run_id for run_id, run in study.runs.items() if study.blocker(run)}
    assert blocked == {runs["blocked"]}
    blocker = study.blocker(study.runs[runs["blocked"]])
    assert blocker is not None
    assert blocker.id == runs["failed"]


def test_a_run_that_says_done_without_a_result_is_waiting(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    run = made.done(made.ask(spec("kd", "rte", 0)), 0.5)
    (made.store.run(run).path / "result.json").unlink()
    assert studies(made.write())[0].runs[run].state.status == "pending"


@pytest.mark.parametrize("text", ["{}", '{"best": {', "[]", '{"best": {"step": 1}, "last": 2}'])
def test_a_damaged_result_is_a_run_to_be_trained_again(tmp_path: Path, text: str) -> None:
    made = Made(Store(tmp_path))
    run, other = (made.done(made.ask(spec(name, "rte", 0)), 0.5) for name in ("kd", "dml"))
    (made.store.run(run).path / "result.json").write_text(text)
    (study,) = studies(made.write())
    assert (study.runs[run].result, study.runs[run].state.status) == (None, "pending")
    assert not made.store.run(run).is_done()
    assert made.store.run(other).is_done()
    assert missing_runs.unfinished_notes(study, [select_row(study, "kd")]) == [
        "Not finished: KD: RTE 1 of 1 run (1 damaged, to be trained again)."
    ]


@pytest.mark.parametrize("name", ["table1", "table7", "cost"])
def test_a_task_without_a_plugin_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("lgtm", "rte", 0, options={"teacher_ce": 0.6})), 0.5)
    made.ask(spec("lgtm", "foo", 0))
    (study,) = studies(made.write())
    assert (study.tasks, study.gone) == (["rte"], ["foo"])
    (found,) = TABLES.get(name)().sheets([study])
    assert any(note.startswith("Left out") and note.endswith("load: foo.") for note in found.notes)


@pytest.mark.parametrize("place", ["preset", "row", "cell"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Names of rows and presets become names of files."""
    made = Made(Store(tmp_path), preset="../up" if place == "preset" else "tiny")
    made.ask(spec("kd", "rte", 0))
    (file,) = made.write().sweeps_folder.glob("*.json")
    raw = json.loads(file.read_text(encoding="utf-8"))
    if place == "row":
        raw["rows"]["../up"] = raw["rows"]["kd"]
    if place == "cell":
        raw["cells"][0]["row"] = "../up"
    file.write_text(json.dumps(raw), encoding="utf-8")
    assert studies(Store(tmp_path)) == []
    assert f"Left out: {file} is damaged ({'rows.../up' if place == 'row' else ''}" in caplog.text


def test_a_damaged_sweep_costs_that_sweep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "rte", 0)), 0.5)
    store = made.write()
    store.add_sweep("odd", {"created": "2026", "cells": [{"row": 1}]})
    (study,) = studies(store)
    assert study.rows == ["kd"]
    assert f"Left out: {store.sweeps_folder / 'odd.json'} is damaged (command: Field required)" in caplog.text


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (sorted(methods_of_group("all")), ["--for table1", f"{RELEASED} sst2 --seeds 0", f"{RELEASED} qnli --seeds 0"]),
        # `--for table1` would train methods that nobody asked for
        (["dml", "kd"], [f"{RELEASED} sst2 --seeds 0", "--methods dml,lgtm_released --tasks qnli --seeds 0"]),
    ],
)  # fmt: skip
def test_the_commands_for_what_is_missing_train_no_more(rows: list[str], expected: list[str], tmp_path: Path) -> None:
    """`--for table1` trains no variants; and a task on which nothing is missing is in no command."""
    made = Made(Store(tmp_path))
    for row in rows:
        for task in ("rte", "sst2") if row == "dml" else ("rte", "sst2", "qnli"):
            made.done(made.ask(spec(row, task, 0)), 0.5)
    made.done(made.ask(spec("lgtm", "rte", 0), row="lgtm_released"), 0.5)
    (study,) = studies(made.write())
    lines = [select_row(study, row) for row in (*rows, "lgtm_released")]
    found = missing_runs.missing_runs_commands(TABLES.get("table1")(), study, lines)
    heads = [str(command).partition(" --preset")[0] for command in found]
    assert heads == [f"To train what is missing: kdbench run {words}" for words in expected]
    assert "--tasks qnli " in str(found[0]) or "--methods" in heads[0]


def test_studies_of_changed_data_say_which_data_they_have(tmp_path: Path) -> None:
    """A file that was shortened: the tables look alike otherwise."""
    for i, content in enumerate(("0123456789", "abcdefghij", "0123456789")):
        made = Made(Store(tmp_path))
        for task, rows in (("rte", content), ("mrpc", "the same")):
            made.done(made.ask(spec("kd", task, i, data=DataRef(source="hub", path=None, fingerprint=rows))), 0.5)
        made.write(str(i), f"2026-01-0{i + 1}T00:00:00+0000")
    old, new = sorted(studies(Store(tmp_path)), key=lambda study: study.data["rte"])
    assert old.pairing == "t-net teaches s-net, data of RTE 012345"
    assert new.pairing == "t-net teaches s-net, data of RTE abcdef"
    titles = [sheet.title for sheet in TABLES.get("table1")().sheets([old, new])]
    assert titles == [f"Table 1, preset bert-6l: {study.pairing}" for study in (old, new)]
