"""The files that become of figures: whole, readable, the same every time; and one sentence for each mistake."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.core.errors import UserError
from kdbench.core.records import warn_once
from kdbench.reporting.figures import Curve, FigureData, Panel
from kdbench.reporting.formats import line_styles
from kdbench.reporting.show_figure import FigureChoice, file_suffixes, show_figure
from kdbench.results.store import Store
from tests.analysis.drawn import everything, finish, influences, lgtm, picture, samples
from tests.analysis.made import STUDY, Made, spec


def draw(number: str, store: Store, **wish: str) -> str:
    file = io.StringIO()
    show_figure(number, store, FigureChoice(**wish), Console(file=file, width=200, highlight=False))
    return file.getvalue()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    return everything(tmp_path / "results")


@pytest.mark.slow
@pytest.mark.parametrize("number", ["2", "3", "4", "5", "6"])
def test_every_figure_draws(number: str, store: Store) -> None:
    text = draw(number, store)
    assert text.startswith(f"Wrote figure{number}.pdf: Figure {number}: ")
    assert "Made data" in text
    assert Path(f"figure{number}.pdf").read_bytes().startswith(b"%PDF")


MAGIC = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.mark.slow
@pytest.mark.parametrize("form", MAGIC)
def test_drawn_twice_is_the_same_bytes(form: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    draw("4", store, out=f"a.{form}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    draw("4", store, out=f"b.{form}")
    assert Path(f"a.{form}").read_bytes() == Path(f"b.{form}").read_bytes()
    assert Path(f"a.{form}").read_bytes().startswith(MAGIC[form])


@pytest.mark.slow
def test_fonts_are_embedded_as_truetype(store: Store) -> None:
    draw("2", store, out="f.pdf")
    data = Path("f.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    assert b"/CreationDate" not in data


def test_svg_holds_letters_and_the_sentence_about_made_data(store: Store) -> None:
    import matplotlib

    draw("5", store, out="f.svg")
    assert ">Made data: these numbers say nothing about the methods.<" in Path("f.svg").read_text()
    assert matplotlib.rcParams["svg.fonttype"] == "path"  # drawing leaves no trace


@pytest.mark.slow
@pytest.mark.parametrize(("width", "inches"), [("column", 3.3), ("page", 6.8), ("5.5", 5.5)])
def test_the_width_is_the_width(width: str, inches: float, store: Store) -> None:
    draw("2", store, out="f.png", width=width)
    assert int.from_bytes(Path("f.png").read_bytes()[16:20]) == round(300 * inches)


def boxes(picture: FigureData, width: float) -> None:
    """Nothing is cut off, and no two labels of an axis touch."""
    from kdbench.reporting.formats import matplotlib_figure as paper

    with paper._style():
        figure = paper._draw(picture, width)
        figure.canvas.draw()
        page = figure.bbox
        inside = figure.get_tightbbox()
        assert inside.x0 >= -0.02
        assert inside.x1 * figure.dpi <= page.x1 + 2
        assert inside.y0 >= -0.02
        assert inside.y1 * figure.dpi <= page.y1 + 2
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                texts = [t for t in axis.get_ticklabels() if t.get_text() and t.get_visible()]
                extents = [t.get_window_extent() for t in texts]
                assert not any(a.overlaps(b) for a, b in pairwise(extents))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "task", "width"),
    [(2, "mnli", 2.5), (3, "mrpc", 3.3), (4, "mrpc", 2.5), (5, "sst2", 6.8), (6, "mnli", 3.3)],
)
def test_nothing_is_cut_off(number: int, task: str, width: float, store: Store) -> None:
    boxes(picture(number, store, task), width)


@pytest.mark.parametrize(("letters", "missing"), [("x", ""), ("Ⓐ", ""), ("\U0010fffd", "\U0010fffd")])
def test_letters_come_from_a_font_that_has_them(
    letters: str, missing: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """From matplotlib's own fonts, of which the usual one lacks a letter in a circle; what none has is told once."""
    from kdbench.reporting.formats import matplotlib_figure as paper

    warn_once.cache_clear()
    curve = Curve("a", line_styles.TEACHER, (0, 1), (0.0, 1.0), {0: (0.0, 1.0)})
    paper.save(FigureData("t", [Panel(f"On {letters}", [curve])]), tmp_path / "f.pdf", "pdf", 3.3)
    assert [f"No installed font has {missing}, so that the figure has boxes" in said for said in caplog.messages] == [
        True
    ] * bool(missing)
    assert not recwarn.list
    assert (tmp_path / "f.pdf").read_bytes().count(b"/FontFile") == (1 if letters == "x" else 2)  # or one of boxes


