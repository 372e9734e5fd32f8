"""Figures that any study has: curves and scores, a panel a task."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from kdbench.analysis.figure_confusion import count_classes
from kdbench.analysis.figure_curves import FigureCurves
from kdbench.analysis.figure_scores import FigureScores
from kdbench.core.errors import UserError
from kdbench.data.task_registry import TASKS
from kdbench.reporting.figures import FIGURES, Curve, Estimate, FigureData, Lacking, Matrix, Panel, TaskFigure
from kdbench.reporting.formats import line_styles, matplotlib_figure
from kdbench.reporting.show_figure import FigureChoice, drawable_figures, find_figures
from kdbench.reporting.study_choice import ChosenStudies
from kdbench.results.comparison import mean_score
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import StudyResults
from tests.analysis.drawn import finish, lgtm
from tests.analysis.made import Made, full, spec, teacher
from tests.analysis.test_figure_files import boxes, draw
from tests.commands.test_compare import predict
from tests.commands.test_compare import study as compared


def trained(root: Path, seeds: tuple[int, ...] = (0, 1)) -> Store:
    """KD with a teacher and LGTM on RTE and SST-2, which learn a percent a step from `base`."""
    made = Made(Store(root))
    for task in ("rte", "sst2"):
        for seed in seeds:
            rows = [
                (step, "selection", {"accuracy": base, "loss": 9.0 if not step else 0.5})
                for step, base in ((0, 0.01), (10, 0.6 + seed / 50), (20, 0.7 + seed / 50))
            ]
            parent = made.need(teacher(task, seed))
            made.done(parent, 0.9)
            finish(made, spec("kd", task, seed, needs={"teacher": parent}), rows)
            finish(made, lgtm(task, seed), rows[: 3 - seed])
    return made.write()


def only(store: Store) -> StudyResults:
    return studies(store)[-1]


def test_curves_start_after_step_0_and_have_mean_and_spread(tmp_path: Path) -> None:
    study = only(trained(tmp_path))
    found = FigureCurves().build_panels(study, ["rte", "sst2"])
    assert [panel.title for panel in found.panels] == ["RTE, Acc.", "SST-2, Acc."]
    kd, lgtm_ = found.panels[0].curves
    assert (kd.label, kd.steps, kd.mean) == ("KD", (10, 20), pytest.approx([61.0, 71.0]))
    assert kd.spread == pytest.approx([np.sqrt(2)] * 2)
    assert lgtm_.steps == (10,)  # those that both seeds have
    assert kd.look == line_styles.of_row(study, "kd")
    assert "Lines: mean over 2 seeds; bands: one sample standard deviation to each side." in found.notes
    (lost,) = (note for note in found.notes if note.startswith("Left out"))  # the teachers wrote down nothing
    assert lost.count("finetune") == 4


def test_scores_are_those_of_table_1(tmp_path: Path) -> None:
    study = only(full(tmp_path, seeds=(0, 1)))
    found = FigureScores().build_panels(study, study.tasks)
    assert [panel.title.partition(",")[0] for panel in found.panels] == [TASKS.get(t).title for t in study.tasks]
    rows = {row.label: row for row in found.panels[0].estimates}
    assert list(rows) == ["Teacher", "Fine-tuning", "KD", "DML", "LGTM", "LGTM (released code)"]
    assert rows["KD"].seeds == pytest.approx({0: 72.0, 1: 72.0 + 100 / 331})
    assert rows["KD"].mean == pytest.approx(72.0 + 50 / 331)
    assert rows["KD"].interval is None
    assert any(note.startswith("No interval, for want of predictions: Teacher on MRPC; ") for note in found.notes)


@pytest.mark.parametrize(("seeds", "said"), [((0,), "of one seed."), ((0, 1), "white dots: the seeds.")])
def test_white_dots_are_explained_where_they_are(seeds: tuple[int, ...], said: str, tmp_path: Path) -> None:
    study = only(trained(tmp_path, seeds))
    (note,) = (note for note in FigureScores().build_panels(study, ["rte"]).notes if note.startswith("Marks: "))
    assert note.endswith(said)


def test_intervals_count_items_and_seeds(tmp_path: Path) -> None:
    study = only(compared(tmp_path).store)
    task = study.tasks[0]
    found = FigureScores().build(study, task)
    row = next(row for row in found.panels[0].estimates if row.label == "KD")
    cells = [cell for cell in study.of("kd", task) if cell.run.result is not None]
    assert row.interval is not None
    low, high = row.interval
    assert 0 <= low < row.mean < high <= 100
    assert row.interval == pytest.approx(np.clip(mean_score(TASKS.get(task)(), cells).interval(), 0, 100))
    assert any("both items, by bootstrap" in note for note in found.notes)


def test_intervals_end_where_the_scale_of_the_metric_does(tmp_path: Path) -> None:
    """Matthews' correlation goes from -100 to 100, accuracy from 0."""
    made = Made(Store(tmp_path))
    for seed, skill in ((0, -0.9), (1, 0.1)):  # two seeds far apart: 12.7 standard errors to each side
        for task in ("cola", "rte"):
            predict(made, made.ask(spec("kd", task, seed)), skill, seed)
    (study,) = studies(made.write())
    found = {task: FigureScores().build(study, task).panels[0].estimates[0] for task in study.tasks}
    assert found["cola"].interval == (-100.0, 100.0)
    assert found["rte"].interval == (0.0, 100.0)


