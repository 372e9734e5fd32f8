"""Say what was trained: tasks, networks, hyperparameters, tuning, time; and which networks collapsed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any

import numpy as np

from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.text_table import bullets, text_table
from kdbench.core.errors import UserError
from kdbench.core.formatting import count, duration, value
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS, PAPER, method_groups
from kdbench.reporting import machines, notes
from kdbench.results.study import Run, StudyResults, task_order, task_title

# a column each in the table of what was trained
SETTINGS = {
    "student_lr": "Student's rate", "teacher_lr": "Teacher's rate", "epochs": "Epochs", "batch_size": "Batch size",
    "precision": "Precision",
}  # fmt: skip
ROLES = ("train", "selection", "feedback")
TRAINED = (
    "Rows of train: all that train, select or give feedback. Methods: those with a finished run. Hours: the recorded "
    "times of all runs, teachers included."
)
NEEDED, VARIANTS, OTHER = "needed first", "variants", "other"  # columns of hours beside those of groups of methods
HOURS = (
    "Recorded hours of training. Needed first: teachers and assistants. Then the groups of methods, and variants of "
    "methods."
)
CROWDED = 0.1  # of the reported items, from which a class that takes so many too much is named


def setup_words(contrasts: StudyContrasts) -> str:
    """Name the networks, the splits and the machine, as a Markdown list."""
    study = contrasts.study
    said = [f"{study.pairing}, preset `{study.preset}`.", *notes.protocol_notes(study, list(contrasts.lines.values()))]
    places = [machines.machine_note(_done(study)), *_mixed_machines(contrasts)]
    return bullets([*said, *notes.evidence_notes(study), *places])


def _mixed_machines(contrasts: StudyContrasts) -> Iterator[str]:
    """Name the rows of a task that were trained on other machines than most of its rows."""
    for task in contrasts.tasks:
        rows: dict[tuple[str, ...], list[str]] = {}
        for row in contrasts.rows:
            runs = [cell.run for cell in contrasts.cells(row, task)]
            if places := sorted({name for run in runs for name in machines.machine_names(run)}):
                rows.setdefault(tuple(places), []).append(contrasts.title(row))
        usual = max(rows, key=lambda places: len(rows[places]), default=())
        others = [f"{', '.join(titles)} ({' and '.join(p)})" for p, titles in rows.items() if p != usual]
        if others:
            yield (
                f"{task_title(task)}: {'; '.join(others)} were trained on another machine than the other rows "
                f"({' and '.join(usual)}). Equal runs of different machines may differ like runs of two seeds."
            )


def trained_table(contrasts: StudyContrasts) -> str:
    """Return a Markdown table with a row a task: what was trained there, and in how many hours."""
    heads = ["Rows of train", "Reported", "Classes", *SETTINGS.values(), "Methods", "Seeds", "Runs done", "Hours"]
    rows = []
    for task in contrasts.study.tasks:
        runs = [run for run in contrasts.study.runs.values() if run.spec.task == task]
        done = [run for run in runs if run.result is not None]
        cells = [cell for cell in contrasts.study.cells if cell.cell.task == task]
        rows.append([
            task_title(task), _sizes(done, ROLES), _sizes(done, TASKS.get(task).report_splits),
            str(len(TASKS.get(task).labels)), *(_values(cell.settings.get(key) for cell in cells) for key in SETTINGS),
            str(sum(bool(contrasts.lines[row].shown[task]) for row in contrasts.rows)),
            _values(sorted(cell.cell.seed for cell in cells)), f"{len(done)} of {len(runs)}",
            f"{train_seconds(done) / 3600:.1f}",
        ])  # fmt: skip
    return text_table(heads, rows, [TRAINED])


def _done(study: StudyResults) -> list[Run]:
    return [run for run in study.runs.values() if run.result is not None]


def _sizes(runs: Sequence[Run], splits: Iterable[str]) -> str:
    """Return the number of rows of splits together, from the first finished run that counted them."""
    counted: Iterable[Mapping[str, int]] = ((run.result or {}).get("rows", {}) for run in runs)
    sizes = next((sizes for sizes in counted if sizes), {})
    found = sum(sizes.get(split, 0) for split in splits)
    return f"{found:,}" if found else "–"


def _values(items: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(value(item) for item in items if item is not None)) or "–"


def train_seconds(runs: Iterable[Run]) -> float:
    """Sum the recorded training times of runs."""
    return sum(float(run.cost.get("train_seconds", 0)) for run in runs)


def time_words(contrasts: StudyContrasts) -> str:
    """Say how long all runs trained, the teachers among them, and whether the machine had other work."""
    done = _done(contrasts.study)
    teachers = {cell.run.id: cell.run for cell in contrasts.study.teachers if cell.run.result is not None}
    whole, part = train_seconds(done), train_seconds(teachers.values())
    runs = count(len(done), "finished run")
    told = f"The recorded times of {runs} add up to {duration(whole)}, those of the teachers to {duration(part)}."
    return f"{told} {contrasts.load_note}".rstrip()


def hours_table(main: StudyResults, every: Sequence[StudyResults], tuned: StudyResults | None = None) -> str:
    """Return a Markdown table of the recorded hours: a row a task and student, a column a group of methods.

    Args:
        main: the study whose student is not named.
        every: all studies, the main one among them.
        tuned: the study in which settings were tried before.
    """
    found: dict[str, dict[str, list[Run]]] = {}  # row -> column -> runs
    others = [study for study in every if study is not main]
    for study in [main, *others, *([tuned] if tuned else [])]:
        groups = {cell.run.id: _group(cell.cell.row) for cell in reversed(study.cells)}
        student = "" if study.students == main.students else " and ".join(study.students)
        aside = "tuning" if study is tuned else student
        for run in sorted(study.runs.values(), key=lambda run: task_order(run.spec.task)):
            row = ", ".join(filter(None, (task_title(run.spec.task), aside)))
            found.setdefault(row, {}).setdefault(groups.get(run.id, NEEDED), []).append(run)
    columns = [
        name for name in dict.fromkeys((NEEDED, PAPER, *method_groups(), VARIANTS, OTHER))
        if any(name in groups for groups in found.values())
    ]  # fmt: skip
    rows = []
    for row, runs in found.items():
        every_run = list(chain(*runs.values()))
        hours = [f"{train_seconds(runs[name]) / 3600:.1f}" if name in runs else "–" for name in columns]
        done = sum(run.result is not None for run in every_run)
        rows.append((row, *hours, f"{train_seconds(every_run) / 3600:.1f}", f"{done} of {len(every_run)}"))
    return text_table([*(name.capitalize() for name in columns), "All", "Runs done"], rows, [HOURS])


def _group(row: str) -> str:
    """Return the column of a row: its method's group, or that of variants."""
    owner = METHODS.owner(row)
    return OTHER if owner is None else VARIANTS if owner != row else METHODS.get(owner).group or OTHER


