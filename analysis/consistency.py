"""Check published cells against one another: which formula gives an average, and which cells are odd."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kdbench.analysis.metric_labels import AVERAGE, part_names
from kdbench.analysis.published import PublishedRow, PublishedTable, cell_numbers
from kdbench.data.task_registry import TASKS
from kdbench.results.study import task_title

HALF_DIGIT = 0.05 + 1e-9  # half of the last printed digit, however the authors round
FAR = 3.0  # interquartile ranges beyond the quartiles: Tukey's "far out"


@dataclass(frozen=True)
class Formula:
    """The mean of the task means, where some tasks count only one of their printed numbers.

    `only` maps such a task to the index of its number; the numbers of other tasks are averaged first.
    """

    only: Mapping[str, int]

    @property
    def name(self) -> str:
        if not self.only:
            return "pairs averaged first"
        parts = (f"{task_title(task)} {part_names(TASKS.get(task))[part]}" for task, part in self.only.items())
        return f"only {', '.join(parts)}"

    def value(self, cells: Mapping[str, str]) -> float:
        """Return the average by this formula, unrounded."""
        return statistics.fmean(self._task(task, cell_numbers(cell)) for task, cell in cells.items())

    def _task(self, task: str, values: Sequence[float]) -> float:
        return values[self.only[task]] if task in self.only else statistics.fmean(values)

    def gives(self, row: ScoreRow) -> bool:
        """Return whether the formula gives the printed average."""
        return row.average is not None and abs(self.value(row.scores) - row.average) <= HALF_DIGIT


OUR_FORMULA = Formula({})  # the one that this project uses


@dataclass(frozen=True)
class ScoreRow:
    """A published row of scores, with its average apart."""

    source: PublishedRow
    scores: Mapping[str, str]
    average: float | None


def score_rows(table: PublishedTable) -> list[ScoreRow]:
    """Return the rows of a table of scores; [] for tables of other things."""
    if not set(table.columns) <= {*TASKS.all(), AVERAGE}:
        return []
    found = []
    for row in table.rows:
        cells = {column: text for column, text in zip(table.columns, row.cells, strict=True) if text}
        average = cells.pop(AVERAGE, None)
        found.append(ScoreRow(row, cells, None if average is None else float(average)))
    return found


def formula_warning(table: PublishedTable) -> list[str]:
    """Warn of printed averages that our formula does not give."""
    odd = [row.source.title for row in score_rows(table) if row.average is not None and not OUR_FORMULA.gives(row)]
    return [f"Another formula than ours gave the printed averages of {', '.join(odd)} (kdbench audit)."] if odd else []


def matching_formulas(row: ScoreRow, rows: Sequence[ScoreRow]) -> list[Formula]:
    """Return the formulas that give a row's printed average, those that give most of the other averages first."""
    paired = list(
        dict.fromkeys(task for row in rows for task, cell in row.scores.items() if len(cell_numbers(cell)) > 1)
    )
    choices = itertools.product((None, 0, 1), repeat=len(paired))
    named = ({t: part for t, part in zip(paired, choice, strict=True) if part is not None} for choice in choices)
    # one or both numbers of each pair, fewest omissions first
    candidates = [Formula(only) for only in sorted(named, key=len)]
    found = [formula for formula in candidates if formula.gives(row)]
    return sorted(found, key=lambda f: (len(f.only) > 0, -sum(f.gives(other) for other in rows), len(f.only)))


def repeated_pairs(row: ScoreRow) -> list[list[str]]:
    """Return the groups of tasks for which one row prints the same pair."""
    by_text: dict[str, list[str]] = {}
    for task, cell in row.scores.items():
        if len(cell_numbers(cell)) > 1:
            by_text.setdefault(cell, []).append(task)
    return [tasks for tasks in by_text.values() if len(tasks) > 1]


def pairs_shared_by_rows(rows: Sequence[ScoreRow]) -> list[tuple[str, str, list[ScoreRow]]]:
    """Return task, pair and rows, where several rows of a table print the same pair for a task."""
    by_place: dict[tuple[str, str], list[ScoreRow]] = {}
    for row in rows:
        for task, cell in row.scores.items():
            if len(cell_numbers(cell)) > 1:
                by_place.setdefault((task, cell), []).append(row)
    return [(task, cell, found) for (task, cell), found in by_place.items() if len(found) > 1]


@dataclass(frozen=True)
class PairGap:
    """The distance between the two numbers of a cell, and its range in other rows."""

    task: str
    value: float
    low: float
    high: float


def outlying_gaps(row: ScoreRow, others: Iterable[ScoreRow]) -> list[PairGap]:
    """Return the cells whose two numbers are much nearer or further apart than in the same column of other rows.

    Args:
        others: rows of any table; the row itself and equal cells do not count.
    """
    found = []
    for task, cell in row.scores.items():
        cells = {other.scores[task] for other in others if task in other.scores} - {cell}
        gaps = [values[0] - values[1] for values in map(cell_numbers, cells) if len(values) == 2]
        own = cell_numbers(cell)
        if len(own) == 2 and len(gaps) > 3:
            low, _, high = statistics.quantiles(gaps, method="inclusive")
            reach = FAR * (high - low)
            if not low - reach <= own[0] - own[1] <= high + reach:
                found.append(PairGap(task, own[0] - own[1], min(gaps), max(gaps)))
    return found


def beaten_cells(rows: Sequence[ScoreRow]) -> list[tuple[ScoreRow, str, ScoreRow]]:
    """Return own row, task and best rival, where the paper's own method does not have the best mean of its group."""
    found = []
    for own in (row for row in rows if row.source.ours):
        rivals = [row for row in rows if row.source.group == own.source.group and not row.source.ours]
        for task in own.scores:
            best = max(rivals, key=lambda row: _mean(row, task), default=None)
            if best is not None and _mean(best, task) > _mean(own, task) + 1e-9:
                found.append((own, task, best))
    return found


def _mean(row: ScoreRow, task: str) -> float:
    return statistics.fmean(cell_numbers(row.scores[task]))


def copied_rows(tables: Mapping[str, Sequence[ScoreRow]]) -> list[dict[str, ScoreRow]]:
    """Return groups of rows from different tables that agree on every task that both have: table -> row."""
    groups: list[dict[str, ScoreRow]] = []
    for name, rows in tables.items():
        for row in rows:
            home = next((g for g in groups if name not in g and all(_same(row, other) for other in g.values())), None)
            if home is None:
                groups.append(home := {})
            home[name] = row
    return [group for group in groups if len(group) > 1]


def _same(one: ScoreRow, other: ScoreRow) -> bool:
    """Return whether two rows share at least two tasks and agree on all of them."""
    shared = one.scores.keys() & other.scores.keys()
    return len(shared) > 1 and all(one.scores[task] == other.scores[task] for task in shared)
