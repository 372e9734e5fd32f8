"""Measure the networks that tables show, one seed a row."""

from __future__ import annotations

from rich.console import Console

from kdbench.core.errors import UserError
from kdbench.core.registry import ALL
from kdbench.data.task_registry import TASKS
from kdbench.reporting.printing import print_line
from kdbench.reporting.provenance import traceable_rows
from kdbench.reporting.study_choice import StudyChoice, find_rows, require_studies
from kdbench.results.deployment import read_deployment
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import TEACHER, Run, StudyResults, task_title


def measure_rows(
    store: Store, rows: str, seed: int | None, threads: int, seconds: float, choice: StudyChoice, console: Console, *,
    again: bool,
) -> None:  # fmt: skip
    """Measure one run for each row and task of the newest study.

    Args:
        rows: names joined by commas, or `all`; the teacher is always measured too.

    Raises:
        UserError: no such row or seed, nothing that was chosen, or nothing is done.
    """
    from kdbench.training.deployment import forms
    from kdbench.training.deployment.measure import measure

    study = newest_study(store, choice)
    chosen = choose_runs(study, rows, seed)
    for number, run in enumerate(chosen, start=1):
        known = read_deployment(run)
        place = f"[{number}/{len(chosen)}] {run.id}"
        if known is not None and known.threads == threads and not again:
            print_line(console, f"{place}: measured before")
            continue
        found = measure(run, threads, seconds)
        times = ", ".join(f"{name} {1000 * form.latency[1].p50:.2f} ms" for name, form in found.forms.items())
        print_line(console, f"{place}: {times}")
    if problem := forms.missing_packages():
        print_line(console, problem)
    if left_out := regressions_note(study):
        print_line(console, left_out)
    print_line(console, f"To show it: kdbench table deploy --results {store.root}")


def newest_study(store: Store, choice: StudyChoice) -> StudyResults:
    """Return the chosen study that was asked for last.

    Raises:
        UserError: there is none, or nothing that was chosen.
    """
    return require_studies(store, choice).studies[-1]


def regressions_note(study: StudyResults) -> str:
    """Name the tasks of numbers, whose networks are neither measured nor probed; "" where there is none."""
    titles = [task_title(task) for task in study.tasks if len(TASKS.get(task).labels) == 1]
    return f"Left out, for it has numbers and no classes: {', '.join(titles)}." if titles else ""


def rows_to_measure(study: StudyResults, rows: str) -> list[str]:
    """Return the rows of a study that names and groups choose; `all` is every row.

    Raises:
        UserError: no such row.
    """
    known = traceable_rows(study)
    chosen = set(known) if rows == ALL else find_rows([study], rows)
    return [row for row in known if row in chosen]


def choose_runs(study: StudyResults, rows: str, seed: int | None) -> list[Run]:
    """Return a finished run for each row and task, of `seed` or the first seed.

    Raises:
        UserError: no such row, or nothing of it is done.
    """
    names = rows_to_measure(study, rows)
    names = [*([TEACHER] if TEACHER in traceable_rows(study) and TEACHER not in names else []), *names]
    found: dict[str, Run] = {}
    for line in (select_row(study, name) for name in names):
        for task, cells in line.shown.items():
            runs = [cell.run for cell in cells if seed in (None, cell.cell.seed)]
            has_classes = len(TASKS.get(task).labels) > 1
            if runs and has_classes and not runs[0].spec.student.is_outputs:
                found[runs[0].id] = runs[0]
    if not found:
        raise UserError(f"No network of {rows} with that seed and task is done in {study.root}; see: kdbench status")
    return list(found.values())
