"""Sign cells for which more settings were tried than for others of the column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdbench.core.formatting import count
from kdbench.data.task import Task
from kdbench.reporting import missing_runs
from kdbench.reporting.tables import TableData
from kdbench.results.comparison import count_trials
from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER

SIGN = "‡"


def mark_tuned_more(sheet: TableData, lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> list[str]:
    """Add the sign to the cells of rows that were selected among more settings than another row, and return its note.

    Args:
        sheet: its rows are the lines; its first columns after the label are the tasks.
    """
    said: dict[str, list[str]] = {}
    for column, task in enumerate(tasks, start=1):
        tried = {i: n for i, line in enumerate(lines) if line.row != TEACHER and (n := count_trials(line, task.name))}
        least = min(tried.values(), default=0)
        for i in (i for i, n in tried.items() if n > least):
            entry = sheet.rows[i][column]
            sheet.rows[i][column] = replace(entry, sign=entry.sign + SIGN)
            said.setdefault(f"{lines[i].title} {count(tried[i], 'setting')}, others from {least}", []).append(
                task.title
            )
    if not said:
        return []
    shown = [f"{words} ({', '.join(names)})" for words, names in said.items()][: missing_runs.MAX_UNFINISHED]
    more = " and more (kdbench table cost)" if len(said) > missing_runs.MAX_UNFINISHED else ""
    return [f"{SIGN} Picked among more settings than other rows of the column: {'; '.join(shown)}{more}."]
