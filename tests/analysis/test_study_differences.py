"""The tables of differences of docs/study.md, on results worked out by hand."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from scipy import stats

from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.differences import reference_table, separability_section
from tests.analysis.exact_results import NEAR, compared, contrasts, shifted


def test_separable_pairs(tmp_path: Path) -> None:
    """KD and SKD are alike, DIST is above both: 2 of 3 pairs."""
    found = contrasts(tmp_path, {"kd": NEAR, "skd": shifted(0.5), "dist": shifted(22)})
    every, table, told, which = separability_section(found, "kd")
    assert every == "3 methods make 3 pairs."
    cells = [line.strip("| ").split(" | ")[:4] for line in table.splitlines()[2:5]]
    assert cells == [[place, "3", "2", "2"] for place in ("RTE", "QNLI", "Average")]
    assert told == "Where 12 pairs or fewer are separable, they are:"
    assert which.splitlines() == [f"- {place}: DIST above KD; DIST above SKD." for place in ("RTE", "QNLI", "Average")]
    # the same pairs, in points
    head, _, first, *rest = reference_table(found, ("kd", "skd")).splitlines()
    assert head == "|  | Minus KD | 95 % interval | p, Holm | Minus SKD | 95 % interval | p, Holm |"
    assert first.startswith("| DIST | +22.0 | ")
    assert first.split(" | ")[4] == "+21.5"
    assert rest[0].startswith("| SKD | +0.5 | ")
    assert rest[0].endswith("| – | – | – |")  # KD minus SKD is in the columns of KD


def smallest_seen(found: StudyContrasts) -> list[tuple[float, float]]:
    """The smallest difference to KD that shows, alone and as the largest of all, task by task and on average."""
    table = separability_section(found, "kd")[1]
    assert " | Smallest seen | As the largest of " in table
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:5]]
    return [(float(alone), float(largest)) for *_, alone, largest in lines]


def test_how_small_a_difference_shows(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"kd": NEAR, "dist": shifted(20)})
    ends = {task: compared(tmp_path, "dist", "kd", task) for task in (*NEAR, "average")}
    halves = {task: (float(one["high"]) - float(one["low"])) / 2 for task, one in ends.items()}
    told = [alone for alone, _ in smallest_seen(found)]
    assert told == pytest.approx([halves["rte"], halves["qnli"], halves["average"]], abs=0.11)  # of another draw
    # two rows that differ alike from KD: the first of Holm's steps asks for p < 2.5 %
    found = contrasts(tmp_path / "two", {"kd": NEAR, "dist": shifted(20), "skd": shifted(20)})
    (_, on_rte), _, (_, average) = smallest_seen(found)
    for place, said in ((None, average), ("rte", on_rte)):
        both = [found.contrast(name, "kd", [place] if place else None).difference for name in ("dist", "skd")]
        halves = {one: stats.t.ppf(1 - 0.025 / 2, one.degrees) * one.variance**0.5 for one in both if one}
        assert said == pytest.approx(statistics.fmean(halves.values()), abs=0.051)
