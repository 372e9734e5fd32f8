"""Captions, labels and notes of tables."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kdbench.core.errors import UserError
from kdbench.reporting.formats.latex import latex
from kdbench.reporting.formats.presentation import Presentation
from kdbench.reporting.formats.text import render
from kdbench.reporting.show_table import show_table
from kdbench.reporting.study_choice import EVERYTHING
from kdbench.reporting.tables import Detail, TableCell, TableData
from kdbench.results.store import Store
from tests.analysis.made import STUDY, Made, full, spec
from tests.analysis.typeset import PREAMBLES, check_latex, typeset

CAPTION = r"Scores on \textsc{Glue} in \%, $\alpha_1 = 0.6$; see Section \ref{s}"
WARNING, DETAIL = "° Not the best.", Detail("All runs shown: epochs=5.")


def sheet(title: str = "Table 1, preset tiny: a_b teaches c") -> TableData:
    return TableData(title, ["", "MRPC"], [[TableCell(("KD",)), TableCell(("1.0",))]], notes=[WARNING, DETAIL])


def rendered(sheets: list[TableData], form: str, **options: Any) -> str:
    out = io.StringIO()
    render(sheets, form, Console(file=out, width=100), Presentation(**options))
    return out.getvalue()


def test_the_caption_is_the_users_latex_and_all_else_is_escaped() -> None:
    text = latex(sheet(), Presentation(caption=CAPTION, label="tab:main"))
    check_latex(text)
    assert rf"\caption{{{CAPTION}}}\label{{tab:main}}" in text
    plain = latex(sheet())
    assert r"\caption{Preset tiny: a\_b teaches c}" in plain
    assert r"\label" not in plain


@pytest.mark.parametrize("form", ["terminal", "markdown"])
@pytest.mark.parametrize(("kind", "kept"), [("full", [WARNING, DETAIL]), ("short", [WARNING]), ("none", [])])
def test_short_notes_are_those_that_it_takes_to_read_the_numbers(form: str, kind: str, kept: list[str]) -> None:
    text = rendered([sheet()], form, notes=kind)
    assert [note for note in (WARNING, DETAIL) if note in text] == kept


def test_latex_keeps_as_comments_what_it_does_not_print() -> None:
    text = rendered([sheet()], "latex", notes="short")
    head, body = text.split(r"\begin{table*}")
    assert f"% Note: {DETAIL}" in head
    assert "All runs shown" not in body
    assert r"$^{\circ}$ Not the best." in body
    assert "minipage" not in rendered([sheet()], "latex", notes="none")


def test_several_tables_have_labels_of_their_own_and_no_common_caption() -> None:
    text = rendered([sheet(), sheet()], "latex", label="tab:x")
    assert [r"\label{tab:x-1}" in text, r"\label{tab:x-2}" in text, r"\label{tab:x}" in text] == [True, True, False]
    with pytest.raises(UserError, match="--caption is for one table, and there are 2"):
        rendered([sheet(), sheet()], "latex", caption="x")


def test_of_a_table_that_goes_on_only_the_first_part_has_the_label() -> None:
    long = sheet()
    long.rows *= 40
    text = latex(long, Presentation(caption="Mine", label="tab:x"))
    assert text.count(r"\label{") == 1
    assert text.index(r"\label{tab:x}") < text.index(r"\caption{Mine (continued)}")


@pytest.mark.parametrize(
    ("form", "options", "sentence"),
    [
        ("terminal", {"caption": "x"}, "^Only LaTeX has --caption; give --format latex .*, not terminal"),
        ("markdown", {"label": "x", "caption": "x"}, "^Only LaTeX has --caption and --label; "),
        ("csv", {"notes": "none"}, "^CSV has no notes"),
        ("latex", {"notes": "brief"}, "Unknown kind of notes 'brief'. Valid: full, none, short"),
        ("latex", {"label": "a b"}, "is no label"),
        ("latex", {"label": "a}b"}, "is no label"),
        ("latex", {"caption": "50% off"}, r"write \\%"),
        ("latex", {"caption": r"\\% off"}, r"write \\%"),
        ("latex", {"caption": "a}{b"}, "braces that do not match"),
        ("latex", {"caption": r"{\}"}, "braces that do not match"),
        ("latex", {"caption": "a\n \nb"}, "an empty line"),
        ("latex", {"caption": " "}, "is empty"),
    ],
)
def test_one_sentence_for_each_mistake(form: str, options: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence) as caught:  # before it is seen that there are no results
        show_table("1", Store(tmp_path), EVERYTHING, form, Console(), presentation=Presentation(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("caption", [r"50\,\% of \{x\}", r"\textbf{a} \\ b", r"\\\% c"])
def test_sound_captions_pass(caption: str) -> None:
    Presentation(caption=caption).check("latex")


@pytest.mark.parametrize("kind", PREAMBLES)
def test_it_compiles(kind: str, tmp_path: Path) -> None:
    texts = [latex(sheet(), Presentation(CAPTION, "tab:main", notes)) for notes in ("full", "short", "none")]
    assert typeset("".join(texts), kind, tmp_path) == []


def test_what_warns_is_in_short_notes(tmp_path: Path) -> None:
    """That the split which selects is reported, learned-from splits, made data, holes and unequal settings."""
    made = Made(Store(tmp_path), study={**STUDY, "selection": "validation", "feedback": "validation",
                                        "source": "generated"})  # fmt: skip
    for seed in (0, 1):
        wanted = spec("lgtm", "rte", seed, feedback="validation", selection="validation")
        made.done(made.ask(wanted), 0.7 + seed / 10)
    made.done(made.ask(spec("kd", "rte", 0, epochs=9, selection="validation")), 0.6)
    made.ask(spec("kd", "rte", 1, epochs=9, selection="validation"))
    out = io.StringIO()
    show_table("1", made.write(), EVERYTHING, "markdown", Console(file=out), presentation=Presentation(notes="short"))
    for words in ("optimistic", "† Learned from feedback on the reported split", "Made data", "Not finished: KD",
                  "Rows differ in epochs", "sample standard deviation"):  # fmt: skip
        assert words in out.getvalue()
    for words in ("Paired by seed", "To train what is missing", "All runs shown"):
        assert words not in out.getvalue()


def test_full_notes_are_what_tables_have(tmp_path: Path) -> None:
    store, plain, asked = full(tmp_path), io.StringIO(), io.StringIO()
    show_table("1", store, EVERYTHING, "markdown", Console(file=plain))
    show_table("1", store, EVERYTHING, "markdown", Console(file=asked), presentation=Presentation(notes="full"))
    assert plain.getvalue() == asked.getvalue()
    assert "Grid points have the most finished seeds" in plain.getvalue()
