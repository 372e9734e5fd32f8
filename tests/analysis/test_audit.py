"""What the audit finds in the paper's tables, and that it computes it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from kdbench.analysis import consistency
from kdbench.analysis.audit import PublishedTables
from kdbench.analysis.consistency import OUR_FORMULA, Formula, ScoreRow
from kdbench.analysis.published import PublishedTable, published_tables
from kdbench.reporting.data_frames import csv_text
from kdbench.reporting.formats.latex import latex
from kdbench.reporting.tables import TableData
from tests.analysis.typeset import check_latex


def sheets() -> dict[str, TableData]:
    return {sheet.title: sheet for sheet in PublishedTables().sheets()}


def lines(sheet: TableData) -> list[list[str]]:
    return [[entry.text for entry in row] for row in sheet.rows]


def changed(name: str, old: str, new: str) -> Sequence[ScoreRow]:
    """The rows of a table in which one cell is another."""
    text = published_tables()[name].model_dump_json()
    assert old in text
    return consistency.score_rows(PublishedTable.model_validate_json(text.replace(old, new, 1)))


def test_every_average_of_table_1_is_the_named_formula() -> None:
    found = lines(sheets()["Printed averages of Table 1"])
    assert len(found) == 12
    assert {row[-1] for row in found} == {OUR_FORMULA.name}
    assert found[-1][1:4] == ["83.4", "83.36", "+0.04"]


def test_the_students_of_table_4_follow_another_formula_than_its_teacher() -> None:
    sheet = sheets()["Printed averages of Table 4"]
    found = {row[0]: row[1:] for row in lines(sheet)}
    assert found["BERT-Base"][-1] == OUR_FORMULA.name
    assert {values[-1] for title, values in found.items() if title != "BERT-Base"} == {"only MRPC Acc."}
    assert found["KD"][:2] == ["80.2", "80.67"]
    assert found["LGTM"][:2] == ["81.4", "81.80"]
    assert sheet.notes[1].startswith("7 of 8 averages are not that (KD, PKD, DIST, SKD, ProKT, Meta Distill, LGTM)")


def test_one_teacher_has_two_averages() -> None:
    sheet = sheets()["Rows that are printed in several tables"]
    assert lines(sheet)[0] == ["BERT-Base", "1, 2, 4", "84.2, 85.4, 84.2"]
    assert len(sheet.notes) == 1
    teacher = next(row for row in sheets()["Printed averages of Table 2"].records if row["row"] == "teacher")
    # accuracies alone, whatever is taken of MNLI
    assert teacher["reproduced_by"].split(" | ")[0] == "only MRPC Acc., QQP Acc."
    assert all("MRPC Acc." in name and "QQP Acc." in name for name in teacher["reproduced_by"].split(" | "))


def test_takd_repeats_a_cell_whose_parts_are_too_near_one_another() -> None:
    found = [row for row in lines(sheets()["Cells to look at"]) if row[0] == "TAKD"]
    assert [row[2] for row in found] == ["MRPC, MNLI", "MRPC"]
    assert re.fullmatch(r"parts 0\.7 apart; elsewhere 4\.\d to 6\.2", found[1][-1])


def test_the_findings_go_when_the_cells_do() -> None:
    mended = changed("table1", '"82.4/81.7","64.1"', '"86.4/81.0","64.1"')
    assert not any(consistency.repeated_pairs(row) for row in mended)
    assert not any(consistency.outlying_gaps(row, mended) for row in mended)
    takd = next(row for row in mended if row.source.row == "takd")
    assert not OUR_FORMULA.gives(takd)  # the printed average is made of the repeated cell
    assert (
        len(
            consistency.copied_rows(
                {"a": changed("table1", "89.0/85.2", "89.0/85.3"), "b": changed("table2", "85.4", "85.5")}
            )
        )
        == 1
    )


def test_formulas_by_hand() -> None:
    cells = {"mrpc": "90.0/80.0", "rte": "60.0"}
    assert OUR_FORMULA.value(cells) == pytest.approx(72.5)
    assert Formula({"mrpc": 1}).value(cells) == pytest.approx(70.0)
    assert Formula({"mrpc": 0}).name == "only MRPC F1"


def test_an_average_that_nothing_gives_is_said_to_be_so() -> None:
    rows = changed("table1", '"83.4"', '"93.4"')
    assert consistency.matching_formulas(rows[-1], rows) == []


def test_where_the_papers_method_is_not_the_best() -> None:
    found = {(row[1], row[2], row[-1]) for row in lines(sheets()["Cells to look at"]) if row[-1].startswith("below")}
    assert found == {("2", "MNLI", "below MSE (82.0/81.6)"), ("4", "SST-2", "below Meta Distill (90.9)")}


def test_every_sheet_is_latex_and_csv() -> None:
    for sheet in sheets().values():
        check_latex(latex(sheet))
    assert csv_text(record for sheet in sheets().values() for record in sheet.records).count("\n") > 25
