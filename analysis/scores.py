"""The base of the tables of scores: rows of runs, columns of tasks, their average, and the notes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar

from kdbench.analysis import class_marks, significance_marks, tuning_budget
from kdbench.analysis.consistency import formula_warning
from kdbench.analysis.metric_labels import AVERAGE, part_names
from kdbench.analysis.published import published_tables, row_title
from kdbench.analysis.teacher_lead import teacher_lead_notes
from kdbench.core.formatting import value
from kdbench.data.shared_texts import shared_text_notes
from kdbench.data.task import Task
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.planning.make_plan import select_tasks
from kdbench.reporting import missing_runs, notes, provenance
from kdbench.reporting.constant_notes import constant_notes
from kdbench.reporting.learning_notes import still_learning_notes
from kdbench.reporting.tables import EMPTY_CELL, Detail, Published, Table, TableCell, TableData
from kdbench.results.class_use import is_collapsed
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import TEACHER, CellResult, StudyResults

PAPER_GROUP = "glue"  # the tasks whose mean the paper prints


@dataclass(frozen=True)
class RowRequest:
    """A row as a table declares it: a method or variant, and the settings in which it differs."""

    row: str
    values: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None

    @property
    def key(self) -> str:
        """Return a key such as `lgtm kd_loss=dist`."""
        return " ".join([self.row, *(f"{name}={item}" for name, item in self.values.items())])

    def request(self, **settings: Any) -> Request:
        """Return the request for its runs."""
        return Request(self.row, self.values, settings)


@dataclass(frozen=True)
class ShownRow:
    """A row with its runs."""

    key: str
    line: SelectedRow
    study: StudyResults

    def on(self, tasks: Iterable[str]) -> ShownRow:
        """Return the row with the tasks that the table shows."""
        return replace(self, line=self.line.on(tasks))


@dataclass(frozen=True)
class TaskScore:
    """The score of a row on a task: for every metric and reported split, the values over seeds in per cent."""

    parts: tuple[tuple[float, ...], ...]

    @property
    def means(self) -> tuple[float, ...]:
        """Return the mean over seeds of each part."""
        return tuple(statistics.fmean(values) for values in self.parts)

    @property
    def mean(self) -> float:
        """Return the mean over seeds, then over parts (F1 and accuracy; matched and mismatched)."""
        return statistics.fmean(self.means)

    def entry(self, best: bool) -> TableCell:
        """Format the score with the standard deviation over seeds, where there are several."""
        several = len(self.parts[0]) > 1
        spreads = tuple(f"{statistics.stdev(values):.1f}" for values in self.parts) if several else ()
        return TableCell(tuple(f"{mean:.1f}" for mean in self.means), spreads, best, self.means)


class ScoreTable(Table):
    """Rows: the teacher if there is one, then the rows of `groups`. Columns: tasks, and perhaps their average.

    The best row of each group is marked in every column; rows that print the same are all marked.
    """

    title = ""  # a base, not a table
    averaged: ClassVar[bool] = True

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        """Return the rows in groups that compete."""
        raise NotImplementedError

    def build(self, study: StudyResults) -> TableData | None:
        groups = [chosen_rows(group, study) for group in self.groups(study)]
        top = [ShownRow(TEACHER, select_row(study, TEACHER), study)] if study.teachers else []
        return build_score_table(self, self.heading(study), groups, top, averaged=self.averaged)

    def heading(self, study: StudyResults) -> str:
        """Return the title of the table of one study."""
        return table_heading(self.name, study)

    def published(self) -> Published | None:
        table = published_tables()[self.name]
        return Published(table.cells, " ".join([table.note, *formula_warning(table)]), table.preset)


def build_score_table(
    table: Table, title: str, groups: Sequence[Sequence[ShownRow]], top: Sequence[ShownRow] = (), *,
    averaged: bool = True,
) -> TableData | None:  # fmt: skip
    """Build a table of scores with its signs and notes; None where no row of its groups was asked for.

    Args:
        groups: rows that compete.
        top: the teacher's row, above the groups; () for none.
    """
    tasks = asked_tasks(table, list(chain(*groups)))
    if not tasks:
        return None
    every = [[shown.on(task.name for task in tasks) for shown in group] for group in (top, *groups) if group]
    sheet = score_sheet(title, every, tasks, averaged=averaged)
    sheet.notes = score_notes(table, list(chain(*every)), tasks, mark_cells(sheet, every, tasks), averaged=averaged)
    return sheet


def asked_rows(study: StudyResults) -> list[RowRequest]:
    """Return the study's rows that were asked for with nothing varied on purpose, in table order."""
    return [RowRequest(row) for row in study.rows if any(c.has({}) for c in study.cells if c.cell.row == row)]


