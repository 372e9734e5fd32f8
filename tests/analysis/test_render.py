"""One sheet in five formats."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.core.errors import UserError
from kdbench.reporting.formats import text as render
from kdbench.reporting.show_table import find_tables, show_table
from kdbench.reporting.study_choice import StudyChoice
from kdbench.reporting.tables import TableCell, TableData
from kdbench.results.store import Store
from tests.analysis.made import STUDY, Made, full, spec
from tests.analysis.typeset import check_latex


def shown(store: Store, form: str, width: int = 100, terminal: bool = False, preset: str | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None, highlight=False)
    show_table("1", store, StudyChoice(preset), form, console)
    return out.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return full(tmp_path_factory.mktemp("whole"), seeds=(0, 1))


def test_latex_is_booktabs_with_nothing_unescaped(whole: Store) -> None:
    text = shown(whole, "latex")
    check_latex(text)
    assert text.count(r"\midrule") == 2
    assert r"LGTM (released code) & \textbf{78.2/78.2} & \textbf{79.2} &" in text
    assert r" & {\scriptsize $\pm$0.2/0.2} & {\scriptsize $\pm$0.2} &" in text


def test_markdown_has_one_width(whole: Store) -> None:
    lines = [text for text in shown(whole, "markdown").splitlines() if text.startswith("|")]
    assert {text.count("|") for text in lines} == {9}
    assert "**" in lines[-1]
    assert r"50% \_x\_ \|k\|" in render.markdown(
        TableData("", ["", "b"], [[TableCell(("50% _x_ |k|",)), TableCell(("1",))]])
    )


def test_csv_round_trip(whole: Store) -> None:
    records = list(csv.DictReader(io.StringIO(shown(whole, "csv"))))
    # (3 tasks with one number, 3 with two) x 6 rows x 2 seeds
    assert len(records) == 9 * 6 * 2
    (one,) = [r for r in records if (r["row"], r["task"], r["seed"]) == ("kd", "rte", "1")]
    assert float(one["value"]) == 100 * (0.7 + 1 / 50 + 1 / 100 + 1 / 331)
    assert {r["row"] for r in records} >= {"teacher", "kd", "lgtm_released"}


def test_several_studies_are_several_tables_but_one_csv(tmp_path: Path) -> None:
    for i, feedback in enumerate(("train:0.1", "validation")):
        made = Made(Store(tmp_path), study={**STUDY, "feedback": feedback})
        made.done(made.ask(spec("kd", "rte", 0)), 0.7)
        made.write(str(i), f"2026-01-0{i + 1}T00:00:00+0000")
    assert shown(made.store, "terminal").count("Table 1") == 2
    text = shown(made.store, "csv")
    assert text.count("preset,") == 1
    assert [r["feedback"] for r in csv.DictReader(io.StringIO(text))] == ["train:0.1", "validation"]


@pytest.mark.parametrize(("width", "terminal"), [(100, True), (60, True), (80, False)])
def test_the_terminal_loses_nothing(whole: Store, width: int, terminal: bool) -> None:
    lines = shown(whole, "terminal", width, terminal).splitlines()
    assert lines[0] == "Table 1, preset bert-6l: t-net teaches s-net"  # on one line, not wrapped to a column
    assert not any("…" in text for text in lines)
    text = "\n".join(lines)
    if terminal:  # too narrow for spreads beside the numbers: below them
        assert re.search(r"KD +72\.2/72\.2 +73\.2 ", text)
        assert re.search(r"\n +±0\.2/0\.2 +±0\.2 ", text)
    else:
        assert re.search(r"KD +72\.2±0\.2/72\.2±0\.2 +73\.2±0\.2 ", text)
    if width == 100:
        assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("number", "form", "preset", "sentence"),
    [
        ("12", "latex", None, "Unknown table '12'"),
        ("1", "latx", None, "Unknown format 'latx'. Did you mean 'latex'"),
        ("1", "csv", "bert-6", "Unknown preset 'bert-6'. Did you mean 'bert-6l'"),
        ("1", "csv", "tiny", "no results of preset tiny"),
    ],
)
def test_what_there_is_not(tmp_path: Path, number: str, form: str, preset: str | None, sentence: str) -> None:
    made = Made(Store(tmp_path))
    made.ask(spec("kd", "rte", 0))
    with pytest.raises(UserError, match=re.escape(sentence)):
        show_table(number, made.write(), StudyChoice(preset), form, Console(file=io.StringIO()))


def test_a_table_of_nothing_finished_is_dashes(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.ask(spec("kd", "rte", 0))
    text = shown(made.write(), "terminal")
    assert "no run is done yet" in text
    assert re.search(r"KD +– +–", text)
    check_latex(shown(made.store, "latex"))
    assert shown(made.store, "csv") == ""


def test_plain_text_has_a_sign_for_the_best_of_a_column(whole: Store) -> None:
    """A terminal with colours has bold in its place."""
    plain = shown(whole, "terminal")
    assert "* Best of its column, as printed." in plain
    (released,) = [line for line in plain.splitlines() if line.startswith("LGTM (released code)")]
    (kd,) = [line for line in plain.splitlines() if line.startswith("KD")]
    assert released.split()[3].startswith("78.2±0.2/78.2±0.2*")
    assert "*" not in kd
    assert plain.index("* Best of") < plain.index("Checkpoints selected")
    out = io.StringIO()
    colours = Console(file=out, width=200, force_terminal=True, color_system="standard", highlight=False)
    show_table("1", whole, StudyChoice(), "terminal", colours)
    assert "*" not in out.getvalue()


def test_a_sign_that_means_something_else_is_not_taken() -> None:
    rows = [[TableCell(("a",)), TableCell(("1.0",), best=True)], [TableCell(("b",)), TableCell(("0.9",), sign="*")]]
    table = TableData("", ["", "x"], rows, notes=["* Something."])
    assert render.with_best_sign(table) is table
    best = render.with_best_sign(TableData("", ["", "x"], rows[:1], notes=["In per cent."]))
    assert best.rows[0][1].text == "1.0*"
    assert best.notes == ["In per cent.", "* Best of its column, as printed."]


def test_json_and_csv_hold_what_the_signs_say(whole: Store) -> None:
    (table,) = json.loads(shown(whole, "json"))
    (sheet,), _ = find_tables("1", whole, StudyChoice())
    assert table["notes"] == sheet.notes
    assert table["rows"][-1]["label"] == "LGTM (released code)"
    assert [cell["text"] for cell in table["rows"][1]["cells"]] == [cell.text for cell in sheet.rows[1][1:]]
    records = list(csv.DictReader(io.StringIO(shown(whole, "csv"))))
    assert len(table["records"]) == len(records)
    printed = {(row, task): cell for row, cells in zip(sheet.row_keys, sheet.rows, strict=True)
               for task, cell in zip(sheet.column_keys, cells[1:], strict=True)}  # fmt: skip
    for record in records:
        cell = printed[record["row"], record["task"]]
        assert (record["best"], record["sign"]) == (str(cell.best), cell.sign)
    assert any(record["best"] == "True" for record in records)
    assert {record["learned_from_report"] for record in records} == {"False"}
    assert "NaN" not in render.json_text([TableData("", [""], records=[{"value": math.nan}])])


@pytest.mark.parametrize("width", [40, 80])
def test_labels_stay_where_a_table_is_wider_than_the_terminal(width: int) -> None:
    """Heads of several words are not wrapped; what they need was taken from the labels, down to nothing."""
    heads = ["", *(f"Teacher\nright % {i}" for i in range(9))]
    rows = [
        [TableCell((label,)), *([TableCell(("95.8",), ("1.2",))] * 9)] for label in ("Fine-tuning", "LGTM (as printed)")
    ]
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False)
    render.render([TableData("Table", heads, rows)], "terminal", console)
    assert "Fine-tuning" in out.getvalue()
    assert "printed)" in out.getvalue()
    assert "…" not in out.getvalue()
    assert all(f"right % {i}" in out.getvalue() for i in range(9))


@pytest.mark.parametrize("width", [12, 80])
def test_digits_stand_below_digits(width: int) -> None:
    cells = [TableCell((value,), ("1.2",), sign=sign) for value, sign in (("95.8", "°§"), ("5.1", ""), ("100.0", "°"))]
    rows = [[TableCell((f"row {i}",)), cell] for i, cell in enumerate(cells)]
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False)
    render.render([TableData("", ["", "Acc."], rows)], "terminal", console)
    lines = [line for line in out.getvalue().splitlines() if "." in line and "Acc" not in line]
    assert len({line.index(".") for line in lines if "±" not in line or width == 80}) == 1
    assert len({line.rindex(".") for line in lines if "±" in line}) == 1
