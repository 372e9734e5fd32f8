"""Which numbers of a table are not separable from the best of their column, and the sentence that says so.

Each row is compared with the best row of its column; p-values are Holm-corrected over the column. The best is picked by
the same numbers, so a mark is read one way only: the row that is truly best is bold or marked in at least 95 of 100
columns, as in subset selection (Gupta 1965). That a row without a mark is worse than the bold one is also claimed at
5 % for the column, but of twelve equal rows the luckiest is picked first, which makes that claim bolder than it says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from threadpoolctl import threadpool_limits

from kdbench.core.errors import UserError
from kdbench.data.task import Task
from kdbench.reporting.tables import Detail, TableCell, TableData
from kdbench.results.comparison import ERROR_METHOD, Comparison, compare_cells
from kdbench.results.selection import SelectedRow
from kdbench.results.significance import ALPHA, Difference, average_difference, holm_correction
from kdbench.results.study import TEACHER, task_title

SIGN = "°"


class Comparisons:
    """Every pair of rows and task is compared once."""

    def __init__(self, lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> None:
        self._lines, self._tasks = lines, tasks
        self._known: dict[tuple[int, int, str], Comparison | None] = {}

    def column(self, best: int, row: int, column: int) -> Difference | None:
        """Best minus row on a task, or on average in the column after the tasks; None where they cannot be compared."""
        if column < len(self._tasks):
            found = self._on(best, row, self._tasks[column])
            return found.difference if found else None
        parts = [self._on(best, row, task) for task in self._tasks]
        known = [part.difference for part in parts if part]
        return average_difference(known) if len(known) == len(parts) else None

    def _on(self, first: int, second: int, task: type[Task]) -> Comparison | None:
        key = (first, second, task.name)
        if key not in self._known:
            self._known[key] = self._compare(*key[:2], task)
        return self._known[key]

    def _compare(self, first: int, second: int, task: type[Task]) -> Comparison | None:
        sides = [self._lines[row].shown.get(task.name, []) for row in (first, second)]
        try:
            return compare_cells(task(), *sides)
        except UserError:  # no seed in common, or no predictions: the table says so and is printed all the same
            return None

    @property
    def seeds(self) -> set[int]:
        return {found.difference.seeds for found in self._known.values() if found}

    @property
    def fewer(self) -> dict[str, list[str]]:
        """By row, the tasks on which a comparison with a best row had fewer seeds than the means of the two."""
        out: dict[str, list[str]] = {}
        for (*pair, task), found in self._known.items():
            row, title = self._lines[pair[1]].title, task_title(task)
            shown = {len(self._lines[i].shown.get(task, ())) for i in pair}
            if found and shown != {found.difference.seeds} and title not in out.get(row, ()):
                out.setdefault(row, []).append(title)
        return out


def competing_rows(lines: Sequence[SelectedRow]) -> list[bool]:
    """Which rows are compared: not the teacher, and none that learned from the reported split unless all did."""
    own = [line.row != TEACHER for line in lines]
    clean = [competes and not line.feedback_from("validation") for line, competes in zip(lines, own, strict=True)]
    return clean if any(clean) else own


def mark_inseparable(
    sheet: TableData, groups: Sequence[Sequence[SelectedRow]], tasks: Sequence[type[Task]]
) -> list[str]:
    """Add the signs to a sheet whose rows are those of the groups, one after the other.

    Args:
        groups: what competes; the best of each column of each is marked as such in the sheet, if it competes.

    Returns:
        The notes that explain them.
    """
    start, seeds = 0, set[int]()
    untested, fewer = dict[str, list[str]](), dict[str, list[str]]()
    for lines in groups:
        rows = range(start, start + len(lines))
        comparisons, rivals = Comparisons(lines, tasks), competing_rows(lines)
        for column in range(len(sheet.head) - 1):
            entries = [sheet.rows[row][column + 1] for row in rows]
            signed, missing = _column(entries, column, comparisons, rivals)
            for row, entry in zip(rows, signed, strict=True):
                sheet.rows[row][column + 1] = entry
            for i in missing if column < len(tasks) else ():
                untested.setdefault(lines[i].title, []).append(tasks[column].title)
        seeds |= comparisons.seeds
        fewer |= comparisons.fewer
        start += len(lines)
    return _notes(seeds, untested, fewer)


def _column(
    entries: Sequence[TableCell], column: int, comparisons: Comparisons, rivals: Sequence[bool]
) -> tuple[list[TableCell], list[int]]:
    """The entries with their signs, and the places of those that could not be compared."""
    signed, others = list(entries), [i for i, entry in enumerate(entries) if entry.numbers and rivals[i]]
    if not any(entry.best for entry in entries) or len(others) < 2:
        return signed, []
    best = max(others, key=lambda i: sum(entries[i].numbers))
    others.remove(best)
    # numpy lets go of the interpreter while it draws and counts; threads of its products would only wait for each other
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(others, pool.map(lambda i: comparisons.column(best, i, column), others), strict=True))
    # on the seeds that both have the other may be the better one; then nothing says that it is worse
    tested = {i: difference.p if difference.value > 0 else 1.0 for i, difference in found.items() if difference}
    for i, p in zip(tested, holm_correction(list(tested.values())), strict=True):
        if p >= ALPHA and not entries[i].best:
            signed[i] = replace(entries[i], sign=SIGN)
    return signed, [i for i in others if i not in tested]


def _notes(
    seeds: set[int], untested: Mapping[str, Sequence[str]], fewer: Mapping[str, Sequence[str]]
) -> list[str]:  # fmt: skip
    notes: list[str] = []
    if seeds:
        level = f"{100 * ALPHA:g} %"
        notes.append(
            f"{SIGN} Not separable from the best of its column ({level}, Holm-corrected over the column's rows)."
        )
        notes.append(Detail(ERROR_METHOD + (" Where there is one seed, only items count." if 1 in seeds else "")))
    if fewer:
        notes.append(f"{SIGN} is from the seeds in common with the best, fewer than the means have: {_alike(fewer)}.")
    if untested:
        notes.append(f"Not compared with the best, for want of predictions or of a common seed: {_alike(untested)}.")
    return notes


def _alike(found: Mapping[str, Sequence[str]]) -> str:
    """Rows with their tasks; those with the same tasks together."""
    alike: dict[str, list[str]] = {}
    for title, names in found.items():
        alike.setdefault(", ".join(names), []).append(title)
    return "; ".join(f"{', '.join(titles)} on {names}" for names, titles in alike.items())
