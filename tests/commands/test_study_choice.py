"""What `--tasks`, `--methods` and `--student` choose of a results folder: as if it held nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.cli.app import app
from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.errors import UserError
from kdbench.core.spec import Cell
from kdbench.reporting.measure_rows import rows_to_measure
from kdbench.reporting.show_figure import FigureChoice, find_figures
from kdbench.reporting.show_table import find_tables
from kdbench.reporting.study_choice import EVERYTHING, StudyChoice, choose_studies, one_name
from kdbench.results.store import Store
from kdbench.results.submission_zip import find_server
from kdbench.training import server_predictions
from tests.analysis import exact_results
from tests.analysis.made import STUDY, Made, full, spec
from tests.analysis.test_figure_files import draw
from tests.commands.test_commands import call_here
from tests.commands.test_compare import study as compared

PART = StudyChoice(tasks="RTE,mrpc", methods="kd,Fine-tuning,lgtm")


def in_part(cell: Cell) -> bool:
    return cell.task in ("rte", "mrpc") and cell.row in ("kd", "finetune", "lgtm")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """A study, and a folder whose sweep asked for a part of it alone."""
    path = tmp_path_factory.mktemp("part")
    made = compared(path / "all")
    shutil.copytree(path / "all", path / "part")
    part = replace(made, store=Store(path / "part"), cells=[cell for cell in made.cells if in_part(cell)])
    return made.store, part.write()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """KD for three students of one teacher."""
    store = Store(tmp_path_factory.mktemp("students"))
    for number in range(3):
        made = Made(store, study={**STUDY, "student": f"net:{number}"})
        for seed in (0, 1):
            wanted = spec("kd", "rte", seed, options={"which": number})
            made.done(made.ask(wanted), 0.7 + number / 10 + seed / 100)
        made.write(f"{number}", f"2026-01-0{number + 1}T00:00:00+0000")
        for file in store.sweeps_folder.glob(f"{number}*.json"):
            write_json(file, {**(sweep := read_json(file)), "models": {**sweep["models"], "student": f"fp/{number}"}})
    return store


@pytest.mark.parametrize("name", ["1", "scores", "cost", "fidelity", "calibration"])
def test_a_part_is_shown_as_a_folder_that_holds_nothing_else(name: str, stores: tuple[Store, Store]) -> None:
    """Holm's correction, the best of a column, averages and notes are those of the part."""
    (table, *_), _ = find_tables(name, stores[0], PART)
    (alone, *_), _ = find_tables(name, stores[1], EVERYTHING)
    assert table.rows == alone.rows
    assert table.records == alone.records
    note, *rest = table.notes
    assert rest == [text.replace(str(stores[1].root), str(stores[0].root)) for text in alone.notes]
    assert note == (
        "Selected from the results folder: 3 of 4 rows (--methods kd,Fine-tuning,lgtm, without DML); "
        "2 of 3 tasks (--tasks RTE,mrpc, without MNLI)."
    )


@pytest.mark.parametrize("name", ["scores", "ranks"])
def test_a_figure_of_a_part_has_its_points_and_says_so(name: str, stores: tuple[Store, Store]) -> None:
    (picture,) = find_figures(name, stores[0], FigureChoice(**vars(PART)))
    (alone,) = find_figures(name, stores[1], FigureChoice())
    assert list(picture.records) == list(alone.records)
    assert picture.notes[0].startswith("Selected from the results folder: 3 of 4 rows")
    assert list(picture.notes[1:]) == list(alone.notes)


def test_nothing_is_said_where_nothing_is_left_out(stores: tuple[Store, Store]) -> None:
    everything = StudyChoice(tasks="all", methods="everything", student="s-net")
    assert choose_studies(stores[0], everything).note == ""
    (table,), _ = find_tables("1", stores[0], everything)
    (usual,), _ = find_tables("1", stores[0], EVERYTHING)
    assert (table.rows, table.notes) == (usual.rows, usual.notes)


def test_the_teacher_stays_also_where_no_chosen_row_needs_it(stores: tuple[Store, Store]) -> None:
    (table,), _ = find_tables("1", stores[0], StudyChoice(methods="dml"))
    assert table.row_keys == ["teacher", "dml"]
    (usual,), _ = find_tables("1", stores[0], EVERYTHING)
    assert table.rows[0] == usual.rows[0]


def test_one_of_three_students(three: Store) -> None:
    assert len(find_tables("1", three, EVERYTHING)[0]) == 3
    (table,), _ = find_tables("1", three, StudyChoice(student="net:1"))
    assert table.rows[-1][0].text == "KD"
    assert table.rows[-1][1].values == ("80.5",)
    assert table.notes[0] == (
        "Selected from the results folder: 1 of 3 students (--student net:1, without net:0, net:2)."
    )


