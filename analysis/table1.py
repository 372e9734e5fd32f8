"""Table 1: every method on every task."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.plugins import TASKS
from kdbench.results import TEACHER, CellResult, Line, StudyResults, pick
from kdbench.tables import Entry, Sheet, Table
from kdbench.task import Task
from kdbench.views import notes
from kdbench.views.printing import value

NONE = Entry(("–",))
SHORT = {"accuracy": "Acc.", "f1": "F1", "validation_matched": "m", "validation_mismatched": "mm"}
PAPER_GROUP = "glue"  # the tasks whose mean the paper prints


@dataclass(frozen=True)
class Score:
    """What one row scored on one task: for every metric and reported split the values over seeds, in per cent."""

    parts: tuple[tuple[float, ...], ...]

    @property
    def mean(self) -> float:
        """Seeds averaged, then the parts (F1 and accuracy; matched and mismatched)."""
        return statistics.fmean(statistics.fmean(values) for values in self.parts)

    def entry(self, best: bool) -> Entry:
        means = tuple(f"{statistics.fmean(values):.1f}" for values in self.parts)
        several = len(self.parts[0]) > 1
        spreads = tuple(f"{statistics.stdev(values):.1f}" for values in self.parts) if several else ()
        return Entry(means, spreads, best)


class Table1(Table):
    """Rows: teacher, the student fine-tuned without a teacher, then the methods. Columns: tasks and their average.

    In every column the best row is marked, the teacher's apart; rows that print the same are marked alike.
    """

    title = "Table 1: distillation methods on GLUE"

    def build(self, study: StudyResults) -> Sheet:
        tasks = [TASKS.get(name) for name in study.tasks]
        rows = ([TEACHER] if study.teachers else []) + study.rows
        lines = [pick(study, row) for row in rows]
        sheet = Sheet(_title(study), ["", *map(_heading, tasks), "Avg."])
        sheet.rules = {1} if study.teachers else set()
        scores = [[_score(task, line.shown[task.name]) for task in tasks] for line in lines]
        labels = [line.title + _mark(line) for line in lines]
        sheet.rows = _entries(labels, scores, first=len(sheet.rules))
        sheet.notes = _notes(study, tasks, lines)
        sheet.records = [record for line in lines for record in _records(study, line)]
        return sheet


def _title(study: StudyResults) -> str:
    return f"Table 1, preset {study.preset}: {study.study['teacher']} teaches {study.study['student']}"


def _numbers(task: type[Task]) -> list[tuple[str, str]]:
    """The (metric, split) of each number in a cell."""
    return [(metric, split) for split in task.report_splits for metric in task.metrics]


def _heading(task: type[Task]) -> str:
    splits = [SHORT.get(name, name) for name in task.report_splits]
    metrics = [SHORT.get(name, name) for name in task.metrics]
    if len(splits) > 1:
        metrics = [f"{metric} {split}" if len(metrics) > 1 else split for split in splits for metric in metrics]
    return f"{task.title}\n{'/'.join(metrics)}"


def _mark(line: Line) -> str:
    """A dagger where the reported split was also learned from."""
    return notes.DAGGER if line.feedback_from("validation") else ""


def _score(task: type[Task], cells: list[CellResult]) -> Score | None:
    if not cells:
        return None
    return Score(tuple(tuple(c.score(metric, split) for c in cells) for metric, split in _numbers(task)))


def _average(scores: Sequence[Score | None]) -> float | None:
    """The mean of the task means; None when a task is missing."""
    means = [score.mean for score in scores if score]
    return statistics.fmean(means) if means and len(means) == len(scores) else None


def _entries(labels: Sequence[str], scores: Sequence[Sequence[Score | None]], first: int) -> list[list[Entry]]:
    """The printed rows; the best of each column is marked, from row `first` on."""
    # as printed: a difference that nobody can see is no difference
    means = [[_printed(score.mean if score else None) for score in row] + [_printed(_average(row))] for row in scores]
    tops = [max((m for m in column[first:] if m is not None), default=None) for column in zip(*means, strict=True)]
    rows = []
    for i, (label, row) in enumerate(zip(labels, scores, strict=True)):
        best = [i >= first and mean is not None and mean == top for mean, top in zip(means[i], tops, strict=True)]
        cells = [score.entry(mark) if score else NONE for score, mark in zip(row, best[:-1], strict=True)]
        average = means[i][-1]
        cells.append(NONE if average is None else Entry((f"{average:.1f}",), (), best[-1]))
        rows.append([Entry((label,)), *cells])
    return rows


def _printed(mean: float | None) -> float | None:
    return None if mean is None else float(f"{mean:.1f}")


def _notes(study: StudyResults, tasks: Sequence[type[Task]], lines: Sequence[Line]) -> list[str]:
    splits = {split for task in tasks for split in task.report_splits}
    where = "Development sets" if all(s.startswith("validation") for s in splits) else ", ".join(sorted(splits))
    return [
        f"{where}, in per cent; {notes.seeds(lines)}.",
        _formula(tasks),
        *notes.protocol(study, lines),
        *notes.training(lines),
        *notes.grid(study, lines),
        *notes.evidence(study),
        *notes.holes(study, lines),
    ]


def _formula(tasks: Sequence[type[Task]]) -> str:
    """How the last column is computed, and whether it is the paper's."""
    pairs = [_heading(task).partition("\n")[2] for task in tasks if len(_numbers(task)) > 1]
    first = f"; {' and '.join(dict.fromkeys(pairs))} are averaged first" if pairs else ""
    whole = {name for name, task in TASKS.all().items() if task.group == PAPER_GROUP}
    shown = {task.name for task in tasks}
    if shown == whole:
        return f"Avg. = mean of the {len(whole)} task means{first}."
    number = f"the {len(tasks)} task means" if len(tasks) > 1 else "the one task"
    return f"Avg. = mean of {number} shown here, not of the {len(whole)} GLUE tasks{first}."


def _records(study: StudyResults, line: Line) -> list[dict[str, Any]]:
    """The numbers behind a row, one a record; `last` is the same number without checkpoint selection."""
    about = ("student", "teacher", "source", "feedback", "selection", "split_seed", "train_rows")
    head = {"preset": study.preset, **{key: study.study[key] for key in about}}
    return [
        head | {
            "row": line.row, "title": line.title, "task": c.cell.task, "split": split, "metric": metric,
            "unit": "per cent", "seed": c.cell.seed, "value": c.score(metric, split),
            "last": c.score(metric, split, "last"), "choice": _choice(c), "run": c.run.id,
        }
        for name, cells in line.shown.items() for c in cells for metric, split in _numbers(TASKS.get(name))
    ]  # fmt: skip


def _choice(cell: CellResult) -> str:
    return " ".join(f"{key}={value(item)}" for key, item in cell.cell.choice.items())
