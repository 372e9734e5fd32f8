"""Rows of one table whose runs were not asked for together: other seeds, parts of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.formatting import seed_list
from kdbench.reporting.tables import Detail, TableData
from kdbench.results.store import Store
from tests.analysis.made import Made, spec, texts
from tests.analysis.test_table1 import sheet


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


def test_equal_seeds_need_no_word(tmp_path: Path) -> None:
    found = mixed(tmp_path, {"kd": range(3), "dml": range(3)})
    assert not any("differ in seeds" in note for note in found.notes)


@pytest.mark.parametrize(("seeds", "text"), [([0], "0"), ([2, 0, 1, 5], "0-2,5"), ([3, 7, 8], "3,7-8"), ([], "")])
def test_seeds_are_listed_as_the_command_line_takes_them(seeds: list[int], text: str) -> None:
    assert seed_list(seeds) == text