def test_of_one_seed_the_error_is_that_of_its_items() -> None:
    """A quarter of 400 items wrong: the binomial standard error is 2.17 points."""
    from kdbench.results.significance import paired_difference, resample_scores

    labels = np.zeros(400, dtype=np.int64)
    predicted = labels.copy()
    predicted[:100] = 1
    scores = resample_scores(
        lambda counts: counts.hits[..., 0] / counts.actual.sum(-1), labels, predicted[None], 2, np.random.default_rng(0)
    )
    found = paired_difference(100 * scores[0], 100 * scores[1:])
    assert found.value == 75
    assert np.sqrt(found.variance) == pytest.approx(100 * np.sqrt(0.75 * 0.25 / 400), rel=0.06)


@pytest.mark.parametrize("kind", [FigureCurves, FigureScores])
def test_a_study_without_finished_runs_lacks_them(kind: type[TaskFigure], tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.ask(spec("kd", "rte", 0))
    with pytest.raises(Lacking, match="any row on RTE"):
        kind().build(only(made.write()), "rte")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), [("curves", "pdf"), ("scores", "svg"), ("scores", "csv")])
def test_files_are_the_same_every_time(name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = trained(tmp_path / "results")
    draw(name, store, out=f"a.{form}")
    draw(name, store, out=f"b.{form}")
    assert Path(f"a.{form}").read_bytes() == Path(f"b.{form}").read_bytes()
    assert draw(name, store).startswith(f"Wrote {name}.pdf: Figure {name}: ")


def test_csv_holds_what_is_drawn(tmp_path: Path) -> None:
    store = compared(tmp_path).store
    study = only(store)
    rows = list(csv.DictReader(draw("scores", store, form="csv").splitlines()))
    panels = zip(study.tasks, FigureScores().build_panels(study, study.tasks).panels, strict=True)
    expected = [
        (task, row.label, seed, value, row.mean, *(row.interval or ()))
        for task, panel in panels for row in panel.estimates for seed, value in row.seeds.items()
    ]  # fmt: skip
    found = [
        (r["task"], r["curve"], int(r["seed"]), *(float(r[k]) for k in ("value", "mean", "low", "high"))) for r in rows
    ]
    assert found == expected


def test_a_confusion_matrix_counts_the_items_of_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = compared(tmp_path / "results", ("rte", "mnli"), seeds=(0, 1))
    (study,) = studies(made.store)
    (picture,) = find_figures("confusion", made.store, FigureChoice(tasks="mnli", methods="kd"))
    (panel,) = picture.panels
    assert panel.matrix is not None
    assert panel.title == "KD on MNLI"
    assert panel.matrix.labels == TASKS.get("mnli").labels
    counts = np.zeros((3, 3), int)
    for cell in study.of("kd", "mnli"):
        for split in ("validation_matched", "validation_mismatched"):
            found = cell.run.predictions[split]
            for true, predicted in zip(found.labels, found.classes, strict=True):
                counts[true, predicted] += 1
    assert np.array(panel.matrix.counts).tolist() == counts.tolist()
    np.testing.assert_allclose(panel.matrix.shares, counts / counts.sum(1, keepdims=True))
    records = list(picture.records)
    assert [record["count"] for record in records] == counts.ravel().tolist()
    assert {(record["row"], record["task"]) for record in records} == {("kd", "mnli")}
    # a file for each row and task, the teacher among the rows where none is named
    monkeypatch.chdir(tmp_path)
    chosen: tuple[tuple[dict[str, str], list[str]], ...] = (
        ({"methods": "kd,dml", "tasks": "rte"}, ["c-dml", "c-kd"]),
        ({"methods": "kd,teacher"}, ["c-mnli-kd", "c-mnli-teacher", "c-rte-kd", "c-rte-teacher"]),
    )
    for words, files in chosen:
        draw("confusion", made.store, out=f"{len(files)}/c.svg", **words)
        assert sorted(path.stem for path in (tmp_path / str(len(files))).iterdir()) == files
    text = (tmp_path / "2" / "c-kd.svg").read_text()
    for word in ("KD on RTE", "not_entailment", "True class", "Predicted class"):
        assert word in text
    assert f"{study_counts(study, 'rte')[0]:,}" in text


def test_rows_without_a_confusion_matrix_are_named(tmp_path: Path) -> None:
    made = compared(tmp_path, ("rte",), seeds=(0, 1))
    (study,) = studies(made.store)
    study.of("dml", "rte")[1].run.folder.predictions.unlink()
    (picture,) = find_figures("confusion", made.store, FigureChoice(tasks="rte", methods="kd,dml"))
    assert picture.about["row"] == "kd"
    assert "Left out, for a seed without predicted classes: DML on RTE." in picture.notes


def test_a_study_without_a_task_that_was_asked_for_lacks_nothing(tmp_path: Path) -> None:
    made = compared(tmp_path, ("rte",), seeds=(0,))
    predict(made, made.ask(spec("kd", "mrpc", 0, split_seed=1)), 0.5, 0)
    store, choice = made.write(), FigureChoice(tasks="mrpc")
    drawn, *said = drawable_figures(FIGURES.get("figure_scores")(), ChosenStudies(studies(store)), choice)
    assert [one.about["task"] for one in drawn] == ["mrpc"]
    assert said == ["", ""]


def study_counts(study: StudyResults, task: str) -> list[int]:
    """The numbers of KD's matrix on a task."""
    matrix = count_classes(select_row(study, "kd"), task)
    assert matrix is not None
    return [number for row in matrix.counts for number in row]


def test_more_matrices_than_anybody_looks_at_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = compared(tmp_path / "results", seeds=(0,)).store  # four rows and the teacher on three tasks
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a file for each row and task, here 15; choose at most 12 "):
        draw("confusion", store)
    assert "Not drawn: Figure confusion is a file for each row and task, here 15" in draw("all", store, form="csv")


def test_a_matrix_without_predictions_is_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"Figure confusion needs finished runs of any row on .* with predictions"):
        draw("confusion", full(tmp_path / "results", seeds=(0,)), tasks="rte")


