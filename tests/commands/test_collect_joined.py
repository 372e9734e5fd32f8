"""`kdbench collect` of several folders that keep parts of the same sweeps."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.errors import UserError
from kdbench.results.archive import format
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import Made, spec, teacher
from tests.commands.conftest import Call, contents
from tests.commands.test_commands import call_here
from tests.commands.test_compare import predict

KEPT = Path(__file__).resolve().parents[2] / "results"


def part(root: Path, method: str, created: str = "2026-01-01T00:00:00+0000", **sweep: object) -> Store:
    """The part of sweep `one` that has a method's cells."""
    made = Made(Store(root))
    made.done(made.ask(spec(method, "rte", 0)), 0.7)
    store, file = made.write("one", created), root / "sweeps" / "one.json"
    write_json(file, read_json(file) | sweep)
    return store


def test_parts_of_one_sweep_are_united(tmp_path: Path) -> None:
    """In any order of the folders, and the command is the one that was given last."""
    remarks = {"data_remarks": {"rte": ["a remark"]}}
    stores = [part(tmp_path / "kd", "kd", **remarks), part(tmp_path / "dml", "dml", "2026-01-03T00:00:00+0000"),
              part(tmp_path / "lgtm", "lgtm", command=["kdbench", "again"])]  # fmt: skip
    written = set()
    for order in permutations(stores):
        collect_study("all", order, tmp_path / "all", None)
        written.add((tmp_path / "all" / format.SWEEPS).read_text())
    assert len(written) == 1
    (study,) = studies(Store(tmp_path / "all", create=False))
    assert study.rows == ["kd", "dml", "lgtm"]
    assert study.data_remarks == {"rte": ("a remark",)}
    (sweep,) = read_json(tmp_path / "all" / format.SWEEPS)
    assert sweep["created"] == "2026-01-03T00:00:00+0000"
    assert sweep["command"][1] == "run"


def test_of_a_run_the_copy_that_kept_most_is_collected(tmp_path: Path) -> None:
    """Whatever the order of the folders."""
    made = Made(Store(tmp_path / "raw"))
    predict(made, made.ask(spec("kd", "rte", 0)), 0.5, 0)
    whole = made.write()
    bare = collect_study("bare", [whole], tmp_path / "bare", None, ["rte"])
    for order in ([whole, bare], [bare, whole]):
        joined = collect_study("joined", order, tmp_path / "joined", None)
        assert (joined.root / "logits.safetensors.xz").exists()


def test_a_sweep_of_two_studies_is_refused(tmp_path: Path) -> None:
    stores = [part(tmp_path / "kd", "kd"), part(tmp_path / "dml", "dml", models={"student": "fp/s", "teacher": "x"})]
    with pytest.raises(UserError, match="Sweep one has another preset, other models or other data in one of the fol"):
        collect_study("all", stores, tmp_path / "all", None)
    assert not (tmp_path / "all").exists()