def test_a_student_is_chosen_by_its_folder_from_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, student = Store(tmp_path / "results"), tmp_path / "nets" / "own"
    for folder in (student, tmp_path / "work"):
        folder.mkdir(parents=True)
    for name in (str(student), "tiny-2x64"):
        made = Made(store, study={**STUDY, "student": name})
        made.done(made.ask(spec("kd", "rte", 0, options={"which": name})), 0.7)
        made.write(Path(name).name, "2026-01-01T00:00:00+0000")
        for file in store.sweeps_folder.glob(f"{Path(name).name}*.json"):
            write_json(file, {**(sweep := read_json(file)), "models": {**sweep["models"], "student": f"fp/{name}"}})
    monkeypatch.chdir(tmp_path / "work")
    (study,) = choose_studies(store, StudyChoice(student="../nets/own")).studies
    assert study.study["student"] == str(student)


def test_only_runs_of_the_part_are_in_the_report(
    stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["report", "--results", str(stores[0].root), "--tasks", "rte", "--methods", "dml"]
    assert call_here(words, monkeypatch) == 0
    page = (tmp_path / "report.html").read_text()
    assert "1 of 4 rows (--methods dml, without Fine-tuning, KD, LGTM)" in page
    assert "rte-dml-s0" in page
    assert "rte-finetune-s0" in page  # the teacher
    assert "rte-kd-s0" not in page
    assert "mrpc-dml-s0" not in page


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"tasks": "sst2"}, r"^Unknown task 'sst2'\..* Valid: all, glue, mnli, mrpc, rte\.$"),
        (
            {"methods": "pkd"},
            r"^Unknown row 'pkd'\. Did you mean 'kd'\? Valid: all, dml, everything, finetune, kd, lgtm, ",
        ),
        ({"methods": "logits"}, "^Unknown row 'logits'"),
        ({"methods": "teacher"}, "names no method; give some of dml, finetune, kd, lgtm"),
        ({"methods": ","}, "^No row is named; give some of teacher, finetune, kd, dml, lgtm"),
        ({"student": "bert"}, r"^Unknown student 'bert'\. Valid: s-net\.$"),
        ({"preset": "bert-6"}, "Unknown preset 'bert-6'. Did you mean 'bert-6l'"),
    ],
)
def test_an_unknown_name_is_answered_with_those_present(
    choice: dict[str, str], sentence: str, stores: tuple[Store, Store]
) -> None:
    with pytest.raises(UserError, match=sentence):
        choose_studies(stores[0], StudyChoice(**choice))


