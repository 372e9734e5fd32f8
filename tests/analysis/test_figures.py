"""What the figures show, on series made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.analysis.figure3 import choose_samples
from kdbench.analysis.influence import followed_row, middle_half, samples_by_seed
from kdbench.planning.exhibits import Request
from kdbench.reporting.figures import FIGURES, Curve, FigureData, Lacking, TaskFigure
from kdbench.reporting.formats import line_styles
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.drawn import (
    ONE_STAGE,
    RIGHT,
    TWO_STAGES,
    WRONG,
    everything,
    finish,
    gaps,
    influences,
    lgtm,
    picture,
    prokt,
    scores,
)
from tests.analysis.made import Made, spec


def curves(found: FigureData) -> dict[str, Curve]:
    return {curve.label: curve for panel in found.panels for curve in panel.curves}


def test_figure_2_is_the_mean_over_seeds_in_per_cent(tmp_path: Path) -> None:
    found = picture(2, everything(tmp_path), "mnli")
    loss, student, teacher = found.panels
    assert [curve.label for curve in loss.curves] == ["Meta Distill", "LGTM"]
    assert [curve.mean for curve in loss.curves] == [pytest.approx([1.0, 0.75, 0.5])] * 2
    assert student.curves[1].mean == pytest.approx([51.0, 61.0, 71.0])  # seeds at 50 and 52
    assert student.curves[1].spread == pytest.approx([math.sqrt(2)] * 3)
    assert teacher.curves[0].mean == pytest.approx([70.0, 65.0, 60.0])
    assert student.curves[0].epochs == (0.0, 1.0, 2.0)
    assert any("mean over 2 seeds" in note and "standard deviation" in note for note in found.notes)
    assert found.printed == ["Made data: these numbers say nothing about the methods."]


def test_one_seed_has_no_band(tmp_path: Path) -> None:
    found = picture(2, everything(tmp_path, seeds=(3,)), "mnli")
    assert all(curve.spread is None for curve in curves(found).values())
    assert "One seed a line." in found.notes


def test_what_another_figure_varies_is_not_the_method(tmp_path: Path) -> None:
    """Figure 2's LGTM is the plain one, however good the other update orders are."""
    made = Made(Store(tmp_path))
    finish(made, spec("meta_distill", "mnli", 0), scores("validation_matched", base=0.5, teacher=0.7))
    finish(made, lgtm("mnli", 0), scores("validation_matched", base=0.5, teacher=0.7), selection=0.1)
    finish(made, lgtm("mnli", 0, update_order="student"), scores("validation_matched", base=0.9, teacher=0.7), 0.9)
    made.cells[-1] = replace(made.cells[-1], varies={"update_order": "student"})
    assert picture(2, made.write(), "mnli").panels[1].curves[1].mean[0] == pytest.approx(50.0)


def test_figure_3_chooses_by_its_rule(tmp_path: Path) -> None:
    shown, _ = followed_row(studies(everything(tmp_path))[-1], "mrpc")
    found = samples_by_seed(shown, "mrpc")[0]
    low, high = choose_samples(found)
    # by the whole training it would be samples 4 and 1, and without predictions the right one would be sample 0
    assert (low.sample, low.candidates, round(low.mean, 9)) == (1, 2, -0.2)
    assert (high.sample, high.candidates, round(high.mean, 9)) == (4, 2, 0.3)


