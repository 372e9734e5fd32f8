"""The tables of docs/networks.md: which pairs of networks a method takes, and what is said of the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.planning import config
from kdbench.planning.make_plan import select_methods
from kdbench.training import preflight
from tests.kdbench.architectures import save
from tests.kdbench.small_runs import CPU, plan
from tests.kdbench.test_encoders import ENCODERS, MIXED, REFUSED
from tests.kdbench.test_teacher_outputs import LABELS, outputs_of_rte

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
TRAINS = "trains"
# by column: part of every refusal
WORDS = {
    "narrower student": r"hidden size is 16 and that of .* 32; choose equal sizes, or give --set \w+\.\w+=\w+\.$",
    "student deeper than its teacher": "choose a (teacher at least as deep as its student|student no deeper than its)",
    "student of one layer": "a network of one layer has none; give it two or more",
    "fine-tuned teacher": "is fine-tuned already",
    "file of outputs": "no network|no layers",
}
VARIANTS = {"pesf_kd_released", "meta_distill_released"}


def tables() -> list[dict[str, dict[str, str]]]:
    """Read the page's tables: the cells by row, then by column."""
    found = re.findall(r"^\| method .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    heads = re.findall(r"^\| method (.*)\|$", PAGE.read_text(), re.MULTILINE)
    return [
        {name.strip("`"): dict(zip(split(head), cells, strict=True)) for name, *cells in map(split, rows.splitlines())}
        for head, rows in zip(heads, found, strict=True)
    ]


def split(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def remedies() -> Mapping[str, list[str]]:
    """Read the settings with which a refused pair trains, by number."""
    lines = re.findall(r"^- \((\d)\) (.*)$", PAGE.read_text(), re.MULTILINE)
    return {number: re.findall(r"`([\w.]+=\w+)`", line) for number, line in lines}


def test_the_table_of_architectures_is_what_is_tested() -> None:
    table, _ = tables()
    assert table.keys() == select_methods("paper").keys()
    for method, row in table.items():
        assert [name.lower() for name in row] == list(ENCODERS)
        refused = {name.lower() for name, cell in row.items() if cell != TRAINS}
        assert refused == {encoder for encoder, of in REFUSED if of == method}
    said = " ".join(PAGE.read_text().partition("Mixed pairs are tested too: ")[2].partition(".")[0].split())
    titles = {name.lower(): name for name in table["kd"]}
    by_teacher = [f"{titles[teacher]} {titles[student]}" for teacher, student in MIXED]
    assert said.replace(" teaches", "") == ", ".join(by_teacher)


@pytest.mark.parametrize("column", WORDS)
def test_the_table_of_sizes_holds(column: str, tmp_path: Path) -> None:
    _, table = tables()
    assert table.keys() == select_methods("paper").keys() | VARIANTS
    sets = networks(tmp_path, column)
    for row, cells in table.items():
        if cells[column] == TRAINS:
            check(tmp_path, row, *sets)
            continue
        with pytest.raises(UserError, match=WORDS[column]):
            check(tmp_path, row, *sets)
        if number := re.sub(r"\D", "", cells[column]):
            of_row = (config.method_of_row(row).name, "teacher_start")
            own = [setting for setting in remedies()[number] if re.split(r"[.=]", setting)[0] in of_row]
            if own:
                check(tmp_path, row, *sets, *(setting.replace("NETWORK", "tiny-2x32") for setting in own))


def networks(folder: Path, column: str) -> list[str]:
    """Return the settings of a column's pair; its teacher has three layers and hidden size 32."""
    words = dict(enumerate(LABELS))
    teacher = save(folder / "teacher", "bert", num_hidden_layers=3, id2label=words,
                   label2id={word: i for i, word in words.items()})  # fmt: skip
    layers = {"student deeper than its teacher": 4, "student of one layer": 1}.get(column, 2)
    student = save(folder / "student", "bert", num_hidden_layers=layers, hidden_size=16 if "narrower" in column else 32)
    given = ["teacher_is_finetuned=true"] if column in ("fine-tuned teacher", "file of outputs") else []
    return [f"student={student}", f"teacher={outputs_of_rte(folder, 'train') if 'file' in column else teacher}", *given]


def check(folder: Path, row: str, *sets: str) -> None:
    """Plan and check a row's runs, without training.

    Raises:
        UserError: the networks do not fit.
    """
    preflight.check_plan(plan(folder, *sets, "max_length=48", methods=row), [CPU])