def test_rows_and_tasks_without_a_run_in_common(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for row, task in (("kd", "rte"), ("dml", "mrpc")):
        made.done(made.ask(spec(row, task, 0)), 0.7)
    with pytest.raises(UserError, match="is of --methods kd on --tasks mrpc"):
        choose_studies(made.write(), StudyChoice(methods="kd", tasks="mrpc"))


def test_tables_and_figures_of_some_methods_say_what_is_left_out(
    stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"^No run that was selected belongs to Table 6\. Selected from .*--methods kd"):
        find_tables("6", stores[0], StudyChoice(methods="kd"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^Figure 2 shows lgtm, meta_distill, and --methods leaves out meta_distill"):
        draw("2", stores[0], methods="lgtm")


def test_commands_for_what_a_part_lacks_train_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(Store(tmp_path / "results"))
    for row in ("kd", "dml"):
        made.done(made.ask(spec(row, "rte", 0)), 0.7)
    made.ask(spec("kd", "rte", 1))
    made.ask(spec("dml", "rte", 1))
    (table,), _ = find_tables("1", made.write(), StudyChoice(methods="kd"))
    (command,) = [note for note in table.notes if note.startswith("To train what is missing")]
    assert "kdbench run --methods kd --tasks rte" in command
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run: kdbench run --methods kd --tasks mrpc "):
        draw("scores", made.store, methods="kd", tasks="mrpc")


def listed(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    """Return the runs that `list runs` prints, and its last line."""
    assert call_here(["list", "runs", *words.split()], monkeypatch) == 0
    _, *lines, last = capsys.readouterr().out.strip().splitlines()
    return [line.split()[0] for line in lines if line.strip("─ ")], last


def test_lists_and_status_are_of_the_chosen_runs(
    three: Store, stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"--results {three.root}"
    runs, last = listed(f"{where} --student net:1", monkeypatch, capsys)
    assert (len(runs), last) == (2, "2 runs of 6")
    assert {run.id for run in choose_studies(three, StudyChoice(student="net:1")).studies[0].runs.values()} == set(runs)
    # of a method its own runs, and not the teachers that they need
    runs, last = listed(f"--results {stores[0].root} --methods kd,DML --tasks RTE", monkeypatch, capsys)
    assert {run.rpartition("-s")[0] for run in runs} == {"rte-kd", "rte-dml"}
    assert call_here(["status", *where.split(), "--student", "net:1"], monkeypatch) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 3 students (--student net:1, without net:0, net:2)" in said
    assert "2 of 2 runs done" in said
    assert said.count("Preset ") == 1


def test_a_collected_part_holds_what_was_chosen(
    three: Store, stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert call_here(["collect", "one", "--results", str(three.root), "--student", "net:1"], monkeypatch) == 0
    assert "1 of 3 students (--student net:1" in " ".join(capsys.readouterr().out.split())
    (study,) = choose_studies(Store(tmp_path / "results" / "one", create=False), EVERYTHING).studies
    assert study.study["student"] == "net:1"
    words = ["collect", "part", "--results", str(stores[0].root), "--methods", "kd,Fine-tuning,lgtm"]
    assert call_here([*words, "--tasks", "RTE,mrpc"], monkeypatch) == 0
    part, whole = Store(tmp_path / "results" / "part", create=False), stores[0]
    (kept,), _ = find_tables("1", part, EVERYTHING)
    (shown,), _ = find_tables("1", whole, PART)
    assert kept.rows == shown.rows
    # a name that only one of several folders has is known; what neither has is refused
    words = ["collect", "both", "--results", str(three.root), "--results", str(stores[0].root)]
    assert call_here([*words, "--student", "net:2"], monkeypatch) == 0
    assert call_here([*words, "--student", "net:3"], monkeypatch) == 2
    assert "Unknown student 'net:3'" in capsys.readouterr().err


WITH_OPTIONS = ("table 1", "figure scores --out s.csv", "report", "compare kd dml", "show kd rte", "status",
                "list runs", "collect some", "glue export kd")  # fmt: skip


def test_a_submission_is_of_the_chosen_student(three: Store) -> None:
    server = find_server("glue")

    def chosen(student: str | None) -> server_predictions.Choice:
        found = choose_studies(three, StudyChoice(student=student)).studies
        return server_predictions.choose_runs(found, server, "kd", None, three.root)

    assert chosen("net:0").study.study["student"] == "net:0"
    assert chosen(None).study.study["student"] == "net:2"  # asked for last


@pytest.mark.parametrize("words", WITH_OPTIONS)
def test_the_options_are_those_of_every_command(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full(tmp_path / "results", seeds=(0,))
    monkeypatch.chdir(tmp_path)
    assert call_here([*words.split(), "--student", "nobody"], monkeypatch) == 2
    assert "Unknown student 'nobody'. Valid: s-net." in capsys.readouterr().err


def test_runs_of_a_method_that_only_others_need_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`finetune` is no row where only teachers were fine-tuned, and `kd` alone lists none of them."""
    exact_results.study(tmp_path, {"kd": {"rte": (70.0, 71.0)}}, {"rte": (80.0, 81.0)})
    for methods, listed in (("finetune", {"finetune"}), ("kd", {"kd"}), ("kd,finetune", {"kd", "finetune"})):
        app(["list", "runs", "--method", methods, "--results", str(tmp_path)], standalone_mode=False)
        said = capsys.readouterr().out
        assert {name for name in ("kd", "finetune") if f"rte-{name}-s" in said} == listed


def test_a_row_and_a_task_are_named_as_tables_name_them(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader of a table has its titles before the eyes, not the names of methods."""

    def printed(*words: str) -> str:
        assert call_here([*words, "--results", str(stores[0].root)], monkeypatch) == 0
        return capsys.readouterr().out

    assert printed("compare", "Fine-tuning", "LGTM") == printed("compare", "finetune", "lgtm")
    assert printed("show", "fine-tuning", "RTE") == printed("show", "finetune", "rte")
    assert rows_to_measure(choose_studies(stores[0], EVERYTHING).studies[-1], "KD,Fine-tuning") == ["finetune", "kd"]


def test_a_title_of_two_rows_names_none() -> None:
    titles = {"kd": "KD", "own_kd": "KD", "dml": "DML"}
    assert one_name("row", "dml", titles) == one_name("row", "Dml", titles) == "dml"
    assert one_name("row", "kd", titles) == "kd"  # a name
    with pytest.raises(UserError, match=r"Unknown row 'KD'. Did you mean 'kd'\? Valid: dml, kd, own_kd"):
        one_name("row", "KD", titles)