def mark_cells(sheet: TableData, groups: Sequence[Sequence[ShownRow]], tasks: Sequence[type[Task]]) -> list[str]:
    """Sign cells and return the notes that explain the signs.

    Signed are cells that are inseparable from the best, were tuned with a larger budget, belong to a method that two
    classes change, or have a collapsed student.

    Args:
        sheet: its rows are those of the groups; its columns are the tasks, and perhaps their average.
        groups: rows that compete.
    """
    lines = [[shown.line for shown in group] for group in groups]
    every = list(chain(*lines))
    return [
        *significance_marks.mark_inseparable(sheet, lines, tasks),
        *tuning_budget.mark_tuned_more(sheet, every, tasks),
        *class_marks.mark_few_classes(sheet, every, tasks),
        *_mark_collapsed(sheet, every, tasks),
    ]


def _mark_collapsed(sheet: TableData, lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> list[str]:
    """Sign the cells that have a run with a collapsed student, and return the notes."""
    for row, line in zip(sheet.rows, lines, strict=True):
        for column, task in enumerate(tasks, start=1):
            if any(is_collapsed(cell.run.class_use, "best") for cell in line.shown.get(task.name, ())):
                row[column] = replace(row[column], sign=row[column].sign + notes.COLLAPSE_SIGN)
    return notes.class_use_notes(lines)


def chosen_rows(asked: Iterable[RowRequest], study: StudyResults) -> list[ShownRow]:
    """Find the runs of the rows that were not left out by name."""
    return [find_row(one, study) for one in asked if study.takes(one.row)]


def find_row(asked: RowRequest, study: StudyResults) -> ShownRow:
    """Find the runs of a row in a study."""
    title = asked.title or row_title(study, asked.row)
    return ShownRow(asked.key, select_row(study, asked.row, asked.values, title), study)


def table_heading(name: str, study: StudyResults) -> str:
    """Return the title of a table for one study."""
    number = name.removeprefix("table")
    return f"Table {number}, preset {study.preset}: {study.pairing}"


def asked_tasks(table: Table, rows: Sequence[ShownRow]) -> list[type[Task]]:
    """Return the tasks of the rows in table order.

    A table about some tasks shows another task only if at least two rows have it.
    """
    counts = Counter(task for shown in rows for task, cells in shown.line.asked.items() if cells)
    named = [request.settings["tasks"] for request in table.requests if "tasks" in request.settings]
    own = {task for names in named for task in select_tasks(names)}
    names = [name for name, count in counts.items() if not own or name in own or count > 1]
    return sorted((TASKS.get(name) for name in names), key=lambda task: (task.position, task.name))


def score_sheet(
    title: str, groups: Sequence[Sequence[ShownRow]], tasks: Sequence[type[Task]], *, averaged: bool = True
) -> TableData:
    """Build the table of scores without notes. Lines part the groups; the best row of each is marked."""
    rows = [shown for group in groups for shown in group]
    heads = [f"{task.title}\n{'/'.join(part_names(task))}" for task in tasks]
    sheet = TableData(title, ["", *heads, *(["Avg."] if averaged else [])])
    whole = {task.name for task in tasks} == _whole()
    sheet.column_keys = [task.name for task in tasks]
    sheet.column_keys += [AVERAGE if whole else f"{AVERAGE} of what is shown"] if averaged else []
    sheet.row_keys = [shown.key for shown in rows]
    for group in groups:
        sheet.rules |= {len(sheet.rows)} - {0}
        scores = [[score_cells(task, shown.line.shown.get(task.name, [])) for task in tasks] for shown in group]
        # a dagger where the reported split was also learned from
        labels = [shown.line.title + (notes.DAGGER if shown.line.saw_report else "") for shown in group]
        sheet.rows += _entries(
            labels, scores, averaged, significance_marks.competing_rows([shown.line for shown in group])
        )
    sheet.records = [record for shown in rows for record in score_records(shown)]
    return sheet


def score_cells(task: type[Task], cells: Sequence[CellResult]) -> TaskScore | None:
    """Combine the cells of one row on one task; None where there are none."""
    if not cells:
        return None
    return TaskScore(tuple(tuple(c.score(metric, split) for c in cells) for metric, split in task.numbers()))


def _average(scores: Sequence[TaskScore | None]) -> float | None:
    """Return the mean of the task means; None where a task is missing."""
    means = [score.mean for score in scores if score]
    return statistics.fmean(means) if means and len(means) == len(scores) else None


def _entries(
    labels: Sequence[str], scores: Sequence[Sequence[TaskScore | None]], averaged: bool, compete: Sequence[bool]
) -> list[list[TableCell]]:
    """Format the rows of a group, with the best of each column marked.

    Args:
        compete: for each row, whether it can be the best.
    """
    means = [[s.mean if s else None for s in row] + ([_average(row)] if averaged else []) for row in scores]
    # as printed: a difference that nobody can see is no difference
    printed = [[None if mean is None else float(f"{mean:.1f}") for mean in row] for row in means]
    rivals = [row for row, competes in zip(printed, compete, strict=True) if competes]
    columns = [[mean for mean in column if mean is not None] for column in zip(*rivals, strict=True)]
    # of one row nothing is the best
    tops = [max(column) if len(column) > 1 else None for column in columns or [[]] * len(printed[0])]
    # label, score of each task, average
    rows = []
    for i, (label, row) in enumerate(zip(labels, scores, strict=True)):
        best = [compete[i] and mean is not None and mean == top for mean, top in zip(printed[i], tops, strict=True)]
        cells = [score.entry(mark) if score else EMPTY_CELL for score, mark in zip(row, best, strict=False)]
        if averaged:
            mean = means[i][-1]
            cells.append(EMPTY_CELL if mean is None else TableCell((f"{mean:.1f}",), (), best[-1], (mean,)))
        rows.append([TableCell((label,)), *cells])
    return rows


def score_notes(
    table: Table, rows: Sequence[ShownRow], tasks: Sequence[type[Task]], marks: Sequence[str], *, averaged: bool = True
) -> list[str]:
    """Return the notes: what the numbers are, how they were computed, what is missing and which command trains it.

    Args:
        marks: the notes about signs.
    """
    # rows may come from several studies, each with notes of its own
    lines = [shown.line for shown in rows]
    by_study = {
        id(shown.study): (shown.study, [other.line for other in rows if other.study is shown.study]) for shown in rows
    }
    holes = [note for study, own in by_study.values() for note in missing_runs.unfinished_notes(study, own)]
    evidence = [note for study, _ in by_study.values() for note in notes.evidence_notes(study)]
    about = notes.row_notes(by_study.values())
    # what the numbers are, what warns of them, how they came about, and the command that trains what is missing
    found = [
        f"{describe_splits(tasks)}, in per cent; {notes.describe_seeds(lines)}.",
        *evidence,
        *([*average_notes(tasks), *shared_text_notes(tasks)] if averaged else []),
        *(note for note in [*marks, *about] if not isinstance(note, Detail)),
        *constant_notes(lines, tasks),
        *still_learning_notes(lines),
        *teacher_lead_notes(lines, tasks),
        *(note for note in [*marks, *about] if isinstance(note, Detail)),
        *holes,
        *(missing_runs.missing_runs_commands(table, rows[-1].study, lines) if holes else []),
    ]
    return list(dict.fromkeys(found))


def describe_splits(tasks: Sequence[type[Task]]) -> str:
    """Name the reported splits, with the tasks where these differ: `Development sets (SST-2), test sets (TREC)`."""
    titles: dict[str, list[str]] = {}
    for task in tasks:
        splits = {split.replace("_", "-") for split in task.report_splits}
        is_validation = all(split.startswith("validation") for split in splits)
        other = "test sets" if splits == {"test"} else f"splits {', '.join(sorted(splits))}"
        titles.setdefault("development sets" if is_validation else other, []).append(task.title)
    named = [name + (f" ({', '.join(some)})" if len(titles) > 1 else "") for name, some in titles.items()]
    told = ", ".join(named)
    return told[:1].upper() + told[1:]


def _whole() -> set[str]:
    """Return the tasks of the paper's average."""
    return {name for name, task in TASKS.all().items() if task.group == PAPER_GROUP}


def average_notes(tasks: Sequence[type[Task]]) -> list[str]:
    """Say how the average is computed, and whether it covers the tasks of the paper's average; [] of one number."""
    if len(tasks) == 1:
        return ["Avg. = mean of the numbers of a cell."] if len(tasks[0].numbers()) > 1 else []
    pairs = ["/".join(part_names(task)) for task in tasks if len(task.numbers()) > 1]
    first = f"; {' and '.join(dict.fromkeys(pairs))} are averaged first" if pairs else ""
    whole = _whole()
    shown = {task.name for task in tasks}
    if shown == whole:
        return [f"Avg. = mean of the {len(whole)} task means{first}."]
    return [f"Avg. = mean of the {len(tasks)} task means shown here, not of the {len(whole)} GLUE tasks{first}."]


def score_records(shown: ShownRow) -> list[dict[str, Any]]:
    """Return the numbers of a row as records; `last` is the number without checkpoint selection."""
    line, head = shown.line, provenance.study_origin(shown.study)
    return [
        head | {
            "train_rows": c.run.spec.training.train_rows, "data": c.run.spec.data.fingerprint,
            "row": shown.key, "title": line.title, "task": c.cell.task, "split": split, "metric": metric,
            "unit": "per cent", "seed": c.cell.seed, "value": c.score(metric, split),
            "learned_from_report": line.saw_report,
            "last": c.score(metric, split, "last"),
            "choice": " ".join(f"{key}={value(item)}" for key, item in c.cell.choice.items()), "run": c.run.id,
            "predicted_classes": _classes(c, "best", split), "teacher_predicted_classes": _classes(c, "teacher", split),
        }
        for name, cells in line.shown.items() for c in cells for metric, split in TASKS.get(name).numbers()
    ]  # fmt: skip


def _classes(cell: CellResult, network: str, split: str) -> int | str:
    """Return how many classes a network predicts; "" where it is not known."""
    use = cell.run.class_use.get(network, {}).get(split)
    return use.predicted if use else ""
