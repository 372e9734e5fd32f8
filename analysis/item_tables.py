"""The base of the tables of what items tell: a table a task, the rows of a study, a column for each statistic."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from kdbench.analysis.scores import asked_rows
from kdbench.analysis.significance_marks import SIGN_NOTE, competing_rows, sign_column
from kdbench.core.errors import UserError
from kdbench.core.formatting import count_range, seed_list
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting import fairness, missing_runs, notes
from kdbench.reporting.provenance import task_origin, traceable_rows
from kdbench.reporting.tables import EMPTY_CELL, Detail, Table, TableCell, TableData
from kdbench.results.item_statistics import ItemStatistic, average_over_seeds
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.significance import ALPHA, Difference
from kdbench.results.study import TEACHER, CellResult, StudyResults, task_title

LENGTH_FREE = "A loss that normalises logits, as SKD's, leaves their length free"
ALL_SEEDS = -1  # in the place of a seed, for a statistic of all seeds together
SeedStatistics = dict[int, list[ItemStatistic]]  # seed -> a statistic for each report split
RowStatistics = dict[str, SeedStatistics]  # key of a column -> its statistics


@dataclass(frozen=True)
class ItemColumn:
    """A column: its key, its head, and how its numbers are printed.

    Attributes:
        scale: factor of the statistic; 100 is per cent.
        better: 1 where the highest number is the best, -1 where the lowest is, 0 where none is.
        of_items: whether the items give the number an error, as well as the seeds.
    """

    key: str
    head: str
    digits: int = 1
    scale: float = 100.0
    unit: str = "per cent"
    better: int = 0
    of_items: bool = True

    def cell(self, found: Difference) -> TableCell:
        """Format a mean over seeds with half of its 95 % interval."""
        shown = self.of_items or found.seeds > 1
        low, high = found.interval()
        spread = (f"{(high - low) / 2:.{self.digits}f}",) if shown else ()
        return TableCell((f"{found.value:.{self.digits}f}",), spread, numbers=(found.value,))


class ItemTable(Table):
    """Rows: the teacher if `with_teacher`, then those that were asked for with nothing varied on purpose."""

    title = ""  # a base, not a table
    requests = (Request("all"),)
    columns: ClassVar[Sequence[ItemColumn]] = ()
    with_teacher: ClassVar[bool] = False

    def row_statistics(self, cells: Sequence[CellResult], study: StudyResults, task: str) -> RowStatistics:
        """Return the statistics of the cells of a row, one a seed; what is not known is left out."""
        raise NotImplementedError

    def reason(self, cell: CellResult, study: StudyResults) -> str:
        """Return why a run that predicts classes may have nothing to show, as the end of a sentence."""
        raise NotImplementedError

    def task_notes(self, lines: Sequence[SelectedRow], study: StudyResults, task: str) -> list[str]:
        """Return the notes that explain the columns for these rows."""
        raise NotImplementedError

    def sheets(self, studies: Sequence[StudyResults]) -> list[TableData]:
        found, lost = list[TableData](), list[str]()
        for study in studies:
            own = {task: self.task_sheet(study, task) for task in study.tasks}
            finished = {run.spec.task for run in study.runs.values() if run.result is not None}
            found += [sheet for sheet in own.values() if sheet]
            # tasks whose runs are done and have no table of their own, by the reason
            reasons: dict[str, list[str]] = {}
            for task in (task for task, sheet in own.items() if sheet is None and task in finished):
                reasons.setdefault(self._why_nothing(study, task), []).append(task_title(task))
            told = [f"No table of {', '.join(tasks)}: {reason}." for reason, tasks in reasons.items()]
            for sheet in filter(None, own.values()):
                sheet.notes += told
            lost += told
        if lost and not found:
            raise UserError(" ".join(dict.fromkeys(lost)))
        return found

    def _why_nothing(self, study: StudyResults, task: str) -> str:
        """Return why a task whose runs are done has no table."""
        if len(TASKS.get(task).labels) < 2:
            return "a number is predicted, no class"
        lines = [select_row(study, row).on([task]) for row in self._rows(study)]
        return self._reasons([cell for line in lines for cell in line.shown[task]], study) or "no student is done"

    def _reasons(self, cells: Sequence[CellResult], study: StudyResults) -> str:
        return " or ".join(dict.fromkeys(self.reason(cell, study) for cell in cells))

    def task_sheet(self, study: StudyResults, task: str) -> TableData | None:
        """Build the table of one task; None where no row has something to show."""
        if len(TASKS.get(task).labels) < 2:  # a number is predicted, no class
            return None
        lines = [line for row in self._rows(study) if (line := select_row(study, row).on([task])).asked[task]]
        found = [self._scaled(line.shown[task], study, task) for line in lines]
        if not any(found):
            return None
        heading = f"{self.title.partition(':')[0]} on {task_title(task)}, preset {study.preset}: {study.pairing}"
        sheet = TableData(heading, ["", *(column.head for column in self.columns)])
        sheet.rows = [self._entries(line, row) for line, row in zip(lines, found, strict=True)]
        sheet.rules = {1} if lines[0].row == TEACHER and len(lines) > 1 else set()
        sheet.row_keys, sheet.column_keys = [line.row for line in lines], [column.key for column in self.columns]
        of_signs = self._mark(sheet, lines, found)
        sheet.notes = self._notes(lines, found, study, task, of_signs)
        sheet.records = [
            record
            for line, row in zip(lines, found, strict=True)
            for record in self._records(line, row, study, task)
        ]  # fmt: skip
        return sheet

    def _rows(self, study: StudyResults) -> list[str]:
        asked = {TEACHER, *(request.row for request in asked_rows(study))}
        every = [row for row in traceable_rows(study) if row in asked]
        return every if self.with_teacher else [row for row in every if row != TEACHER or row in study.titles]

    def _scaled(self, cells: Sequence[CellResult], study: StudyResults, task: str) -> RowStatistics:
        """Return the statistics of a row in the units of the columns."""
        found, scales = self.row_statistics(cells, study, task), {c.key: c.scale for c in self.columns}
        return {
            key: {seed: [part.times(scales[key]) for part in parts] for seed, parts in seeds.items()}
            for key, seeds in found.items() if seeds
        }  # fmt: skip

    def _entries(self, line: SelectedRow, row: RowStatistics) -> list[TableCell]:
        label = line.title + (notes.DAGGER if line.saw_report else "")
        cells = [
            column.cell(average_over_seeds(list(row[column.key].values()))) if column.key in row else EMPTY_CELL
            for column in self.columns
        ]
        return [TableCell((label,)), *cells]

    def _mark(self, sheet: TableData, lines: Sequence[SelectedRow], found: Sequence[RowStatistics]) -> list[str]:
        """Mark the best of each column that has one, and the cells not separable from it; return notes on the signs."""
        rivals, any_signed, untested = competing_rows(lines), False, dict[str, None]()
        for place, column in enumerate(self.columns, start=1):
            entries = [row[place] for row in sheet.rows]
            printed = [column.better * float(e.values[0]) if e.numbers else -math.inf for e in entries]
            top = max((value for value, competes in zip(printed, rivals, strict=True) if competes), default=-math.inf)
            if not column.better or math.isinf(top):
                continue
            marked = [replace(e, best=rivals[i] and printed[i] == top) for i, e in enumerate(entries)]

            def compare(best: int, other: int, key: str = column.key) -> Difference | None:
                return difference(found[best].get(key, {}), found[other].get(key, {}))

            signed, missing = sign_column(marked, compare, rivals, column.better)
            any_signed |= any(entry.sign for entry in signed)
            untested |= dict.fromkeys(lines[i].title for i in missing)
            for row, entry in zip(sheet.rows, signed, strict=True):
                row[place] = entry
        told = f"Not compared with the best of a column, for want of a common seed: {', '.join(untested)}."
        return [*([SIGN_NOTE] if any_signed else []), *([told] if untested else [])]

    def _notes(
        self, lines: Sequence[SelectedRow], found: Sequence[RowStatistics], study: StudyResults, task: str,
        of_signs: Sequence[str],
    ) -> list[str]:  # fmt: skip
        counted = [_counted(line, row, task) for line, row in zip(lines, found, strict=True)]
        empty: dict[str, list[str]] = {}  # rows, or seeds of them, that are done and have nothing to show, by reason
        for line, kept, row in zip(lines, counted, found, strict=True):
            if lost := [cell for cell in line.shown[task] if cell not in kept.shown[task]]:
                seeds = f" (seed {seed_list(cell.cell.seed for cell in lost)})" if row else ""
                empty.setdefault(self._reasons(lost, study), []).append(line.title + seeds)
        splits = len(TASKS.get(task).report_splits)
        found_notes = [
            *notes.evidence_notes(study.on([task])),
            *self.task_notes(lines, study, task),
            seeds_note(counted if any(line.cells for line in counted) else lines, task)
            + (" The mean over the reported splits." if splits > 1 else ""),
            *of_signs,
            Detail("The error counts items, to first order, and seeds, by their sample variance with Student's t."),
            *(f"Nothing to show of {', '.join(titles)}: {reason}." for reason, titles in empty.items()),
            *self._thin_columns(lines, found),
            *notes.protocol_notes(study, lines),
            *notes.training_notes(counted),
            *fairness.option_notes(study, lines),
            *notes.class_use_notes(lines),
        ]
        warnings_first = sorted(found_notes, key=lambda note: isinstance(note, Detail))
        return [*warnings_first, *missing_runs.unfinished_notes(study, lines)]

    def _thin_columns(self, lines: Sequence[SelectedRow], found: Sequence[RowStatistics]) -> list[str]:
        """Name the seeds of rows that have fewer of them in a column than in others; [] where none has."""
        thin: dict[str, list[str]] = {}
        for line, row in zip(lines, found, strict=True):
            every = _seeds_of(row)
            for column in self.columns:
                own = row.get(column.key, {ALL_SEEDS: []}).keys()
                if ALL_SEEDS not in own and own < every:
                    thin.setdefault(" ".join(column.head.split()), []).append(f"{line.title} {seed_list(own)}")
        told = "; ".join(f"{head} ({', '.join(rows)})" for head, rows in thin.items())
        return [f"Columns that have numbers of these seeds alone: {told}."] if thin else []

    def _records(
        self, line: SelectedRow, row: RowStatistics, study: StudyResults, task: str
    ) -> list[dict[str, Any]]:  # fmt: skip
        runs = {c.cell.seed: c.run.id for c in line.shown[task]}
        out = []
        for column in (column for column in self.columns if column.key in row):
            found = average_over_seeds(list(row[column.key].values()))
            low, high = found.interval() if column.of_items or found.seeds > 1 else ("", "")
            for seed, parts in row[column.key].items():
                out.append({
                    **task_origin(study, task), "row": line.row, "title": line.title, "task": task,
                    "metric": column.key, "unit": column.unit, "seed": "all" if seed == ALL_SEEDS else seed,
                    "value": statistics.fmean(part.value for part in parts), "mean": found.value, "low": low,
                    "high": high, "run": runs.get(seed, ""),
                })  # fmt: skip
        return out


def _seeds_of(row: RowStatistics) -> set[int]:
    """Return the seeds of which a row has a number in some column."""
    return {seed for seeds in row.values() for seed in seeds} - {ALL_SEEDS}


def _counted(line: SelectedRow, row: RowStatistics, task: str) -> SelectedRow:
    """Return a row with those of its cells alone that its numbers are of."""
    seeds = _seeds_of(row)
    return replace(line, shown={task: [cell for cell in line.shown[task] if cell.cell.seed in seeds]})


def difference(one: SeedStatistics, other: SeedStatistics) -> Difference | None:
    """Return the mean difference over the seeds that both have; None without any, or where the items differ."""
    seeds = [seed for seed in one if seed in other]
    sizes = [[len(part.influence) for parts in (row[seed] for seed in seeds) for part in parts] for row in (one, other)]
    if not seeds or sizes[0] != sizes[1]:
        return None
    return average_over_seeds([[a - b for a, b in zip(one[seed], other[seed], strict=True)] for seed in seeds])


def seeds_note(lines: Sequence[SelectedRow], task: str) -> str:
    """Say what stands in a cell, and how many seeds it has."""
    counts = {len(line.shown[task]) for line in lines if line.shown[task]}
    few = notes.ONE_SEED if 1 in counts else ""
    few += " With two seeds, one degree of freedom makes intervals wide." if 2 in counts else ""
    level, number = f"{100 * (1 - ALPHA):g} %", count_range(counts, "seed")
    return f"Mean over seeds ± half of its {level} interval ({number} a number).{few}"


def by_seed(found: Mapping[int, Sequence[Mapping[str, ItemStatistic] | None]]) -> RowStatistics:
    """Turn seed -> split -> column -> statistic into column -> seed -> split; a column needs all splits."""
    out: RowStatistics = {}
    for seed, splits in found.items():
        known = [part for part in splits if part is not None]
        if len(known) < len(splits):
            continue
        for key in known[0]:
            if all(key in part for part in known):
                out.setdefault(key, {})[seed] = [part[key] for part in known]
    return out
