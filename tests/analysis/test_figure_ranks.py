"""Mean ranks over tasks, against the numbers of Demšar (2006) and scipy."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from kdbench.analysis.figure_ranks import FigureRanks, critical_difference, friedman_test, rank_rows
from kdbench.reporting.figures import Lacking
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import Made, spec
from tests.analysis.test_figure_files import draw


def test_the_critical_difference_of_demsar() -> None:
    """Four classifiers on 14 data sets (Sec. 3.2.4)."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(2, 10) == pytest.approx(1.960 * math.sqrt(6 / 60), abs=1e-3)


@given(st.integers(0, 99), st.integers(5, 8), st.integers(4, 9))
def test_the_test_is_friedmans(seed: int, rows: int, tasks: int) -> None:
    """F = (N - 1) chi2 / (N (k - 1) - chi2) (Demšar 2006, Sec. 3.2.2)."""
    scores = np.random.default_rng(seed).random((tasks, rows))
    chi2 = stats.friedmanchisquare(*scores.T).statistic
    room = tasks * (rows - 1) - chi2
    expected = stats.f.sf((tasks - 1) * chi2 / room, rows - 1, (rows - 1) * (tasks - 1)) if room > 1e-9 else 0.0
    assert friedman_test(rank_rows(scores)) == (pytest.approx(expected, abs=1e-9), "Iman and Davenport 1980")


@pytest.mark.parametrize(("rows", "tasks", "p"), [(2, 2, 1 / 2), (2, 3, 1 / 4), (3, 2, 1 / 6), (12, 3, 4.3583e-18)])
def test_full_agreement_can_be_chance(rows: int, tasks: int, p: float) -> None:
    """The other tasks have the first one's order with probability 1 / k! each."""
    assert friedman_test(np.tile(np.arange(1.0, rows + 1), (tasks, 1))) == (pytest.approx(p, rel=1e-4), "exact")


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_few_orders_are_counted(seed: int) -> None:
    """As scipy's permutation test does, also where scores are equal."""
    scores = np.random.default_rng(seed).integers(0, 4, (3, 3)).astype(float)

    def spread(*rows: NDArray[np.float64]) -> float:
        return float(rank_rows(np.stack(rows, 1)).sum(0).var())

    found = stats.permutation_test(
        scores.T, spread, permutation_type="samples", alternative="greater", vectorized=False
    )
    assert friedman_test(rank_rows(scores))[0] == pytest.approx(found.pvalue)


def test_equal_scores_share_a_rank() -> None:
    assert rank_rows(np.array([[0.5, 0.7, 0.5, 0.2]])).tolist() == [[2.5, 1, 2.5, 4]]
    assert friedman_test(np.full((3, 4), 2.5))[0] == 1.0
    assert friedman_test(np.full((3, 9), 5.0))[0] == 1.0


def made(folder: Path) -> Store:
    """KD is best on three of four tasks, DML on one; PKD is done on three of them, and worst."""
    study = Made(Store(folder))
    scores = {"kd": (0.9, 0.9, 0.9, 0.6), "dml": (0.8, 0.8, 0.8, 0.7), "pkd": (0.7, 0.7, 0.7)}
    for row, values in scores.items():
        for task, value in zip(("rte", "sst2", "qnli", "mnli"), values, strict=False):
            for seed in (0, 1):
                study.done(study.ask(spec(row, task, seed)), value + seed / 100)
    return study.write()


def test_ranks_are_those_of_the_tasks_that_all_rows_have(tmp_path: Path) -> None:
    (study,) = studies(made(tmp_path))
    found = FigureRanks().build_panels(study, ["rte", "sst2", "qnli", "mnli"])
    rows = {row.label: (row.mean, dict(row.seeds)) for row in found.panels[0].estimates}
    whole = ("rte", "sst2", "qnli")
    assert rows == {name: (place, dict.fromkeys(whole, place)) for place, name in enumerate(("KD", "DML", "PKD"), 1)}
    assert "Left out, for not every row is done there: MNLI." in found.notes
    low, high = found.panels[0].estimates[0].interval or (0, 0)
    assert high - low == pytest.approx(critical_difference(3, 3))
    assert any("do not overlap differ: 1 of 3 pairs" in note for note in found.notes)
    assert "A bar that reaches the edge of its panel goes on." in found.notes


def test_rows_of_few_tasks_do_not_take_the_others_away(tmp_path: Path) -> None:
    """Two rows on four tasks are more than three on two."""
    study = Made(Store(tmp_path))
    for row, tasks in (("kd", 4), ("dml", 4), ("pkd", 1)):
        for place, task in enumerate(("rte", "sst2", "qnli", "mnli")[:tasks]):
            study.done(study.ask(spec(row, task, 0)), 0.5 + place / 10 + len(row) / 100)
    found = FigureRanks().build_panels(studies(study.write())[-1], ["rte", "sst2", "qnli", "mnli"])
    assert [row.label for row in found.panels[0].estimates] == ["DML", "KD"]
    assert "Left out, for they are not done on every task: PKD." in found.notes


def test_a_block_on_which_the_test_can_find_something_goes_first(tmp_path: Path) -> None:
    """Five rows on two tasks are more numbers than two on four; but their mean ranks would have to be 4.3 apart."""
    study, tasks = Made(Store(tmp_path)), ["rte", "sst2", "qnli", "mnli"]
    for row, number in (("kd", 4), ("dml", 4), ("pkd", 2), ("skd", 2), ("dist", 2)):
        for task in tasks[:number]:
            study.done(study.ask(spec(row, task, 0)), 0.5 + len(row) / 100)
    found = FigureRanks().build_panels(studies(study.write())[-1], tasks)
    assert {row.label for row in found.panels[0].estimates} == {"KD", "DML"}
    assert critical_difference(5, 2) == pytest.approx(4.31, abs=0.01)


def test_on_one_task_there_are_no_white_dots(tmp_path: Path) -> None:
    (study,) = studies(made(tmp_path))
    for tasks, dotted in ((["rte"], False), (["rte", "sst2"], True)):
        assert any("white dots" in note for note in FigureRanks().build_panels(study, tasks).notes) is dotted


def test_a_single_row_has_no_rank(tmp_path: Path) -> None:
    study = Made(Store(tmp_path))
    study.done(study.ask(spec("kd", "rte", 0)), 0.8)
    with pytest.raises(Lacking, match="two rows or more"):
        FigureRanks().build_panels(studies(study.write())[-1], ["rte"])


def test_the_points_as_csv_and_the_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = made(tmp_path / "results")
    records = list(csv.DictReader(draw("ranks", store, form="csv").splitlines()))
    assert {(record["row"], record["task"], record["value"]) for record in records if record["row"] == "kd"} == {
        ("kd", "rte", "1.0"), ("kd", "sst2", "1.0"), ("kd", "qnli", "1.0"),
    }  # fmt: skip
    assert "Wrote ranks.svg" in draw("ranks", store, form="svg", out="ranks.svg")
    assert "Mean rank" in Path("ranks.svg").read_text()