def collapse_words(contrasts: StudyContrasts) -> str:
    """List which networks predict only one class, or that none does; and which never predict some class."""
    lines = list(contrasts.lines.values())
    runs = {cell.run.id for line in lines for cells in line.shown.values() for cell in cells}
    none = (
        f"In {count(len(runs), 'run')}, no student and no teacher trained along predicts only one class (or only two "
        "of three or more)."
    )
    return bullets([*(notes.collapse_notes(lines) or [none]), *notes.missed_class_notes(lines), *_crowded(contrasts)])


def _crowded(contrasts: StudyContrasts) -> Iterator[str]:
    """Name the rows of which every seed predicts one class for many more items than have it."""
    found = []
    for row, task in product(contrasts.rows, contrasts.tasks):
        shares = [share for cell in contrasts.cells(row, task) if (share := _surplus(cell.run)) is not None]
        if shares and min(shares) >= CROWDED:
            low, high = (f"{value(round(100 * edge, 1))}" for edge in (min(shares), max(shares)))
            found.append(
                f"{contrasts.title(row)} on {task_title(task)} ({low if low == high else f'{low} to {high}'} %)"
            )
    if found:
        yield (
            f"Every seed predicts one class far too often: {', '.join(found)}; in brackets the items that it takes "
            "more than have it, of all reported ones."
        )


def _surplus(run: Run) -> float | None:
    """Return how many more of the reported items the likeliest class takes than have it, as a share of all."""
    try:
        parts = list(run.predictions.values())
    except UserError:  # lost, or not collected
        return None
    if len(run.task.labels) < 2 or not parts:
        return None
    predicted, true = (
        np.bincount(np.concatenate([getattr(part, name) for part in parts]), minlength=len(run.task.labels))
        for name in ("classes", "labels")
    )
    return float((predicted - true).max() / true.sum())
