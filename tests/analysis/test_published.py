"""The paper's numbers: nothing lost, nothing changed, and each in a place that our tables have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import pytest
from pydantic import ValidationError

from kdbench.analysis.published import PublishedTable, cell_numbers, published_tables
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS
from kdbench.reporting.data_frames import csv_text
from kdbench.reporting.published import add_published
from kdbench.reporting.tables import TABLES
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.study import TEACHER
from tests.analysis.made import Made, spec

SHAPES = {
    "table1": (12, 7), "table2": (5, 7), "table3": (2, 2), "table4": (8, 7), "table5": (7, 1), "table6": (2, 6),
    "table7": (4, 4),
}  # fmt: skip
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e\s?-\s?\d+)?")
# the sum of every printed number, added up from the paper's text apart from the data file
SUMS = {"table1": 9834.3, "table2": 4125.2, "table3": 309.1, "table4": 6473.4, "table6": 331.0, "table7": 1980.2}


def test_rows_and_columns() -> None:
    assert {name: (len(table.rows), len(table.columns)) for name, table in published_tables().items()} == SHAPES


@pytest.mark.parametrize("name", SUMS)
def test_the_sum_of_all_cells(name: str) -> None:
    cells = published_tables()[name].cells.values()
    assert round(sum(sum(cell_numbers(cell)) for cell in cells), 1) == SUMS[name]


@pytest.mark.parametrize(
    ("table", "row", "column", "text"),
    [
        ("table1", "teacher", "qqp", "71.5/89.2"),
        ("table1", "takd", "mrpc", "82.4/81.7"),
        ("table1", "lgtm", "average", "83.4"),
        ("table1", "pesf_kd", "qnli", "87.6"),
        ("table2", "teacher", "average", "85.4"),
        ("table2", "lgtm kd_loss=dist influence_loss=kd_loss", "rte", "67.7"),
        ("table2", "kd kd_loss=mse", "mnli", "82.0/81.6"),
        ("table3", "lgtm_no_fda influence=weighted weights_via=samples", "minutes", "117"),
        ("table4", "skd", "mnli", "77.9/77.2"),
        ("table4", "lgtm", "sst2", "90.8"),
        ("table5", "student_lr", "value", "1e-4, 3e-5, 5e-5"),
        ("table6", "lgtm feedback=train:0.1", "mnli", "83.1/82.2"),
        ("table7", "lgtm teacher_ce=0.4", "mrpc", "87.5/82.8"),
    ],
)
def test_spot_values(table: str, row: str, column: str, text: str) -> None:
    assert published_tables()[table].cells[row, column] == text


@pytest.fixture(scope="module")
def paper() -> dict[str, list[str]]:
    """Every number of the paper's tables in the order of their columns, by the table's number."""
    named = os.environ.get("KDBENCH_PAPER")
    file = Path(named) if named else Path(__file__).resolve().parents[3] / "shared/paper/lgtm-acl2023.md"
    if not file.is_file():
        pytest.skip("no text of the paper; set KDBENCH_PAPER")
    blocks = re.findall(r"((?:^.*\t.*\n)+)\nTable (\d):", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {number: _printed(block) for block, number in blocks}


def _printed(block: str) -> list[str]:
    """Of the lines below the head, cells only; a line may be several rows in one, cell by cell."""
    lines = [re.sub(r"</?b>", "", line).split("\t")[1:] for line in block.splitlines()[1:]]
    return _numbers(cell for column in zip_longest(*lines, fillvalue="") for cell in column)


def _numbers(cells: Iterable[str]) -> list[str]:
    return [re.sub(r"\s", "", number) for cell in cells for number in NUMBER.findall(cell)]


@pytest.mark.parametrize("name", SHAPES)
def test_every_number_is_the_papers(name: str, paper: dict[str, list[str]]) -> None:
    rows = [
        row.cells for row in published_tables()[name].rows if row.row != "teacher_lr"
    ]  # which Appendix D has in its text
    assert _numbers(cell for column in zip(*rows, strict=True) for cell in column) == paper[name.removeprefix("table")]


def test_every_cell_is_printed_as_numbers_with_one_decimal() -> None:
    for name, table in published_tables().items():
        for (row, column), text in table.cells.items():
            if column in TASKS.all() or column == "average":
                assert re.fullmatch(r"\d\d\.\d(/\d\d\.\d)?", text), (name, row, column)
                parts = (
                    len(TASKS.get(column).metrics) * len(TASKS.get(column).report_splits)
                    if column in TASKS.all()
                    else 1
                )
                assert text.count("/") == parts - 1


def test_rows_are_methods_that_there_are() -> None:
    for name in ("table1", "table4"):
        assert {row.row for row in published_tables()[name].rows} - {TEACHER} <= set(METHODS.all())


@pytest.mark.parametrize("name", ["table2", "table3", "table6", "table7"])
def test_every_row_is_one_that_our_table_asks_for(name: str) -> None:
    requests = TABLES.get(name).requests
    ours = {" ".join([r.methods, *(f"{k}={v}" for k, v in r.varies.items())]) for r in requests}
    assert {row.row for row in published_tables()[name].rows} - {TEACHER} <= ours


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValidationError, match="has 1 cells, not 2"):
        PublishedTable.model_validate(
            {"caption": "", "columns": ["a", "b"], "rows": [{"row": "x", "title": "x", "cells": ["1"]}]}
        )


def test_where_the_paper_has_no_number_nothing_explains_its_numbers(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "trec", 0)), 0.7)
    (study,) = studies(made.write())
    table = TABLES.get("table1")()
    sheet, paper = table.build(study), table.published()
    assert sheet is not None
    assert paper is not None
    assert add_published(sheet, paper).notes == [*sheet.notes, "The paper has no numbers of these rows and tasks."]


def test_a_number_that_is_not_there_leaves_a_gap_in_csv() -> None:
    assert csv_text([{"published": None, "ours": 1.5}, {"published": 2, "ours": float("nan")}]) == (
        "published,ours\n,1.5\n2,nan\n"
    )
