"""Show how scores depend on the layers that a student starts from."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence

from kdbench.analysis.study_page.scores import run_mean
from kdbench.analysis.study_page.text_table import text_table
from kdbench.models.display_names import display_name
from kdbench.models.reference import split_name
from kdbench.planning import reproduce
from kdbench.results.study import CellResult, StudyResults, task_title

ROWS = ("finetune", "kd", "lgtm")  # trained from other layers
Starts = dict[tuple[str, str], dict[str, dict[int, float]]]  # (row, task) -> student -> seed -> score


def depth(cell: CellResult) -> int:
    """Return how many layers of a network the cell's student starts from; 0 where it starts from all."""
    return len(split_name(cell.run.spec.student.name)[1])


def starts_of(study: StudyResults, every: Sequence[StudyResults]) -> Starts:
    """Return the scores of all studies by row, task and initial student, of students as deep as the study's.

    Of each row and task those of the seeds that all its initial students have.
    """
    found: Starts = {}
    cells = [cell for other in every for cell in other.cells if cell.is_scored]
    for cell in (cell for cell in cells if depth(cell) == depth(study.cells[0])):
        by_start = found.setdefault((cell.cell.row, cell.cell.task), {})
        by_start.setdefault(display_name(cell.run.spec.student), {})[cell.cell.seed] = run_mean(cell.run)
    shared = {place: set.intersection(*map(set, by_start.values())) for place, by_start in found.items()}
    return {
        place: {name: {seed: seeds[seed] for seed in sorted(shared[place])} for name, seeds in by_start.items()}
        for place, by_start in found.items() if len(by_start) > 1 and shared[place]
    }  # fmt: skip


def layers_section(study: StudyResults, every: Sequence[StudyResults]) -> list[str]:
    """Return a sentence and a Markdown table; the command that trains other students where there is one start only."""
    found = starts_of(study, every)
    if not found:
        return [f"Only one initial student was trained, {' and '.join(study.students)}. {_command(study)}".rstrip()]
    names = sorted({name for by_start in found.values() for name in by_start})
    titles = {row: one.title(row) for one in every for row in one.rows}
    widest, rows = dict[str, float](), []
    for (row, task), by_start in found.items():
        means = {name: statistics.fmean(seeds.values()) for name, seeds in by_start.items()}
        reach = max(means.values()) - min(means.values())
        widest[f"{titles[row]} on {task_title(task)}"] = reach
        shown = [f"{means[name]:.1f} ({len(by_start[name])})" if name in means else "–" for name in names]
        rows.append((titles[row], task_title(task), *shown, f"{reach:.1f}"))
    most = max(widest, key=lambda name: widest[name])
    told = f"The means of {most} lie farthest apart: {widest[most]:.1f} points between its starts."
    note = (
        "Mean score over the seeds that all starts of a row have; their number is in parentheses. The differences are "
        "not tested."
    )
    return [told, text_table(["Task", *names, "Widest difference"], rows, [note])]


def _command(study: StudyResults) -> str:
    """Return a sentence with the command that trains two other choices of as many layers; "" where none is known."""
    base, layers = split_name(study.study["student"])
    if not layers:
        return ""
    first, last = range(len(layers)), range(max(layers) - len(layers) + 1, max(layers) + 1)
    names = ["+".join(map(str, some)) for some in (first, last) if tuple(some) != layers]
    words = reproduce.rows_command(study, ROWS, study.tasks[0])
    words += ["--student", base, "--set", f"student_layers={','.join(names)}"]
    return f"To train others: `{shlex.join(words)}`."
