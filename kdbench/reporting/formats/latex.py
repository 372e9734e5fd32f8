"""Sheets as LaTeX tables (booktabs)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeVar
from unicodedata import category

from kdbench.core.formatting import sentence
from kdbench.reporting.formats.presentation import PLAIN, Presentation
from kdbench.reporting.tables import TableCell, TableData

GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "η": "eta", "θ": "theta",
         "κ": "kappa", "λ": "lambda", "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "varphi",
         "ω": "omega", "Δ": "Delta"}  # fmt: skip
SPECIAL = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
           "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
           "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
           "±": r"$\pm$", "†": r"$^{\dagger}$",
           "‡": r"$^{\ddagger}$", "§": r"$^{\S}$", "¶": r"$^{\P}$", "°": r"$^{\circ}$", "–": "--", "×": r"$\times$",
           "≤": r"$\leq$", "≥": r"$\geq$", "²": r"$^{2}$", "…": r"\ldots{}",
           "--": r"-{}-", "\N{MINUS SIGN}": "$-$",
           **{letter: rf"$\{name}$" for letter, name in GREEK.items()}}  # fmt: skip
FOUND = re.compile("|".join(map(re.escape, SPECIAL)))
MINUS = re.compile(r"(?<![\w.-])-(?=\d)")  # not of 3e-5, 0-4, 2026-01-31
NUMBERED = re.compile(r"Table \d+, ")
PAGE = 31  # lines of a body; with head and notes more are too high for a page
SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # where it is wider than the page
RULE = r"\midrule"
LATIN = 0x24F  # the last letter that pdfLaTeX's usual fonts may have
T = TypeVar("T")


def latex(sheet: TableData, presentation: Presentation = PLAIN) -> str:
    """Write a table at most as wide as the page, its notes below; a second float takes what is too high for a page.

    Comments say what the document needs, and the notes that the table leaves out.
    """
    parts, (kept, left_out) = _parts(sheet), presentation.divide(sheet.notes)
    comments = [
        rf"% {' '.join(sheet.title.split())}. The document needs \usepackage{{booktabs,graphicx}}.",
        "% table* spans both columns where there are two; for one of them write table in both places.",
        *(f"% Note: {' '.join(note.split())}" for note in left_out),
    ]
    sheet = replace(sheet, notes=kept)
    floats = [line for i in range(len(parts)) for line in _float(sheet, parts, i, presentation)]
    letters = {letter for line in floats for letter in line if ord(letter) > LATIN and category(letter)[0] in "LMNS"}
    if beyond := sorted(letters):
        comments.append(f"% For {' '.join(beyond)} compile with XeLaTeX or LuaLaTeX and a font that has them.")
    return "\n".join([*comments, *floats]) + "\n"


def _parts(sheet: TableData) -> list[list[str]]:
    """Return the lines of the body by float."""
    parts: list[list[str]] = [[]]
    # a row together with the rows that are indented below it
    blocks: list[list[str]] = []
    for i, row in enumerate(sheet.rows):
        if not (blocks and row[0].values[0].startswith(" ")):
            blocks.append([])
        # spreads stand below the numbers: beside them, six tasks are wider than a page
        spread = [_row(row, _spread)] if any(entry.spreads for entry in row) else []
        blocks[-1] += [*([RULE] if i in sheet.rules else []), _row(row, _entry), *spread]
    for block in blocks:
        if parts[-1] and len(parts[-1]) + len(block) > PAGE:
            parts.append([])
        parts[-1] += block if parts[-1] or block[0] != RULE else block[1:]
    return parts


def _float(sheet: TableData, parts: Sequence[list[str]], i: int, presentation: Presentation) -> list[str]:
    text = tex(_caption(sheet.title)) if presentation.caption is None else presentation.caption.strip()
    caption = rf"\caption{{{text}{' (continued)' if i else ''}}}"
    if presentation.label and not i:  # after the caption, which counts
        caption += rf"\label{{{presentation.label}}}"
    head = [_row(names, tex) for names in zip_longest(*(name.split("\n") for name in sheet.head), fillvalue="")]
    columns = "l" + "".join("l" if sheet.is_text(column) else "r" for column in range(1, len(sheet.head)))
    return [
        r"\begin{table*}[t]", r"\centering\small", r"\setlength{\tabcolsep}{4pt}",
        *([r"\addtocounter{table}{-1}"] if i else []), caption, r"\medskip", SHRUNK,
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", *head, RULE, *parts[i],
        r"\bottomrule", r"\end{tabular}}", *(_notes(sheet.notes) if i + 1 == len(parts) else []), r"\end{table*}",
    ]  # fmt: skip


def _caption(title: str) -> str:
    """Return the title without `Table N`, because LaTeX counts tables itself."""
    return sentence(NUMBERED.sub("", title, count=1))


def _row(cells: Sequence[T], write: Callable[[T], str]) -> str:
    text = " & ".join(write(cell) for cell in cells)
    return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"  # else the row before takes it


def _entry(entry: TableCell) -> str:
    """Write a cell whose sign has no width, so that digits stand below digits; the space between columns has room."""
    text = "/".join(entry.values)
    values = (r"\quad " if text.startswith(" ") else "") + tex(text.strip())
    sign = rf"\rlap{{{tex(entry.sign)}}}" if entry.sign else ""
    return (rf"\textbf{{{values}}}" if entry.best else values) + sign


def _spread(entry: TableCell) -> str:
    return rf"{{\scriptsize {tex(entry.below)}}}" if entry.below else ""


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    lines = [rf"{tex(note)}\par" for note in notes]
    return [r"\par\medskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright", *lines, r"\end{minipage}"]


def tex(text: str) -> str:
    """Escape LaTeX's special characters, and write minus signs before numbers."""
    return FOUND.sub(lambda found: SPECIAL[found[0]], MINUS.sub("\N{MINUS SIGN}", text))
