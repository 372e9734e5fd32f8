"""Sign the numbers of a table that are not separable from the best of their column.

Each row is compared with the best row of its column; p-values are Holm-corrected over the column. The best row is
selected by the same numbers, so a sign can be read in one direction only: the truly best row is bold or signed in at
least 95 of 100 columns, as in subset selection (Gupta 1965). The claim that an unsigned row is worse than the bold one
also has level 5 % for the column. But among twelve equal rows the luckiest is selected first, which makes the true
level of this claim higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from kdbench.analysis.metric_labels import AVERAGE
from kdbench.core.errors import UserError
from kdbench.data.task import Task
from kdbench.reporting.notes import ONE_SEED, rows_by_tasks
from kdbench.reporting.tables import Detail, TableCell, TableData
from kdbench.results.comparison import ERROR_METHOD, SeedScores, compare_cells, score_seeds
from kdbench.results.selection import SelectedRow
from kdbench.results.significance import ALPHA, LEVEL, Difference, average_difference, holm_correction
from kdbench.results.study import TEACHER, task_title

SIGN = "°"
SIGN_NOTE = f"{SIGN} Not separable from the best of its column ({LEVEL} the column's rows)."
Compare = Callable[[int, int], Difference | None]


class Comparisons:
    """The comparisons of pairs of rows on tasks, each computed once.

    Rows with the same seeds on a task share one draw of its items, so that all their pairs cost little more than one.
    """

    def __init__(self, lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> None:
        self._lines, self._tasks = lines, tasks
        self._known: dict[tuple[int, int, str], Difference | None] = {}
        self._scored: dict[tuple[str, tuple[int, ...]], tuple[list[int], SeedScores] | None] = {}

    def column(self, best: int, row: int, column: int) -> Difference | None:
        """Return best minus row on a task, or on average in the column after the tasks; None where unknown."""
        if column < len(self._tasks):
            return self._on(best, row, self._tasks[column])
        parts = [self._on(best, row, task) for task in self._tasks]
        known = [part for part in parts if part]
        return average_difference(known) if len(known) == len(parts) else None

    def _on(self, first: int, second: int, task: type[Task]) -> Difference | None:
        """Return the first row minus the second on a task; None where they share no seed, or predictions are lost."""
        key = (first, second, task.name)
        if key not in self._known:
            found = self.scores((first, second), task)
            self._known[key] = found.combined((1, -1)) if found else self._compare(first, second, task)
        return self._known[key]

    def scores(self, rows: Sequence[int], task: type[Task]) -> SeedScores | None:
        """Return the scores of rows with the same seeds on a task; None of others, or where predictions are lost."""
        seeds = {self._seeds(row, task) for row in rows}
        if len(seeds) > 1 or () in seeds:
            return None
        (own,) = seeds
        if (task.name, own) not in self._scored:
            alike = [row for row in range(len(self._lines)) if self._seeds(row, task) == own]
            cells = [sorted(self._lines[row].shown[task.name], key=lambda cell: cell.cell.seed) for row in alike]
            try:
                self._scored[task.name, own] = alike, score_seeds(task(), cells)
            except UserError:
                self._scored[task.name, own] = None
        found = self._scored[task.name, own]
        return found[1].of([found[0].index(row) for row in rows]) if found else None

    def _seeds(self, row: int, task: type[Task]) -> tuple[int, ...]:
        return tuple(sorted(cell.cell.seed for cell in self._lines[row].shown.get(task.name, [])))

    def _compare(self, first: int, second: int, task: type[Task]) -> Difference | None:
        """Compare two rows on a task on the seeds that both have."""
        sides = [self._lines[row].shown.get(task.name, []) for row in (first, second)]
        try:
            return compare_cells(task(), *sides).difference
        except UserError:  # no seed in common, or no predictions: the table says so and is printed all the same
            return None

    @property
    def seeds(self) -> set[int]:
        """Return the numbers of seeds of all comparisons."""
        return {found.seeds for found in self._known.values() if found}

    @property
    def fewer(self) -> dict[str, list[str]]:
        """Return row -> the tasks on which its comparison has fewer seeds than the printed means."""
        out: dict[str, list[str]] = {}
        for (*pair, task), found in self._known.items():
            row, title = self._lines[pair[1]].title, task_title(task)
            shown = {len(self._lines[i].shown.get(task, ())) for i in pair}
            if found and shown != {found.seeds} and title not in out.get(row, ()):
                out.setdefault(row, []).append(title)
        return out


def competing_rows(lines: Sequence[SelectedRow]) -> list[bool]:
    """Return for each row whether it competes.

    The teacher does not, nor do rows that learned from the reported split, unless all did.
    """
    own = [line.row != TEACHER for line in lines]
    clean = [competes and not line.saw_report for line, competes in zip(lines, own, strict=True)]
    return clean if any(clean) else own


def mark_inseparable(
    sheet: TableData, groups: Sequence[Sequence[SelectedRow]], tasks: Sequence[type[Task]]
) -> list[str]:
    """Add the signs to a table whose rows are those of the groups, one after the other.

    Args:
        groups: rows that compete; the best of each column of each is already marked.

    Returns:
        The notes that explain the signs.
    """
    # what the notes need: numbers of seeds, and rows that were not compared, or on fewer seeds
    start, seeds = 0, set[int]()
    untested, fewer = dict[str, list[str]](), dict[str, list[str]]()
    # groups stand one below the other in the table
    for lines in groups:
        rows = range(start, start + len(lines))
        comparisons, rivals = Comparisons(lines, tasks), competing_rows(lines)
        for column in range(len(sheet.head) - 1):
            entries = [sheet.rows[row][column + 1] for row in rows]
            compare = partial(comparisons.column, column=column)
            signed, missing = sign_column(entries, compare, rivals)
            for row, entry in zip(rows, signed, strict=True):
                sheet.rows[row][column + 1] = entry
            for i in missing:
                if column < len(tasks):
                    untested.setdefault(lines[i].title, []).append(tasks[column].title)
                else:  # the best on average may be the best on no task
                    untested.setdefault(lines[i].title, [AVERAGE])
        seeds |= comparisons.seeds
        fewer |= comparisons.fewer
        start += len(lines)
    blocks = [[line.title for line in lines if line.row != TEACHER] for lines in groups]
    notes = _notes(seeds, [titles for titles in blocks if titles], untested, fewer)
    lost = {title for titles in untested.values() for title in titles}
    own = [task.title for task in tasks if task.title in lost and task().has_own_score]
    told = f"On {', '.join(own)} also where scores are computed otherwise now than when the runs were trained."
    return [*notes, told] if own else notes


def sign_column(
    entries: Sequence[TableCell], compare: Compare, rivals: Sequence[bool], better: int = 1
) -> tuple[list[TableCell], list[int]]:
    """Return the cells of a column with their signs, and the indices of cells that could not be compared.

    Args:
        compare: returns the first row minus the second; None where they cannot be compared.
        rivals: for each row, whether it competes.
        better: 1 where the highest number is the best, -1 where it is the lowest.
    """
    signed, others = list(entries), [i for i, entry in enumerate(entries) if entry.numbers and rivals[i]]
    if not any(entry.best for entry in entries) or len(others) < 2:
        return signed, []
    best = max(others, key=lambda i: better * sum(entries[i].numbers))
    others.remove(best)
    found = {i: compare(best, i) for i in others}
    # on the seeds that both have the other may be the better one; then nothing says that it is worse
    tested = {i: one.p if better * one.value > 0 else 1.0 for i, one in found.items() if one}
    for i, p in zip(tested, holm_correction(list(tested.values())), strict=True):
        if p >= ALPHA and not entries[i].best:
            signed[i] = replace(entries[i], sign=SIGN)
    return signed, [i for i in others if i not in tested]


def _notes(
    seeds: set[int], blocks: Sequence[Sequence[str]], untested: Mapping[str, Sequence[str]],
    fewer: Mapping[str, Sequence[str]],
) -> list[str]:  # fmt: skip
    """Return the notes about signs.

    Args:
        seeds: numbers of seeds of all comparisons.
        blocks: titles of the rows that are compared with each other.
        untested: row -> tasks without comparison.
        fewer: row -> tasks compared on fewer seeds.
    """
    notes: list[str] = []
    if seeds:
        among = " or ".join(f"from {titles[0]} to {titles[-1]}" for titles in blocks)
        apart = f"{SIGN} Not separable from the best of its column among the rows {among} ({LEVEL} these rows)."
        notes.append(apart if len(blocks) > 1 else SIGN_NOTE)
        notes.append(Detail(ERROR_METHOD + (ONE_SEED if 1 in seeds else "")))
    if fewer:
        told = "; ".join(rows_by_tasks(fewer))
        notes.append(f"{SIGN} is from the seeds in common with the best, fewer than the means have: {told}.")
    if untested:
        told = "; ".join(rows_by_tasks(untested))
        notes.append(f"Not compared with the best, for want of predictions or of a common seed: {told}.")
    return notes
