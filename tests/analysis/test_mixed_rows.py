"""Rows of one table whose runs were not asked for together: other seeds, parts of a folder."""

from __future__ import annotations

import csv
import datetime
import io
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.analysis.table1 import Table1
from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.formatting import seed_list
from kdbench.core.spec import DataRef, ModelRef
from kdbench.reporting.compare_rows import show_comparison
from kdbench.reporting.data_frames import results_frame
from kdbench.reporting.show_figure import FigureChoice, file_suffixes, find_figures
from kdbench.reporting.study_choice import EVERYTHING
from kdbench.reporting.tables import TABLES, Detail, TableData
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.submission_records import ServerAnswer
from tests.analysis.made import ENVIRONMENT, Made, spec, teacher, texts
from tests.analysis.test_table1 import sheet
from tests.commands.test_compare import predict


def mixed(root: Path, seeds: dict[str, range]) -> TableData:
    made = Made(Store(root))
    for method, own in seeds.items():
        for seed in own:
            made.done(made.ask(spec(method, "rte", seed)), 0.6 + seed / 100)
    return sheet(made.write())


def test_means_over_other_seeds_are_told_apart(tmp_path: Path) -> None:
    """The spread says how many seeds there are, not that they are others."""
    found = mixed(tmp_path / "two", {"kd": range(3), "dml": range(3, 6)})
    assert texts(found) == {"KD": ["61.0±1.0", "61.0"], "DML": ["64.0±1.0", "64.0"]}
    (note,) = [note for note in found.notes if "seeds:" in note]
    assert note == "Rows differ in seeds: KD 0-2, DML 3-5."
    assert not isinstance(note, Detail)
    many = mixed(tmp_path / "many", {"finetune": range(3), "kd": range(3), "pkd": range(3), "dml": range(2)})
    assert "Rows differ in seeds: 0-2, but 0-1 for DML." in many.notes


def test_the_seeds_of_the_teacher_are_told_apart_too(tmp_path: Path) -> None:
    """DML needs no trained teacher, so its third seed has none."""
    made = Made(Store(tmp_path))
    for seed in range(3):
        needs = {"teacher": made.done(made.need(teacher("rte", seed)), 0.9)} if seed < 2 else {}
        for method in ("kd", "dml") if needs else ("dml",):
            made.done(made.ask(spec(method, "rte", seed, needs=needs if method == "kd" else {})), 0.6)
    assert "Rows differ in seeds: Teacher 0-1, KD 0-1, DML 0-2." in sheet(made.write()).notes


