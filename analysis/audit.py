"""Audit the paper's Tables 1 to 7: averages under one formula, repeated cells, outliers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kdbench.analysis import consistency as check
from kdbench.analysis.consistency import OUR_FORMULA, Formula, ScoreRow
from kdbench.analysis.published import published_tables
from kdbench.reporting.audits import Audit
from kdbench.reporting.tables import TableCell, TableData
from kdbench.results.study import task_title

Tables = Mapping[str, Sequence[ScoreRow]]


class PublishedTables(Audit):
    """The audit of the paper's tables. Every finding is computed from the printed cells alone."""

    title = "The paper's tables"

    def sheets(self) -> list[TableData]:
        tables = {name: rows for name, table in published_tables().items() if (rows := check.score_rows(table))}
        sheets = [_averages(name, rows) for name, rows in tables.items() if any(r.average is not None for r in rows)]
        return [*sheets, _rows_twice(tables), _odd_cells(tables)]


def _table(name: str) -> str:
    return f"Table {name.removeprefix('table')}"


def _averages(name: str, rows: Sequence[ScoreRow]) -> TableData:
    """Recompute the averages of one table, and name the formula that gives each."""
    sheet = TableData(
        f"Printed averages of {_table(name)}", ["", "printed", "recomputed", "difference", "reproduced by"]
    )
    # one row for each printed average, with the formula that gives it
    fits = [check.matching_formulas(row, rows) for row in rows]
    for row, found in zip(rows, fits, strict=True):
        assert row.average is not None
        value = OUR_FORMULA.value(row.scores)
        texts = (row.source.title, f"{row.average:.1f}", f"{value:.2f}", f"{row.average - value:+.2f}", _name(found))
        sheet.rows.append([TableCell((text,)) for text in texts])
        sheet.records.append({
            "table": name, "row": row.source.row, "title": row.source.title, "printed": row.average,
            "recomputed": value, "difference": row.average - value, "reproduced_by": _names(found),
        })  # fmt: skip
    # name the rows of each other formula
    sheet.notes = [
        f"Recomputed = mean of the task means, {OUR_FORMULA.name}; reproduced = off by half a digit at most."
    ]
    for how in dict.fromkeys(map(_name, fits)):
        if how != OUR_FORMULA.name:
            own = [(row, found) for row, found in zip(rows, fits, strict=True) if _name(found) == how]
            sheet.notes.append(_other_formula(own, len(rows)))
    return sheet


def _name(fits: Sequence[Formula]) -> str:
    """Name the best formula."""
    return fits[0].name if fits else "no formula that was tried"


def _names(fits: Iterable[Formula]) -> str:
    return " | ".join(fit.name for fit in fits)


def _other_formula(own: Sequence[tuple[ScoreRow, Sequence[Formula]]], of: int) -> str:
    """Say which averages follow another formula, and name each formula that gives all of them.

    Args:
        own: the rows with such an average, and the formulas that give each.
        of: number of rows of the table.
    """
    titles = ", ".join(row.source.title for row, _ in own)
    common = [fit for fit in own[0][1] if all(fit.gives(row) for row, _ in own)]
    what = f"what gives {'it' if len(own) == 1 else 'them'}: {_names(common) or _name(())}"
    return (
        f"{len(own)} of {of} averages {'is' if len(own) == 1 else 'are'} not that ({titles}); {what}".rstrip(".") + "."
    )


def _rows_twice(tables: Tables) -> TableData:
    """List rows that several tables print, with their averages."""
    sheet = TableData("Rows that are printed in several tables", ["", "tables", "averages"])
    for group in check.copied_rows(tables):
        titles = " and ".join(dict.fromkeys(row.source.title for row in group.values()))
        averages = {_table(name): row.average for name, row in group.items() if row.average is not None}
        numbers = ", ".join(name.removeprefix("table") for name in group)
        texts = (titles, numbers, ", ".join(map(str, averages.values())))
        sheet.rows.append([TableCell((text,)) for text in texts])
        sheet.records.append({"title": titles, "tables": " ".join(group), "averages": " ".join(texts[2].split(", "))})
        if len(set(averages.values())) > 1:
            said = ", ".join(f"{average} in {name}" for name, average in averages.items())
            sheet.notes.append(f"{titles}: the same cells have different averages ({said}).")
    return sheet


def _odd_cells(tables: Tables) -> TableData:
    """List cells that repeat one another, are outliers, or contradict the paper's claims about its method."""
    sheet = TableData("Cells to look at", ["", "table", "task", "cell", "what"])
    everything = [row for rows in tables.values() for row in rows if row.source.group != "teacher"]
    for name, rows in tables.items():
        for row in rows:
            for tasks in check.repeated_pairs(row):
                _add(sheet, row, name, tasks, "printed for both tasks")
            for gap in check.outlying_gaps(row, everything):
                what = f"parts {gap.value:.1f} apart; elsewhere {gap.low:.1f} to {gap.high:.1f}"
                _add(sheet, row, name, [gap.task], what)
        for task, _, found in check.pairs_shared_by_rows(rows):
            others = ", ".join(row.source.title for row in found[1:])
            _add(sheet, found[0], name, [task], f"also printed for {others}")
        for own, task, best in check.beaten_cells(rows):
            _add(sheet, own, name, [task], f"below {best.source.title} ({best.scores[task]})")
    return sheet


def _add(sheet: TableData, row: ScoreRow, table: str, tasks: Sequence[str], what: str) -> None:
    """Add a finding as a row and a record."""
    names = ", ".join(map(task_title, tasks))
    texts = (row.source.title, table.removeprefix("table"), names, row.scores[tasks[0]], what)
    sheet.rows.append([TableCell((text,)) for text in texts])
    sheet.records.append({
        "table": table, "row": row.source.row, "title": row.source.title, "task": " ".join(tasks),
        "cell": row.scores[tasks[0]], "finding": what,
    })  # fmt: skip
