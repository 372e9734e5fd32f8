"""Every output in LaTeX: it compiles, it is no wider than a page, and it prints what was in the results."""

from __future__ import annotations

import datetime
import functools
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.analysis.audit import PublishedTables
from kdbench.reporting import compare_rows
from kdbench.reporting.formats.latex import latex, tex
from kdbench.reporting.show_table import show_table
from kdbench.reporting.study_choice import EVERYTHING
from kdbench.reporting.tables import TABLES, TableCell, TableData
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.submission_records import ServerAnswer
from tests.analysis import made as titles
from tests.analysis.made import STUDY, Made, full, spec, teacher
from tests.analysis.test_tables import USUAL, everything
from tests.analysis.typeset import PREAMBLES, check_latex, tables, typeset
from tests.commands.test_compare import study as compared
from tests.conftest import one_fast

HOSTILE = r"50% & _more_ #1 {x} \ ~ ^ $"
NASTY = rf"{HOSTILE} 50 % of a_b & c#d $e$ ~g ^h \i <j> |k| † ‡ ± – … ≤ β --for 'a' `b` -1.5 3e-5"
GLUE = ("mrpc", "rte", "sst2", "mnli", "qnli", "qqp")
VARIED = {"kd_loss": ("kl", "dist", "mse"), "teacher_ce": (1.0, 0.8, 0.4)}


def wide(root: Path) -> Store:
    """Every table on all tasks with spreads: as wide and as high as they get."""
    made = Made(Store(root))
    for preset in ("bert-6l", "bert-4l"):
        made = Made(made.store, preset)
        for task in GLUE:
            for seed in (0, 1):
                _one_seed(made, task, seed)
        made.write(preset, f"2026-01-0{preset[-2]}T00:00:00+0000")
    return made.store


def _one_seed(made: Made, task: str, seed: int) -> None:
    parent = made.done(made.need(teacher(task, seed)), 0.9 + seed / 31)
    for row in (titles.TITLES | titles.MORE_TITLES).keys() - {"lgtm"}:
        needs = {"teacher": parent} if row == "kd" else {}
        wanted = spec(row.partition("_")[0], task, seed, options={**USUAL, "of": row}, needs=needs)
        made.done(made.ask(wanted, row), 0.8 + seed / 29)
    for key, values in VARIED.items():
        for value in values:
            wanted = spec("lgtm", task, seed, options={**USUAL, key: value}, feedback="train:0.1")
            made.done(made.ask(wanted, varies={key: value}), 0.7 + seed / 23)
    made.done(made.ask(spec("lgtm", task, seed, options=USUAL, feedback="train:0.1")), 0.7 + seed / 23)


def printed(number: str, store: Store, *, paper: bool = False) -> str:
    out = io.StringIO()
    show_table(number, store, EVERYTHING, "latex", Console(file=out), published=paper)
    return out.getvalue()


def scored(root: Path) -> str:
    """Table 1 as a server scored it, with scores of one task lacking."""
    (study,) = studies(full(root, seeds=(0, 1)))
    day = datetime.date(2026, 1, 31)
    scores = {
        run.id: ServerAnswer(day, {file.split: dict.fromkeys(kind.metrics, 71.25) for file in kind.server_files})
        for run in study.runs.values()
        for kind in [titles.TASKS.get(run.spec.task)]
        if run.spec.task != "rte" or run.spec.method == "kd"
    }
    sheet = TABLES.get("table1")().tested(study, scores)
    assert sheet is not None
    return latex(sheet)


def beside_another(root: Path) -> str:
    out = io.StringIO()
    compare_rows.show_comparison(("kd", "lgtm"), compared(root).store, EVERYTHING, "latex", Console(file=out))
    return out.getvalue()


def marked(root: Path) -> str:
    text = printed("1", compared(root).store)
    assert r"\rlap{$^{\circ}$}" in text
    return text


def hostile(root: Path) -> str:
    """A method, a teacher and notes of nothing but special characters."""
    made = Made(Store(root), study={**STUDY, "teacher": HOSTILE, "student": HOSTILE})
    made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(titles.TITLES, "kd", (HOSTILE, 1))
        return printed("1", made.write()) + latex(nasty())


def nasty() -> TableData:
    made = TableData(f"title {NASTY}", ["", NASTY, "b\nc"], notes=[NASTY], rules={1})
    for i in range(2):
        made.rows.append(
            [TableCell((NASTY,)), TableCell(("1.0", "2.0"), ("0.1", "0.2"), best=bool(i)), TableCell(("–",))]
        )
    return made


MADE: dict[str, Callable[[Path], str]] = {
    "all tables": lambda root: printed("all", wide(root)),
    "all tables beside the paper": lambda root: printed("all", wide(root), paper=True),
    "with holes": lambda root: printed("all", everything(root)),
    "with holes beside the paper": lambda root: printed("all", everything(root), paper=True),
    "marked": marked,
    "of the test server": scored,
    "compare": beside_another,
    "audit": lambda _: "\n".join(map(latex, PublishedTables().sheets())),
    "hostile": hostile,
}


@pytest.fixture(scope="module")
def text_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The LaTeX of one of MADE, made when a test first asks for it."""
    return functools.cache(lambda name: MADE[name](tmp_path_factory.mktemp("made")))


@pytest.mark.parametrize("name", one_fast(MADE, "hostile"))
def test_it_is_sound_latex(name: str, text_of: Callable[[str], str]) -> None:
    found = tables(text_of(name))
    assert text_of(name).count("table*}") == 2 * len(found) > 0
    for table in found:
        check_latex(table)


@pytest.mark.latex
@pytest.mark.parametrize("kind", PREAMBLES)
def test_it_compiles_and_fits(kind: str, text_of: Callable[[str], str], tmp_path: Path) -> None:
    assert typeset("".join(map(text_of, MADE)), kind, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all tables", "all tables beside the paper"])
def test_all_seven_are_there(name: str, text_of: Callable[[str], str]) -> None:
    for number in range(1, 8):
        assert f"% Table {number}" in text_of(name)


def test_special_characters() -> None:
    assert tex(r"\a_{b}") == r"\textbackslash{}a\_\{b\}"
    assert tex("-1.5 to -0.5, 3e-5, 0-4, run --for x") == r"$-$1.5 to $-$0.5, 3e-5, 0-4, run -{}-for x"
    assert "\n{}*a & " in latex(TableData("", ["", "b"], [[TableCell(("*a",)), TableCell(("1",))]]))


@pytest.mark.slow
def test_a_high_table_goes_on_with_the_same_number(text_of: Callable[[str], str]) -> None:
    first, second, *_ = tables(text_of("all tables beside the paper"))
    assert "begin{minipage}" not in first
    assert r"\addtocounter{table}{-1}" in second
    assert "(continued)" in second
    assert second.partition(r"\midrule")[2].lstrip()[:1].isupper()  # a row, and none that is indented below one