@pytest.mark.parametrize(("classes", "wide"), [(2, False), (77, True)])
def test_labels_of_a_matrix_can_be_read(classes: int, wide: bool) -> None:
    """Each has a place of its own, none is below 3.5 points, and the figure is as wide as that takes."""
    labels = tuple(f"class_with_a_long_name_{i}" for i in range(classes))
    matrix = Matrix("KD", labels, tuple(tuple(int(i == j) for j in range(classes)) for i in range(classes)))
    picture = FigureData("t", [Panel("True class", matrix=matrix, x_title="Predicted class")])
    figure = matplotlib_figure.draw(picture, 3.3)
    assert bool(figure.get_size_inches()[0] > 3.4) is wide
    figure.canvas.draw()
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.get_yticklabels()]
    assert len(boxes) == classes
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))
    assert min(text.get_fontsize() for text in axes.get_yticklabels()) >= 3.5
    assert min(box.x0 for box in boxes) >= 0


def test_tasks_are_chosen_and_those_without_runs_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = trained(tmp_path / "results")
    text = draw("scores", store, tasks="rte,mrpc", form="svg")
    assert "preset bert-6l, RTE." in text
    assert "Not drawn: Figure scores needs finished runs on MRPC; run: kdbench run --for figure_scores" in text
    with pytest.raises(UserError, match="needs finished runs on QNLI"):
        draw("curves", store, tasks="qnli")


