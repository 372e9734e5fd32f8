"""A sheet as text: for the terminal, Markdown, LaTeX (booktabs) or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from kdbench.tables import Entry, Sheet

LATEX_SPECIAL = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
                 "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
                 "±": r"$\pm$", "†": r"$\dagger$", "‡": r"$\ddagger$", "–": "--", "*": r"$^{*}$"}  # fmt: skip


def render(sheet: Sheet, form: str, console: Console) -> None:
    """Print the sheet in one of `FORMATS`."""
    if form == "terminal":
        _terminal(sheet, console)
    else:
        text = {"markdown": markdown, "latex": latex, "csv": as_csv}[form](sheet)
        console.file.write(text)


def _terminal(sheet: Sheet, console: Console) -> None:
    table = RichTable(title=escape(sheet.title), title_justify="left", pad_edge=False, box=None, header_style="bold")
    for i, name in enumerate(sheet.head):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for i, row in enumerate(sheet.rows):
        if i in sheet.rules:
            table.add_row(*([""] * len(sheet.head)))
        table.add_row(*(f"[bold green]{escape(e.text)}[/]" if e.best else escape(e.text) for e in row))
    console.print(table, soft_wrap=False)
    for note in sheet.notes:
        console.print(f"  {note}", style="dim", markup=False, highlight=False)


def markdown(sheet: Sheet) -> str:
    """A GitHub table, title above, notes below."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rows = [line([f"**{e.text}**" if e.best else e.text for e in row]) for row in sheet.rows]
    rule = line(["---"] + ["---:"] * (len(sheet.head) - 1))
    notes = [f"{note}  " for note in sheet.notes]
    return "\n".join([f"**{sheet.title}**", "", line(sheet.head), rule, *rows, "", *notes]) + "\n"


def latex(sheet: Sheet) -> str:
    """A booktabs table (`\\usepackage{booktabs}`)."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{tex(sheet.title)}. {tex(' '.join(sheet.notes))}}}"]
    lines += [
        rf"\begin{{tabular}}{{l{'r' * (len(sheet.head) - 1)}}}",
        r"\toprule",
        _tex_row(sheet.head, tex),
        r"\midrule",
    ]
    for i, row in enumerate(sheet.rows):
        if i in sheet.rules:
            lines.append(r"\midrule")
        lines.append(_tex_row(row, _tex_entry))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _tex_row(cells: list[Any], write: Callable[[Any], str]) -> str:
    return " & ".join(write(cell) for cell in cells) + r" \\"


def _tex_entry(entry: Entry) -> str:
    return rf"\textbf{{{tex(entry.text)}}}" if entry.best else tex(entry.text)


def tex(text: str) -> str:
    """Text with LaTeX's special characters made harmless."""
    return re.sub("|".join(map(re.escape, LATEX_SPECIAL)), lambda m: LATEX_SPECIAL[m[0]], text)


def as_csv(sheet: Sheet) -> str:
    """One line a number, unrounded."""
    out = io.StringIO()
    keys = list(dict.fromkeys(key for record in sheet.records for key in record))
    writer = csv.DictWriter(out, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sheet.records)
    return out.getvalue()