def test_kept_studies_with_sweeps_in_common_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every run is collected, counted, and in the tables."""
    monkeypatch.chdir(tmp_path)
    kept = ("minilm-study", "minilm-zero-heads")
    folders = [f"--results={KEPT / name}" for name in kept]
    known = [one["id"] for name in kept for one in map(json.loads, (KEPT / name / format.RUNS).open())]
    lines = []
    for name, order in (("a", folders), ("b", folders[::-1])):
        assert call_here(["collect", "joined", *order, "--out", name], monkeypatch) == 0
        lines.append((tmp_path / name / format.RUNS).read_text().splitlines())
        assert f"{len(lines[-1])} runs ({len(lines[-1])} done)" in capsys.readouterr().out
    assert sorted(json.loads(line)["id"] for line in lines[0]) == sorted(set(known))
    assert lines[0] == lines[1]
    assert (tmp_path / "a" / format.SWEEPS).read_bytes() == (tmp_path / "b" / format.SWEEPS).read_bytes()
    (study,) = studies(Store(tmp_path / "a", create=False))
    assert {"kd", "finetune", "lgtm", "prokt"} <= set(study.rows)


def test_only_the_tasks_that_are_named_are_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the teachers that their runs need and the rows that they have; the tasks joined again are the whole."""
    monkeypatch.chdir(tmp_path)
    made = Made(Store(tmp_path / "runs"))
    for task, methods in (("rte", ["kd", "dml"]), ("mnli", ["kd"])):
        trained = made.done(made.need(teacher(task, 0)), 0.9)
        for method in methods:
            made.done(made.ask(spec(method, task, 0, needs={"teacher": trained})), 0.7)
    file = made.write("one").sweeps_folder / "one.json"
    write_json(file, read_json(file) | {"data_remarks": {task: [f"a remark on {task}"] for task in ("rte", "mnli")}})

    whole = collect_study("whole", [Store(tmp_path / "runs")], tmp_path / "whole", None)
    for name in ("rte", "mnli"):
        assert call_here(["collect", name, "--results=runs", "--tasks", f" {name},"], monkeypatch) == 0
    for name, rows in (("rte", ["kd", "dml"]), ("mnli", ["kd"])):
        (study,) = studies(Store(tmp_path / "results" / name, create=False))
        assert (study.tasks, study.rows) == ([name], rows)
        assert study.data_remarks == {name: (f"a remark on {name}",)}
        assert [cell.run.spec.task for cell in study.teachers] == [name]
    joined = [f"--results=results/{name}" for name in ("rte", "mnli")]
    assert call_here(["collect", "joined", *joined], monkeypatch) == 0
    assert (tmp_path / "results/joined" / format.RUNS).read_text() == (whole.root / format.RUNS).read_text()
    assert read_json(tmp_path / "results/joined" / format.SWEEPS) == read_json(whole.root / format.SWEEPS)

    assert call_here(["collect", "group", "--results=runs", "--tasks", "glue"], monkeypatch) == 0
    assert (tmp_path / "results/group" / format.RUNS).read_text() == (whole.root / format.RUNS).read_text()
    capsys.readouterr()
    assert call_here(["collect", "x", "--results=runs", "--tasks", "cola"], monkeypatch) == 2
    assert "Unknown task 'cola'. Valid: all, glue, mnli, rte." in capsys.readouterr().err