def test_figure_3_takes_any_sample_where_none_fits(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    split = [[(w, 0.2, 0.9)] * 4 for w in (0.1, -0.3, 0.2)]  # the networks never agree
    finish(made, lgtm("rte", 0), influences([1, 1, 1], split))
    low, high = choose_samples(samples_by_seed(followed_row(studies(made.write())[-1], "rte")[0], "rte")[0])
    assert (low.sample, low.candidates, high.sample, high.candidates) == (1, 0, 2, 0)


def test_figure_3_shows_the_probability_of_the_label(tmp_path: Path) -> None:
    found = picture(3, everything(tmp_path), "mrpc")
    assert [panel.title for panel in found.panels] == ["Lowest mean", "Highest mean", "", ""]
    assert found.panels[2].curves[0].mean == pytest.approx([WRONG[0]] * 8)
    assert found.panels[3].curves[1].mean == pytest.approx([RIGHT[0]] * 8)
    assert "row 101 of train" in found.notes[0]
    assert "row 104 of train" in found.notes[0]
    assert "middle half" in found.notes[0]


def test_the_middle_half() -> None:
    assert list(middle_half(range(8))) == [2, 3, 4, 5]
    assert list(middle_half([1.0, 2.0])) == [1.0, 2.0]
    assert list(middle_half([1.0])) == [1.0]


def test_figure_4_shows_every_sample_and_the_mean_parts(tmp_path: Path) -> None:
    found = picture(4, everything(tmp_path), "mrpc")
    thin = [curve for curve in found.panels[0].curves if curve.look.thin]
    assert len(thin) == 5
    assert {curve.label for curve in thin} == {"5 samples"}
    assert thin[1].mean[3] == pytest.approx(-0.2)
    parts = curves(found)
    assert parts["Positive part"].mean[3] == pytest.approx((0.9 + 0.1 + 0.3) / 5)
    assert parts["Negative part"].mean[3] == pytest.approx((-0.2 - 0.1) / 5)
    assert list(parts["Positive part"].values) == [0, 1]


def test_figure_5_is_of_a_teacher_that_sees_labels_only(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for stage, value in ((ONE_STAGE, 0.1), (TWO_STAGES, 0.5)):
        finish(made, prokt("sst2", 0, **stage), gaps(0.0, value), 0.1)
        finish(made, prokt("sst2", 0, teacher_start=stage["teacher_start"]), gaps(9.0, 9.0), 0.9)
    found = curves(picture(5, made.write(), "sst2"))
    assert {label: curve.mean for label, curve in found.items()} == {"One stage": [0.0, 0.1], "Two stages": [0.0, 0.5]}


def test_figure_6_compares_at_equal_settings(tmp_path: Path) -> None:
    """The best grid points have different rates; the lines have the one that all three have."""
    made = Made(Store(tmp_path))
    for i, order in enumerate(("teacher", "student", "simultaneous")):
        finish(made, lgtm("mnli", 0, lr=3e-5, update_order=order), gaps(0.0, 0.1 * (i + 1)), 0.2)
        if order != "student":
            finish(made, lgtm("mnli", 0, lr=1e-4, update_order=order), gaps(5.0, 5.0), 0.9)
    found = picture(6, made.write(), "mnli")
    means = {label: curve.mean for label, curve in curves(found).items()}
    assert means == {
        "Teacher first": [0.0, 0.1], "Student first": [0.0, 0.2], "Simultaneously": [0.0, pytest.approx(0.3)],
    }  # fmt: skip
    assert any("student_lr=3e-05" in note for note in found.notes)


def test_of_settings_that_all_lines_have_the_better_are_drawn(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for order in ("teacher", "student", "simultaneous"):
        finish(made, lgtm("mnli", 0, lr=1e-4, update_order=order), gaps(0.0, 0.1), 0.2)
        finish(made, lgtm("mnli", 0, lr=3e-5, update_order=order), gaps(0.0, 0.7), 0.6)
    assert {curve.mean[1] for curve in curves(picture(6, made.write(), "mnli")).values()} == {0.7}


def test_a_figure_without_its_runs_says_which(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    finish(made, lgtm("mnli", 0), gaps(0.0, 0.1))
    store = made.write()
    with pytest.raises(Lacking, match=r"^LGTM: Student first and LGTM: Simultaneously on MNLI$"):
        picture(6, store, "mnli")
    with pytest.raises(Lacking, match=r"^Meta Distill on MNLI$"):
        picture(2, store, "mnli")
    with pytest.raises(Lacking, match=r"no influence in the series of mnli-lgtm-s0-\w+: delete the folders"):
        picture(4, store, "mnli")


def test_seeds_without_a_series_are_left_out_and_named(tmp_path: Path) -> None:
    """A run that followed no samples, or whose series is lost, does not keep the others from being drawn."""
    store = everything(tmp_path, seeds=(0, 1, 2))
    lost = {c.cell.task: c.run for c in studies(store)[-1].of("lgtm", "mrpc") + studies(store)[-1].of("lgtm", "mnli")
            if c.cell.seed == 2 and c.has({})}  # fmt: skip
    for run in lost.values():
        run.folder.series.write_text("", encoding="utf-8")
    for number, task in ((2, "mnli"), (3, "mrpc"), (4, "mrpc"), (6, "mnli")):
        found = picture(number, store, task)
        (said,) = (note for note in found.notes if note.startswith("Left out: "))
        assert f"in the series of {lost[task].id}: delete the folders of these runs first" in said
    assert set(curves(picture(4, store, "mrpc"))["Positive part"].values) == {0, 1}
    lost["mrpc"].folder.series.unlink()
    assert set(curves(picture(4, store, "mrpc"))["Positive part"].values) == {0, 1}


def test_steps_that_not_all_seeds_have_are_left_out(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for seed in (0, 1):
        for order in ("teacher", "student", "simultaneous"):
            finish(made, lgtm("mnli", seed, update_order=order), gaps(0.0, 0.1, 0.2)[: 2 + seed])
    curve = curves(picture(6, made.write(), "mnli"))["Teacher first"]
    assert (curve.steps, curve.mean) == ((0, 10), [0.0, 0.1])


def test_a_number_that_was_not_finite_is_a_gap(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for seed, last in enumerate((math.inf, 0.2)):
        for order in ("teacher", "student", "simultaneous"):
            finish(made, lgtm("mnli", seed, update_order=order), gaps(0.0, last))
    found = picture(6, made.write(), "mnli")
    mean = curves(found)["Teacher first"].mean
    assert mean[0] == 0.0
    assert math.isnan(mean[1])
    assert [record["value"] for record in found.records][:4] == [0.0, "", 0.0, 0.2]


def test_looks_stay_with_a_method(tmp_path: Path) -> None:
    store = everything(tmp_path)
    study = studies(store)[-1]
    for row in ("lgtm", "meta_distill"):
        assert (
            line_styles.of_row(study, row)
            == {c.label: c for c in picture(2, store, "mnli").panels[0].curves}[study.title(row)].look
        )
    assert curves(picture(6, store, "mnli"))["Teacher first"].look == line_styles.of_row(study, "lgtm")


def test_no_two_methods_and_no_variant_look_the_same(tmp_path: Path) -> None:
    from kdbench.distill.method_registry import METHODS
    from kdbench.results.sweep_files import RowRecord

    study = studies(everything(tmp_path))[-1]
    for name, method in METHODS.all().items():
        titles = {name: method.title, **{v: title for v, (title, _) in method.variants.items()}}
        study.titles |= {row: RowRecord(title=title, position=method.position) for row, title in titles.items()}
    shown = [line_styles.of_row(study, row) for row in study.titles]
    assert len({(look.color, look.dash) for look in shown}) == len(shown) > 12


def test_what_a_figure_asks_for_is_what_it_draws() -> None:
    """The requests of Figures 5 and 6 name the settings of their lines, and every figure names the paper's task."""
    for kind in FIGURES.all().values():
        if issubclass(kind, TaskFigure):  # what any study has
            assert (kind.task, list(kind.requests)) == ("", [Request("all")])
            continue
        assert {request.settings["tasks"] for request in kind.requests} == {kind.task}
        for request in kind.requests:
            settings = getattr(kind, "settings", {})
            assert not settings or not request.varies or dict(request.varies) in list(settings.values())
    names = ("confusion", "curves", "pareto", "ranks", "reliability", "risk_coverage", "scores")
    own = [f"figure_{name}" for name in names]
    assert list(FIGURES.all()) == [*(f"figure{n}" for n in range(2, 7)), *own]
    assert not FIGURES.broken
