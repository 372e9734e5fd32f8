"""Figures of many rows: parts, titles, and axes of several orders of magnitude."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from kdbench.analysis import influence
from kdbench.analysis.figure_curves import FigureCurves, score_limits
from kdbench.reporting.figures import Curve, Estimate, FigureData, LineStyle, Panel
from kdbench.reporting.formats.figure_parts import MOST, figure_parts
from kdbench.reporting.formats.matplotlib_figure import PAGE, draw
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.drawn import finish, scores
from tests.analysis.made import Made, spec

LOOK = LineStyle("#000000", "-")


def curve(label: str, values: tuple[float, ...] = (1.0, 2.0), *, reference: bool = False) -> Curve:
    places = tuple(range(len(values)))
    return Curve(label, LOOK, places, tuple(map(float, places)), {0: values}, reference=reference)


def many(count: int) -> FigureData:
    drawn = [curve("Teacher", reference=True), *(curve(f"row {i}", (1.0, 2.0 + i)) for i in range(count))]
    return FigureData("", [Panel("score", drawn, "one"), Panel("score", drawn[:3], "two")], 2, 1)


def test_few_curves_stay_together() -> None:
    assert figure_parts(few := many(MOST - 1)) == [few]


def test_many_curves_are_divided_into_parts_of_about_one_size() -> None:
    parts = figure_parts(many(26))
    labels = [[one.label for one in part.panels[0].curves] for part in parts]
    assert [len(names) for names in labels] == [7, 8, 7, 8]
    assert all(names[0] == "Teacher" for names in labels)
    assert [name for names in labels for name in names[1:]] == [f"row {i}" for i in range(26)]
    assert all(len(part.panels[0].curves) + len(part.panels[0].others) == 27 for part in parts)
    assert [len(part.panels[1].curves) for part in parts] == [3, 1, 1, 1]


def test_each_part_has_its_curves_in_front_the_others_pale_and_a_legend() -> None:
    figure = draw(many(16), 6.8)
    assert len(figure.subfigs) == 3
    for part in figure.subfigs:
        (legend,) = part.legends
        assert len(legend.get_texts()) <= MOST
        first = part.axes[0]
        assert len(first.get_lines()) == 17
        assert first.get_ylim() == pytest.approx(figure.subfigs[0].axes[0].get_ylim())
    small = draw(many(4), 6.8)
    assert not small.subfigs
    assert figure.get_figheight() > 2 * small.get_figheight()


def test_titles_of_narrow_panels_do_not_overlap() -> None:
    rows = [Estimate(f"LGTM without influence {i}", LOOK, {0: 80.0}, 80.0, (70.0, 90.0)) for i in range(3)]
    titles = ("Banking77, Acc./macro-F1", "TREC, Acc./macro-F1")
    figure = draw(FigureData("", [Panel("Score (%)", title=title, estimates=rows) for title in titles], 3, 2), 3.3)
    figure.canvas.draw()
    left, right = (axes.title.get_window_extent() for axes in figure.axes)
    assert left.x1 < right.x0


def test_influences_of_several_orders_of_magnitude_are_drawn_on_a_logarithmic_axis() -> None:
    assert influence.linear_range([curve("a", (1.0, -2.0, 90.0))]) is None
    assert influence.linear_range([curve("a", (0.0, 0.0))]) is None
    assert influence.linear_range([curve("a", (0.2, -0.3, math.nan)), curve("b", (0.3, 1000.0))]) == 0.1
    figure = draw(FigureData("", [Panel("w", [curve("a", (0.2, -1000.0))], rule=0.0, linear_to=0.1)]), 3.3)
    (axes,) = figure.axes
    assert axes.get_yscale() == "symlog"
    assert "times" not in axes.get_ylabel()  # ticks carry their own powers


def test_scores_far_below_all_others_do_not_press_the_rest_into_a_line() -> None:
    usual = [curve(f"row {i}", (80.0 + i, 85.0 + i, 90.0)) for i in range(6)]
    assert score_limits(usual) is None
    limits = score_limits([*usual, curve("two stages", (4.0, 5.0, 86.0))])
    assert limits is not None
    assert 75 < limits[0] < 80
    assert 90 < limits[1] < 91


def test_curves_beyond_the_panel_are_named(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for i, row in enumerate(("kd", "pkd", "skd", "takd", "rco", "dml", "dist")):
        finish(made, spec(row, "rte", 0), scores("selection", base=0.01 if row == "dist" else 0.7 + i / 100, teacher=0))
    made.write()
    (study,) = studies(made.store)
    found = FigureCurves().build_panels(study, ["rte"])
    assert "Beyond the lower edge of the panel: DIST on RTE (from 11.0)." in found.notes
    assert found.panels[0].limits is not None
    assert found.panels[0].limits[0] > 70


@pytest.mark.parametrize(("panels", "rows"), [(3, [3]), (4, [2, 2]), (5, [3, 2]), (7, [3, 3, 1])])
def test_panels_stand_in_rows_of_about_one_length(panels: int, rows: list[int]) -> None:
    found = [Panel("score", [curve("a", (0.2, 0.4))], str(i)) for i in range(panels)]
    heights = [round(axes.get_position().y0, 3) for axes in draw(FigureData("", found, 3, 1), PAGE).axes]
    assert [heights.count(height) for height in dict.fromkeys(heights)] == rows