def test_tables_of_a_collected_part_say_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the rest is joined, also where that comes from another sweep; a part of a part has left out both."""
    monkeypatch.chdir(tmp_path)
    made, more = Made(Store(tmp_path / "runs")), Made(Store(tmp_path / "more"))
    for task, methods in (("rte", ["kd", "dml", "lgtm"]), ("mnli", ["kd", "lgtm"])):
        for method in methods:
            made.done(made.ask(spec(method, task, 0)), 0.7)
    made.write("one")
    for task in ("rte", "mnli"):
        more.done(more.ask(spec("dml", task, 0)), 0.6)
    more.write("two", created="2026-01-02T00:00:00+0000")

    def note_of(folder: str) -> list[str]:
        assert call_here(["table", "scores", "--results", folder, "--format", "json"], monkeypatch) == 0
        (table,) = json.loads(capsys.readouterr().out)
        return [note for note in table["notes"] if "collected" in note or "Not asked for" in note]

    def collect(name: str, *args: str) -> str:
        assert call_here(["collect", name, *args], monkeypatch) == 0
        capsys.readouterr()
        return f"results/{name}"

    after = "Marks, averages and ranks are of what is here."
    rows = collect("rows", "--results=runs", "--methods", "kd,lgtm")
    assert note_of(rows) == [f"Left out when these results were collected: 1 row (DML). {after}"]
    assert "| left out | 1 row (DML) |" in Path(rows, "README.md").read_text()
    both = collect("both", f"--results={rows}", "--tasks", "rte")
    assert note_of(both) == [f"Left out when these results were collected: 1 row (DML); 1 task (MNLI). {after}"]
    assert note_of(collect("joined", f"--results={rows}", "--results=more")) == []
    assert note_of(collect("whole", "--results=runs")) == ["Not asked for: DML on MNLI."]
    # of two parts a cell is missing, which no row and no task shows
    one = collect("one", "--results=runs", "--methods", "kd", "--tasks", "rte,mnli")
    two = collect("two", "--results=runs", "--methods", "lgtm", "--tasks", "rte")
    assert note_of(collect("parts", f"--results={one}", f"--results={two}")) == [
        f"Left out when these results were collected: 1 row (DML); 1 cell (LGTM on MNLI). {after}"
    ]


def halves(tmp_path: Path) -> tuple[Made, Made]:
    """Two machines that share a teacher, each with a method of its own; one of them asked for both."""
    one, other = Made(Store(tmp_path / "one")), Made(Store(tmp_path / "other"))
    for made, name in ((one, "kd"), (other, "dml")):
        parent = predict(made, made.need(teacher("rte", 0)), 0.6, 5)
        predict(made, made.ask(spec(name, "rte", 0, needs={"teacher": parent})), 0.5, 6)
    one.ask(spec("dml", "rte", 0, needs={"teacher": next(iter(one.runs))}))
    one.write("a", "2026-01-01T00:00:00+0000")
    other.write("b", "2026-01-02T00:00:00+0000")
    return one, other


def test_several_folders_are_joined(tmp_path: Path, say: Call) -> None:
    halves(tmp_path)
    text = say(tmp_path, "collect", "both", "--results", "one", "--results", "other")
    assert text.startswith("Wrote results/both: 3 runs (3 done); ")
    table = say(tmp_path, "table", "1", "--results", "results/both")
    assert "DML" in table
    assert "KD" in table
    assert "Not finished" not in table
    say(tmp_path, "collect", "both", "--results", "other", "--results", "one", "--out", "swapped")
    assert contents(tmp_path / "swapped") == contents(tmp_path / "results" / "both")


@pytest.mark.parametrize("where", ["result", "answers"])
def test_different_results_of_a_run_are_a_conflict(tmp_path: Path, where: str, say: Call) -> None:
    _, other = halves(tmp_path)
    run = next(iter(other.runs))
    folder = other.store.run(run)
    if where == "result":
        result = folder.result()
        result["best"]["report"]["validation"]["accuracy"] += 1e-9
        write_json(folder.path / "result.json", result)
    else:
        tensors = load_file(folder.predictions)
        tensors["best/validation/logits"][0] = np.roll(tensors["best/validation/logits"][0], 1)
        save_file(tensors, folder.predictions)
    text = say(tmp_path, "collect", "both", "--results", "one", "--results", "other", code=2)
    assert text.startswith(f"kdbench: {run} has other results in o")
    assert " one" in text
    assert " other" in text
    assert text.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_of_different_results_the_first_folders_are_kept_where_asked_for(tmp_path: Path, say: Call) -> None:
    """A teacher that two people trained: each keeps the students, and tables say so."""
    for name, method, score in (("one", "kd", 0.9), ("other", "dml", 0.8)):
        made = Made(Store(tmp_path / name))
        parent = made.need(teacher("rte", 0))
        made.done(parent, score)
        made.done(made.ask(spec(method, "rte", 0, needs={"teacher": parent})), score - 0.1)
        made.write(name, f"2026-01-0{len(name)}T00:00:00+0000")
    assert "give --prefer-first" in say(tmp_path, "collect", "both", "--results", "one", "--results", "other", code=2)
    for first, second, shown in (("one", "other", "90.0"), ("other", "one", "80.0")):
        order = ("--results", first, "--results", second)
        say(tmp_path, "collect", "both", *order, "--prefer-first", "--out", f"{first}-first")
        table = say(tmp_path, "table", "1", "--results", f"{first}-first")
        assert [line.split()[-1] for line in table.splitlines() if line.startswith("Teacher")] == [shown]
        told = "Trained more than once, with different results: 1 run of Teacher on RTE. One result is shown, and"
        assert told in " ".join(table.split())
    # what was said stays said when the collection is collected again
    say(tmp_path, "collect", "again", "--results", "one-first", "--out", "again")
    assert "1 run of Teacher on RTE." in say(tmp_path, "table", "1", "--results", "again")
    alone = say(tmp_path, "table", "1", "--results", "one")
    assert "Trained more than once" not in alone