@pytest.mark.parametrize("size", [1e-7, 1e-3, 1.0, 1e6])
def test_small_and_large_numbers_keep_short_ticks(size: float) -> None:
    from kdbench.reporting.formats import matplotlib_figure as paper

    curve = Curve("a", line_styles.TEACHER, (0, 1, 2), (0.0, 1.0, 2.0), {0: (0.0, 0.4 * size, size)})
    with paper._style():
        figure = paper._draw(FigureData("t", [Panel("Gap", [curve])]), 3.3)
        figure.canvas.draw()
        (axes,) = figure.axes
    assert max(len(t.get_text()) for t in axes.get_yticklabels()) <= 5
    assert ("times" in axes.get_ylabel()) == (size != 1.0)
    assert not axes.yaxis.get_offset_text().get_text()


def test_csv_holds_the_plotted_points(store: Store) -> None:
    draw("2", store, out="points.csv")
    with Path("points.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    found = picture(2, store, "mnli")
    assert len(records) == 3 * 2 * 2 * 3  # panels, methods, seeds, evaluations
    for panel in found.panels:
        for curve in panel.curves:
            mine = [
                r for r in records
                if r["panel"] == panel.y_label.replace("\n", " ") and r["curve"] == curve.label and r["seed"] == "1"
            ]  # fmt: skip
            assert [float(r["epoch"]) for r in mine] == list(curve.epochs)
            assert [float(r["value"]) for r in mine] == list(curve.values[1])
            assert [float(r["mean"]) for r in mine] == curve.mean
            assert [float(r["sd"]) for r in mine] == curve.spread
    assert {r["source"] for r in records} == {"generated"}


def test_csv_without_a_file_is_printed(store: Store) -> None:
    text = draw("4", store, form="csv")
    assert text.startswith("preset,")
    assert {row["sample"] for row in csv.DictReader(text.splitlines())} == {"", "100", "101", "102", "103", "104"}
    assert not Path("figure4.csv").exists()


@pytest.mark.slow
def test_several_studies_are_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, feedback in (("a", "train:0.1"), ("b", "validation")):
        made = Made(Store(tmp_path / "results"), study={**STUDY, "feedback": feedback})
        finish(made, lgtm("mrpc", 0 if name == "a" else 1), influences([1] * 5, samples()))
        finish(made, lgtm("rte", 0 if name == "a" else 1), influences([1] * 5, samples()))
        store = made.write(name, f"2026-01-0{len(name)}T00:00:00")
    draw("4", store, out="f.svg")
    assert {p.name for p in tmp_path.glob("*.svg")} == {"f-train-0.1.svg", "f-validation.svg"}
    draw("4", store, out="g.svg", tasks="mrpc,rte")
    assert {p.name for p in tmp_path.glob("g*.svg")} == {
        f"g-{feedback}-{task}.svg" for feedback in ("train-0.1", "validation") for task in ("mrpc", "rte")
    }  # fmt: skip


def test_names_of_files_differ() -> None:
    assert file_suffixes([{"a": 1}]) == [""]
    assert file_suffixes([{"a": 1, "b": "x/y"}, {"a": 1, "b": "z"}]) == ["-x-y", "-z"]
    assert file_suffixes([{"a": 1}, {"a": 1}]) == ["-1", "-2"]


@pytest.mark.slow
def test_all_draws_what_there_is_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Made(Store(tmp_path / "results"))
    finish(made, lgtm("mrpc", 0), influences([1] * 5, samples()))
    text = draw("all", made.write(), form="svg", out="drawn")
    assert {p.name for p in Path("drawn").iterdir()} == {"figure3.svg", "figure4.svg", "scores.svg"}
    assert text.count("Not drawn: ") == 9
    assert "Figure curves needs finished runs" in text
    assert "Figure pareto needs measured networks; where the runs are, run: kdbench measure\n" in text
    assert "Figure 5 needs finished runs of ProKT: One stage and ProKT: Two stages on SST-2; " in text
    assert "run: kdbench run --for figure5 --preset bert-6l" in text


@pytest.mark.parametrize(
    ("number", "wish", "sentence"),
    [
        (
            "7",
            {},
            "Unknown figure '7'.* Valid: 2, 3, 4, 5, 6, all, confusion, curves, pareto, ranks, reliability, risk-c",
        ),
        ("1", {}, "Unknown figure '1'"),
        ("2", {"form": "jpg"}, "Unknown format 'jpg'.* Valid: csv, pdf, png, svg"),
        ("2", {"out": "a.tiff"}, "Unknown format 'tiff'"),
        ("2", {"out": "a.pdf", "form": "svg"}, "leave one of them out"),
        ("2", {"width": "wide"}, "column, page, or 2.5 to 20"),
        ("2", {"width": "0.5"}, "column, page, or 2.5 to 20"),
        ("2", {"width": "nan"}, "column, page, or 2.5 to 20"),
        ("2", {"preset": "huge"}, "Unknown preset 'huge'"),
        ("2", {"preset": "minilm"}, "run: kdbench run --for figure2 --preset minilm"),
        ("2", {"tasks": "mrp"}, "Unknown task 'mrp'"),
        ("2", {"tasks": "rte"}, "needs finished runs of .* on RTE; run: kdbench run --for figure2 .* --tasks rte"),
        ("all", {"out": "a.pdf"}, "names a folder"),
    ],
)
def test_one_sentence_for_each_mistake(number: str, wish: dict[str, str], sentence: str, store: Store) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        draw(number, store, **wish)
    assert "\n" not in str(caught.value)
    assert not [p for p in Path().iterdir() if p.suffix in (".pdf", ".svg", ".tiff")]


def test_all_without_any_run_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Made(Store(tmp_path / "results"))
    made.ask(lgtm("mrpc", 0))
    with pytest.raises(
        UserError, match=r"run --for figure2,.*,figure6 --preset bert-6l --seeds 0 .*--results"
    ) as caught:
        draw("all", made.write())
    assert "\n" not in str(caught.value)
    assert not Path("figures").exists()


def test_of_several_tasks_those_without_runs_are_named(store: Store) -> None:
    text = draw("6", store, tasks="mnli,rte", form="svg")
    assert "Wrote figure6.svg" in text
    assert "Not drawn: Figure 6 needs finished runs of LGTM: Teacher first" in text
    assert "on RTE; run: kdbench run --for figure6 --preset bert-6l --tasks rte --seeds " in text
    with pytest.raises(UserError, match="on RTE"):
        draw("6", store, tasks="mnli,rte", form="csv")


def test_only_tasks_that_can_be_drawn_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Made(Store(tmp_path / "results"))
    finish(made, lgtm("rte", 0), influences([1] * 5, samples()))
    finish(made, lgtm("sst2", 0), [])
    with pytest.raises(UserError, match=r"LGTM on MRPC; run: .*, or draw another task with --tasks \(rte\)\.$"):
        draw("4", made.write())


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    ["kdbench.cli.app", "kdbench.reporting.figures", "kdbench.reporting.show_figure", "kdbench.analysis.figure3"],
)
def test_matplotlib_is_not_loaded_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", ["3", "all"])
def test_of_several_studies_those_without_the_runs_are_named(number: str, store: Store) -> None:
    """Also beside the points as CSV, which are those of the others."""
    before = draw("3", store, form="csv")
    other = Made(store, study={**STUDY, "feedback": "validation"})
    other.ask(spec("lgtm", "mrpc", 0, feedback="validation"))
    other.write("other", "2027-01-01T00:00:00+0000")
    text = draw(number, store)
    assert "Wrote " in text
    assert "Not drawn: Figure 3 of preset bert-6l with feedback validation, selection train:0.1: " in text
    assert draw("3", store, form="csv") == before