def test_reported_splits_are_named_by_task_where_they_differ(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for task in ("rte", "sst2", "trec"):
        made.done(made.ask(spec("kd", task, 0, train_rows=50 * (task == "sst2"))), 0.6)
    notes = sheet(made.write()).notes
    assert notes[0] == "Development sets (RTE, SST-2), test sets (TREC), in per cent; one seed a number."
    assert [note for note in notes if "train" in note and "held out" not in note] == [
        "Rows of train that are used: at most 50 (SST-2)."
    ]


def test_a_table_of_the_servers_scores_says_how_many_rows_of_train_were_used(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for task, rows in (("rte", 0), ("sst2", 50)):
        made.done(made.ask(spec("kd", task, 0, train_rows=rows)), 0.6)
    (study,) = studies(made.write())
    answers = {
        run.id: ServerAnswer(datetime.date(2026, 1, 31), {"test": {"accuracy": 0.7}}) for run in study.runs.values()
    }
    found = Table1().tested(study, answers)
    assert found is not None
    assert "Rows of train that are used: at most 50 (SST-2)." in found.notes


def test_csv_tells_studies_of_one_folder_apart(tmp_path: Path) -> None:
    """They differ in the rows of train alone; means over the lines of a file mixed both."""
    made = Made(Store(tmp_path))
    for method in ("kd", "dml"):
        for rows, skill in ((0, 0.9), (50, 0.3)):
            predict(made, made.ask(spec(method, "rte", 0, train_rows=rows)), skill, 0)
    store, out = made.write(), io.StringIO()
    for name in ("cost", "calibration"):
        sheets = TABLES.get(name)().sheets(studies(store))
        assert [{record["train_rows"] for record in one.records} for one in sheets] == [{0}, {50}]
    show_comparison(("kd", "dml"), store, EVERYTHING, "csv", Console(file=out, width=1000))
    assert [line["train_rows"] for line in csv.DictReader(io.StringIO(out.getvalue()))] == ["0", "50"]
    figures = find_figures("scores", store, FigureChoice())
    assert file_suffixes([one.about for one in figures]) == ["-", "-at-most-50"]
    assert [{record["train_rows"] for record in one.records} for one in figures] == [{""}, {"at most 50"}]


def test_equal_seeds_need_no_word(tmp_path: Path) -> None:
    found = mixed(tmp_path, {"kd": range(3), "dml": range(3)})
    assert not any("differ in seeds" in note for note in found.notes)


@pytest.mark.parametrize(("seeds", "text"), [([0], "0"), ([2, 0, 1, 5], "0-2,5"), ([3, 7, 8], "3,7-8"), ([], "")])
def test_seeds_are_listed_as_the_command_line_takes_them(seeds: list[int], text: str) -> None:
    assert seed_list(seeds) == text


def test_students_of_other_assistants_are_another_grid_point(tmp_path: Path) -> None:
    """The folder that an option names has other weights since: no mean is over students of both."""
    made = Made(Store(tmp_path))
    for content, seeds, score in (("a", (0, 1), 0.6), ("b", (2, 3, 4), 0.8)):
        network = ModelRef(name="/networks/assistant", fingerprint=f"folder/{content}")
        for seed in seeds:
            assistant = made.done(made.need(spec("kd", "rte", seed, student=network)), 0.7)
            options = {"assistants": network.name}
            made.done(made.ask(spec("takd", "rte", seed, options=options, needs={"assistant": assistant})), score)
    found = sheet(made.write())
    assert texts(found) == {"TAKD": ["80.0±0.0", "80.0"]}
    assert "TAKD: assistant's network=folder/b on RTE." in found.notes


def test_an_average_that_is_not_compared_with_the_best_is_named(tmp_path: Path) -> None:
    """Its row may be compared on every task, with the best of each, and share no seed with the best on average."""
    made = Made(Store(tmp_path))
    skills = {  # KD is second on both tasks and the best on average
        "finetune": (range(4), (1.5, -1.0)), "kd": (range(2), (1.2, 1.2)), "dml": (range(4), (-1.0, 1.5)),
        "lgtm": (range(2, 4), (0.0, 0.0)),
    }  # fmt: skip
    for method, (seeds, by_task) in skills.items():
        for seed in seeds:
            for task, skill in zip(("rte", "mrpc"), by_task, strict=True):
                predict(made, made.ask(spec(method, task, seed)), skill, seed)
    found = sheet(made.write())
    best = [[row[0].text for row in found.rows if row[column].best] for column in (1, 2, 3)]
    assert best == [["DML"], ["Fine-tuning"], ["KD"]]
    (note,) = [note for note in found.notes if note.startswith("Not compared with the best")]
    assert note == "Not compared with the best, for want of predictions or of a common seed: LGTM on average."


def test_a_frame_tells_other_data_and_other_networks_apart(tmp_path: Path) -> None:
    """So that no mean over its groups mixes them, where names are the same."""
    made = Made(Store(tmp_path))
    for content, place, score in (("old", "a/net", 0.5), ("new", "b/net", 0.9)):
        data = DataRef(source="files", path=None, fingerprint=content)
        network = ModelRef(name=f"/{place}", fingerprint=f"folder/{content}000000")
        made.done(made.ask(spec("kd", "rte", 0, data=data, student=network)), score)
    frame = results_frame(made.write())
    found = frame.groupby(["row", "task", "data", "student"])["validation accuracy"].mean().to_dict()
    assert found == {
        ("kd", "rte", "old", "net (old000)"): 50.0,
        ("kd", "rte", "new", "net (new000)"): 90.0,
    }  # fmt: skip


@pytest.mark.parametrize("names", [("taught", "own"), ("own", "taught")])
def test_a_frame_has_the_row_of_a_run_that_teaches_in_a_later_study(tmp_path: Path, names: tuple[str, str]) -> None:
    """Whichever was asked for last, the teacher's run is a row of the study whose student it is."""
    for day, name in enumerate(names, start=1):
        made = Made(Store(tmp_path))
        trained = made.done(made.need(teacher("rte", 0)), 0.8)
        if name == "taught":
            made.done(made.ask(spec("kd", "rte", 0, needs={"teacher": trained})), 0.7)
        else:
            made.preset = "base"
            made.ask(teacher("rte", 0))
        made.write(name, f"2026-01-0{day}T00:00:00+0000")
    frame = results_frame(Store(tmp_path)).set_index("row")
    assert frame["preset"].to_dict() == {"finetune": "base", "kd": "bert-6l"}


def test_a_collected_readme_names_the_machines_of_earlier_steps(tmp_path: Path) -> None:
    made = Made(Store(tmp_path / "results"))
    run = made.done(made.ask(spec("kd", "rte", 0)), 0.5)
    file = made.store.run(run).path / "environment.json"
    write_json(file, ENVIRONMENT | {"kdbench": "2", "earlier": [ENVIRONMENT | {"kdbench": "1"}]})
    collect_study("kept", [made.write()], tmp_path / "kept", None)
    text = (tmp_path / "kept" / "README.md").read_text()
    assert [line.partition("; ")[2] for line in text.splitlines() if "of the runs: cpu, one" in line] == [
        "kdbench 1, python 3", "kdbench 2, python 3",
    ]  # fmt: skip


def test_missing_runs_get_the_seeds_of_their_task(tmp_path: Path) -> None:
    """RTE has three seeds and SST-2 two: what is missing on SST-2 is of two."""
    made = Made(Store(tmp_path))
    for task, seeds in (("rte", 3), ("sst2", 2)):
        for seed in range(seeds):
            made.done(made.ask(spec("kd", task, seed)), 0.6)
            lacking = made.ask(spec("dml", task, seed))
            if seed:
                made.done(lacking, 0.6)
    commands = [note.split() for note in sheet(made.write()).notes if note.startswith("To train what is missing")]
    found = {words[words.index("--tasks") + 1]: words[words.index("--seeds") + 1] for words in commands}
    assert found == {"rte": "0,1,2", "sst2": "0,1"}


def test_a_frame_tells_a_folder_with_a_built_in_name_from_that_network(tmp_path: Path) -> None:
    """As tables do, also where the other network has no run in this folder: frames of folders may be joined."""
    made = Made(Store(tmp_path))
    network = ModelRef(name="/mine/tiny-2x64", fingerprint="folder/abcdef123")
    made.done(made.ask(spec("kd", "rte", 0, student=network)), 0.5)
    assert list(results_frame(made.write())["student"]) == ["tiny-2x64 (abcdef)"]


def test_teachers_that_were_trained_again_with_other_scores_are_named(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for seed in range(2):
        trained = made.done(made.need(teacher("rte", seed)), 0.8)
        made.done(made.ask(spec("kd", "rte", seed, needs={"teacher": trained})), 0.7)
    assert not any("Trained more than once" in note for note in sheet(made.write()).notes)
    file = made.store.run(trained).path / "result.json"
    write_json(file, read_json(file) | {"had_other_scores": True})
    assert (
        "Trained more than once, with different results: 1 run of Teacher on RTE. One result is shown, and fidelity "
        "compares with that one; students may have learned from another."
    ) in sheet(made.store).notes
