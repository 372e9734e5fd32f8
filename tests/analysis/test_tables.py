"""Tables 2 to 7: which runs stand where, what is missing, and the paper's numbers beside."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kdbench.analysis.calibration import Calibration
from kdbench.analysis.deploy import Deploy
from kdbench.analysis.fidelity import Fidelity
from kdbench.analysis.published import published_tables
from kdbench.core.atomic_files import write_json
from kdbench.core.errors import UserError
from kdbench.reporting.published import add_published
from kdbench.reporting.show_table import show_table
from kdbench.reporting.study_choice import EVERYTHING, StudyChoice
from kdbench.reporting.tables import TABLES, TableData
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import COST, STUDY, Made, spec, teacher, texts
from tests.analysis.typeset import check_latex, tables

USUAL = {"kd_loss": "kl", "teacher_ce": 0.6, "influence": "jvp"}
NOTHING = "No table of RTE: no predictions were kept."


def add(made: Made, row: str, task: str, score: Any, seconds: float = 65.0, **varies: Any) -> str:
    """A finished run of a row in which `varies` is varied on purpose."""
    method = row.partition("_")[0]
    feedback = made.study["feedback"] if method == "lgtm" else None
    options = {**USUAL, "of": row, **{k: v for k, v in varies.items() if k != "feedback"}}
    run = made.ask(spec(method, task, 0, options=options, feedback=feedback), row, varies=varies)
    made.done(run, score)
    write_json(made.store.run(run).path / "cost.json", {**COST, "step_seconds": seconds})
    return run


def sheet(name: str, store: Store) -> TableData:
    (found,) = TABLES.get(name)().sheets(studies(store))
    return found


def note(made: TableData, start: str) -> str:
    (found,) = [text for text in made.notes if text.startswith(start)]
    return found


def shown(number: str, store: Store, form: str, *, paper: bool = False) -> str:
    out = io.StringIO()
    show_table(number, store, EVERYTHING, form, Console(file=out, width=100, highlight=False), published=paper)
    return out.getvalue()


def everything(root: Path) -> Store:
    """Something of every table, on MRPC and MNLI."""
    made = Made(Store(root))
    for task, base in (("mrpc", (0.8, 0.7)), ("mnli", (0.6, 0.5))):
        add(made, "dist", task, base)
        add(made, "kd", task, base)
        add(made, "lgtm", task, base)
        add(made, "lgtm", task, base, kd_loss="dist", influence_loss="kd_loss")
        add(made, "kd", task, base, kd_loss="mse")
        add(made, "lgtm", task, base, kd_loss="mse", influence_loss="kd_loss")
        add(made, "lgtm", task, base, teacher_ce=0.8)
    add(made, "lgtm_no_fda", "mrpc", (0.85, 0.7), 60.0, influence="weighted", weights_via="samples")
    add(made, "lgtm_printed", "mrpc", (0.8, 0.7), 5.0, influence="fda")
    made.write("main")
    made = Made(made.store, study={**STUDY, "feedback": "train:0.05"})
    add(made, "lgtm", "mnli", (0.55, 0.45), feedback="train:0.05")
    made.write("feedback", "2026-01-02T00:00:00+0000")
    made = Made(made.store, preset="bert-4l", study={**STUDY, "student": "small"})
    add(made, "kd", "mrpc", (0.7, 0.6))
    return made.write("small", "2026-01-03T00:00:00+0000")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return everything(tmp_path_factory.mktemp("whole"))


def test_what_other_tables_vary_is_not_in_table_1(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    add(made, "lgtm", "rte", 0.6)
    add(made, "lgtm", "rte", 0.9, kd_loss="dist")
    add(made, "lgtm_printed", "rte", 0.9, influence="jvp")
    assert texts(sheet("table1", made.write())) == {"LGTM": ["60.0", "60.0"]}


def test_a_study_of_varied_runs_alone_has_no_table_1(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    add(made, "lgtm", "rte", 0.9, kd_loss="dist")
    assert TABLES.get("table1")().sheets(studies(made.write())) == []
    with pytest.raises(
        UserError,
        match=r"No run in .* belongs to Table 1; .* run: kdbench run --for table1 --preset bert-6l --tasks rte ",
    ):
        show_table("1", made.store, EVERYTHING, "terminal", Console(file=io.StringIO()))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_run_that_is_asked_for_itself_too_stands_in_both(tmp_path: Path, order: tuple[int, int]) -> None:
    made = Made(Store(tmp_path))
    for day, kind in enumerate(order):
        made.cells = []
        add(made, "lgtm", "rte", 0.6, **({"teacher_ce": 0.6} if kind else {}))
        made.write(str(kind), f"2026-01-0{day + 1}T00:00:00+0000")
    assert texts(sheet("table1", made.store)) == {"LGTM": ["60.0", "60.0"]}
    assert texts(sheet("table7", made.store))["α = 0.6"] == ["60.0"]


def test_table_2_pairs_each_objective_with_lgtm(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    parent = made.done(made.need(teacher("rte", 0)), 0.99)
    made.done(made.ask(spec("dist", "rte", 0, options=USUAL, needs={"teacher": parent})), 0.7)
    add(made, "lgtm", "rte", 0.6)  # the usual objective: not of this table
    add(made, "lgtm", "rte", 0.8, kd_loss="dist", influence_loss="kd_loss")
    add(made, "kd", "rte", 0.75, kd_loss="mse")
    add(made, "lgtm", "rte", 0.65, kd_loss="mse", influence_loss="kd_loss")
    found = sheet("table2", made.write())
    assert [(row[0].text, row[1].text, row[1].best) for row in found.rows] == [
        ("Teacher", "99.0", False), ("DIST", "70.0", False), ("LGTM (w. DIST)", "80.0", True), ("MSE", "75.0", True),
        ("LGTM (w. MSE)", "65.0", False),
    ]  # fmt: skip
    assert found.rules == {1, 3}
    assert found.row_keys[2] == "lgtm kd_loss=dist influence_loss=kd_loss"


def test_table_2_has_the_rows_of_earlier_versions(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    add(made, "lgtm", "rte", 0.65, kd_loss="mse", influence_loss="ce_ts")
    found = texts(sheet("table2", made.write()))
    assert found["LGTM (w. MSE), influence of CE"] == ["65.0", "65.0"]
    assert found["LGTM (w. MSE)"] == ["–", "–"]
    assert "LGTM (w. DIST), influence of CE" not in found


def test_table_2_takes_what_was_set_by_hand(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("lgtm", "rte", 0, options={**USUAL, "kd_loss": "mse", "influence_loss": "kd_loss"})), 0.65)
    assert texts(sheet("table2", made.write()))["LGTM (w. MSE)"] == ["65.0", "65.0"]


def test_table_3_has_the_time_of_a_step(whole: Store) -> None:
    found = sheet("table3", whole)
    assert found.head == ["", "MRPC\nF1/Acc.", "Time\ns/step", "Time\n× w/ FDA"]
    assert texts(found) == {
        "LGTM w/o FDA": ["85.0/70.0", "6", "12.0"],
        "LGTM w/o FDA, one forward pass": ["–", "–", "–"],
        "LGTM w/ FDA": ["80.0/70.0", "0.5", "1.0"],
        "LGTM, exact (forward mode)": ["–", "–", "–"],
    }
    assert note(found, "Measured on") == "Measured on: one, 1 thread."
    assert {record["step_seconds"] for record in found.records} == {60.0, 5.0}
    assert note(found, "Not asked for") == (
        "Not asked for: LGTM w/o FDA, one forward pass on MRPC; LGTM, exact (forward mode) on MRPC."
    )


def test_table_3_does_not_compare_times_of_two_machines(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    add(made, "lgtm_no_fda", "mrpc", 0.8, influence="weighted", weights_via="samples")
    run = add(made, "lgtm_printed", "mrpc", 0.8, influence="fda")
    folder = made.store.run(run)
    write_json(folder.path / "environment.json", {**folder.environment(), "gpu": "A GPU"})
    assert note(sheet("table3", made.write()), "The times cannot be compared") == (
        "The times cannot be compared: they are of different machines (A GPU; one, 1 thread)."
    )


def test_table_3_beside_the_paper(whole: Store) -> None:
    paper = TABLES.get("table3")().published()
    assert paper is not None
    found = add_published(sheet("table3", whole), paper)
    rows = [[entry.text for entry in row] for row in found.rows]
    assert rows[:3] == [
        ["LGTM w/o FDA", "85.0/70.0", "6", "12.0"], ["  published", "90.7/–", "–", "10.6"],
        ["  difference", "-5.7/–", "–", "+1.4"],
    ]  # fmt: skip
    assert "117 and 11 minutes" in note(found, "Published")
    assert "MRPC's validation set" in note(found, "Published")


def test_table_4_is_of_its_preset_and_of_the_papers_methods(whole: Store) -> None:
    text = shown("4", whole, "terminal")
    assert text.startswith("Table 4, preset bert-4l: t-net teaches small")
    assert text.count("Table 4, preset") == 1
    methods = [row.row for row in published_tables()["table4"].rows]
    assert methods[1:] == TABLES.get("table4").requests[0].methods.split(",")


def test_table_5_needs_no_results_and_says_where_presets_depart(tmp_path: Path) -> None:
    text = shown("5", Store(tmp_path / "none", create=False), "terminal")
    assert re.search(r"student learning rate +1e-4, 3e-5, 5e-5 +1e-4, 5e-5, 3e-5 ", text)
    assert "As in the paper: bert-4l, bert-6l." in text
    assert "tiny differs in maximum sequence length" in text


def test_table_6_is_one_sheet_of_several_studies(whole: Store) -> None:
    found = sheet_of_preset("table6", whole, "bert-6l")
    assert texts(found) == {
        "Validation set": ["–", "–", "–"],
        "5 % of train": ["–", "55.0/45.0", "–"],
        "10 % of train": ["80.0/70.0", "60.0/50.0", "65.0"],
    }
    assert note(found, "To train what is missing") == (
        "To train what is missing: kdbench run --for table6 --preset bert-6l --tasks mrpc,mnli --seeds 0 "
        "--set student=s-net --set teacher=t-net --selection train:0.1 --set student_lr=5e-05 --set eval_every=0 "
        f"--set bucket=50 --set last_layer=whole --results {whole.root}"
    )


def sheet_of_preset(name: str, store: Store, preset: str) -> TableData:
    (found,) = TABLES.get(name)().sheets(studies(store, preset))
    return found


def test_table_6_does_not_mix_other_data_or_selections(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    add(made, "lgtm", "rte", 0.6)
    made.write("one")
    made = Made(made.store, study={**STUDY, "feedback": "train:0.05", "selection": "validation"})
    add(made, "lgtm", "rte", 0.7)
    made.write("two", "2026-01-02T00:00:00+0000")
    found = TABLES.get("table6")().sheets(studies(made.store))
    assert [texts(one)["10 % of train"] for one in found] == [["60.0", "60.0"], ["–", "–"]]


def test_table_7_shows_the_tasks_of_the_paper_and_what_can_be_compared(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for task in ("rte", "qnli", "qqp"):
        add(made, "lgtm", task, 0.6)
    add(made, "lgtm", "qqp", 0.7, teacher_ce=1.0)
    found = sheet("table7", made.write())
    assert found.head == ["", "RTE\nAcc.", "QQP\nF1/Acc."]
    assert texts(found)["α = 1.0"] == ["–", "70.0/70.0"]
    assert list(texts(found)) == ["α = 1.0", "α = 0.8", "α = 0.6", "α = 0.4"]


def test_published_ours_and_difference(whole: Store) -> None:
    found = sheet_of_preset("table7", whole, "bert-6l")
    paper = TABLES.get("table7")().published()
    assert paper is not None
    both = add_published(found, paper)
    at = both.row_keys.index("lgtm teacher_ce=0.8")
    assert [entry.text for entry in both.rows[at + 1]] == ["  published", "87.5/82.9", "83.3/82.5"]
    assert [entry.text for entry in both.rows[at + 2]] == ["  difference", "-7.5/-12.9", "-23.3/-32.5"]
    assert both.rules == {3, 6, 9}
    records = {(r["row"], r["column"], r["part"]): r for r in both.records}
    one = records["lgtm teacher_ce=0.8", "mnli", "mm"]
    assert (one["published"], one["ours"], one["difference"]) == (82.5, pytest.approx(50.0), pytest.approx(-32.5))
    assert records["lgtm teacher_ce=0.4", "mrpc", "F1"]["ours"] is None


def test_an_average_of_other_tasks_or_formulas_is_not_taken_for_the_papers(whole: Store, tmp_path: Path) -> None:
    text = shown("2", whole, "terminal", paper=True)  # two tasks
    assert re.search(r"published .* –$", text, re.MULTILINE)
    assert "81.2" not in text
    assert "Another formula than ours gave the printed averages of BERT-Base (kdbench audit)." in text
    made = Made(Store(tmp_path), preset="bert-4l")
    for task in ("mrpc", "rte", "sst2", "mnli", "qnli", "qqp"):
        add(made, "kd", task, 0.8)
    text = shown("4", made.write(), "terminal", paper=True)
    assert re.search(r"difference .* -0\.2$", text, re.MULTILINE)
    assert "averages of KD, PKD, DIST, SKD, ProKT, Meta Distill, LGTM (kdbench audit)" in text


def test_the_papers_numbers_of_other_networks_are_called_so(whole: Store) -> None:
    """Table 1 is of six layers, Table 4 of four; `whole` has both presets."""
    words = "The paper's networks here are those of bert-6l; the differences to bert-4l are of other networks"
    six, four = shown("1", whole, "terminal", paper=True).split("Table 1, preset bert-4l")
    assert words in " ".join(four.split())
    assert "The paper's networks here" not in six
    assert "The paper's networks here" not in shown("4", whole, "terminal", paper=True)


@pytest.mark.parametrize("number", ["1", "2", "3", "4", "6", "7"])
def test_published_in_every_format(whole: Store, number: str) -> None:
    text = shown(number, whole, "latex", paper=True)
    for table in tables(text):
        check_latex(table)
    assert "difference" in text
    lines = [line for line in shown(number, whole, "markdown", paper=True).splitlines() if line.startswith("|")]
    assert any("published" in line for line in lines)
    records = list(csv.DictReader(io.StringIO(shown(number, whole, "csv", paper=True))))
    assert {"published", "ours", "difference"} <= set(records[0])
    assert any(record["published"] and record["ours"] for record in records)


def test_all_tables_and_what_is_lacking(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    add(made, "lgtm", "rte", 0.6)
    out = io.StringIO()
    lacking = show_table("all", made.write(), StudyChoice("bert-6l"), "terminal", Console(file=out, width=100))
    assert re.findall(r"^Table (\d)", out.getvalue(), re.MULTILINE) == ["1", "5", "6", "7"]
    said = ((Calibration, NOTHING), (Deploy, Deploy.lacking), (Fidelity, NOTHING))
    assert lacking[2:] == [f"{kind.title.partition(':')[0]}: {sentence}" for kind, sentence in said]
    assert [text.partition("run: ")[2].partition(" --set")[0] for text in lacking[:2]] == [
        "kdbench run --for table2 --preset bert-6l --tasks rte --seeds 0",
        "kdbench run --for table3 --preset bert-6l --seeds 0",  # which is about another task
    ]
    latex = io.StringIO()
    show_table("all", made.store, StudyChoice("bert-6l"), "latex", Console(file=latex))
    assert latex.getvalue().count(r"\begin{table*}") == 5  # and what it cost


def test_of_all_tables_one_that_cannot_be_made_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(self: object, studies: object) -> list[TableData]:
        raise UserError("A file is damaged.")

    made = Made(Store(tmp_path))
    add(made, "lgtm", "rte", 0.6)
    monkeypatch.setattr(TABLES.get("table7"), "sheets", damaged)
    out = io.StringIO()
    lacking = show_table("all", made.write(), StudyChoice("bert-6l"), "terminal", Console(file=out, width=100))
    assert "Table 1" in out.getvalue()
    assert "Table 7: A file is damaged." in lacking
    with pytest.raises(UserError, match="A file is damaged"):
        show_table("7", made.store, StudyChoice("bert-6l"), "terminal", Console(file=out, width=100))


def test_rows_that_nobody_asked_for_are_called_as_in_the_paper(tmp_path: Path) -> None:
    made = Made(Store(tmp_path), "bert-4l")
    add(made, "kd", "rte", 0.6)
    titles = [row[0].text for row in sheet("table4", made.write()).rows]
    assert {"KD", "PKD", "ProKT", "Meta Distill", "LGTM"} <= set(titles)


def test_a_row_that_learned_from_what_is_reported_does_not_compete(tmp_path: Path) -> None:
    made = Made(Store(tmp_path), study={**STUDY, "feedback": "validation"})
    for row, score in (("kd", 0.6), ("dml", 0.5), ("lgtm", 0.9)):
        add(made, row, "rte", score)
    found = sheet("table1", made.write())
    assert {row[0].text: row[1].best for row in found.rows} == {"KD": True, "DML": False, "LGTM†": False}
    assert note(found, "†").endswith("Not compared with the other rows.")


def test_rows_that_all_learned_from_what_is_reported_compete(tmp_path: Path) -> None:
    made = Made(Store(tmp_path), study={**STUDY, "feedback": "validation"})
    add(made, "lgtm", "rte", 0.9)
    add(made, "lgtm_released", "rte", 0.8)
    found = sheet("table1", made.write())
    assert sorted(row[1].best for row in found.rows) == [False, True]
    assert note(found, "†").endswith("split.")