def test_what_no_training_brings_back_is_no_command(tmp_path: Path) -> None:
    """All runs are done: without logits, and of one row alone."""
    made = Made(Store(tmp_path / "results"))
    made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    store = made.write()
    for wish in ({}, {"tasks": "rte"}):
        with pytest.raises(UserError) as said:
            draw("reliability", store, **wish)
        assert str(said.value) == (
            "Figure reliability needs finished runs of any row on RTE with logits, and those that are done have none."
        )
    with pytest.raises(UserError, match=r"^Figure ranks needs finished runs of two rows or more, .* among RTE; run: "):
        draw("ranks", store)


def many(count: int, panels: int) -> FigureData:
    """Long labels in many panels."""
    rows = [
        Estimate(f"LGTM (as released, {i})", line_styles.TEACHER, {0: 50.0 + i, 1: 51.0}, 50.0 + i, (40.0, 100.0))
        for i in range(count)
    ]
    return FigureData(
        "t", [Panel("Score (%)", title="MNLI, m/mm", estimates=rows, limits=(39.0, 101.0))] * panels, 3, 2
    )


@pytest.mark.slow
@pytest.mark.parametrize(("panels", "width"), [(1, 2.5), (5, 3.3), (6, 6.8)])
def test_nothing_is_cut_off(panels: int, width: float) -> None:
    boxes(many(13, panels), width)


@pytest.mark.parametrize("width", [2.5, 3.3, 6.8])
def test_no_curve_is_cut_off(width: float, tmp_path: Path) -> None:
    boxes(FigureCurves().build_panels(only(trained(tmp_path)), ["rte", "sst2"]), width)


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (2, 2)])
def test_a_long_legend_leaves_room_for_the_panels(panels: int, columns: int) -> None:
    """And a label is no longer than its axis."""
    from kdbench.reporting.formats import matplotlib_figure as paper

    look = line_styles.TEACHER
    curves = [Curve(f"LGTM (as released, {i})", look, (1, 2), (1.0, 2.0), {0: (float(i), 2.0)}) for i in range(15)]
    panel = Panel("Selection score (%)", curves, "RTE, Acc.", by_step=True)
    with paper._style():
        figure = paper._draw(FigureData("t", [panel] * panels, columns, columns), 3.3)
        figure.canvas.draw()
        axes = figure.axes[0]
        height = axes.get_window_extent().height
        assert height / figure.dpi > (1.3 if panels == 1 else 0.7)
        assert axes.yaxis.label.get_window_extent().height < 1.05 * height
