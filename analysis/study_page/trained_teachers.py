"""Show how teachers that learn along with their students end, beside the teacher that is fine-tuned alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from kdbench.analysis import curves
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.scores import row_mean, run_mean
from kdbench.analysis.study_page.text_table import text_table
from kdbench.data.task_registry import TASKS
from kdbench.results.study import TEACHER, Run, task_title

RATIO = ("influence", "influence_ratio")  # split and key in a series
NOTES = (
    "Score of the teacher at the end of the training, mean of the task's metrics in per cent; mean ± sample standard "
    "deviation over the seeds. In parentheses the student's, of its selected checkpoint. Nothing is tested here. A "
    "teacher of which only an added part is trained has no score.",
    "Influence ratio, task by task: length of the gradient of the influence term, its coefficient included, over that "
    "of the auxiliary loss; median over the recorded steps of all seeds.",
)


def teachers_section(contrasts: StudyContrasts) -> list[str]:
    """Return the teachers' scores as a Markdown table; a sentence where none was trained along."""
    found = {row: scores for row in contrasts.rows if (scores := _teachers(contrasts, row))}
    if not found:
        return ["No teacher was trained along with its student."]
    # the teacher that is fine-tuned alone
    ends = [[run_mean(cell.run, "last") for cell in contrasts.cells(TEACHER, task)] for task in contrasts.tasks]
    alone = [_spread(some) if some else "–" for some in ends]
    rows = [(f"{contrasts.title(TEACHER)}, fine-tuned alone", *alone, "–")]
    # those that learn along, each with its student
    for row, scores in found.items():
        cells = [
            f"{_spread(scores[task])} ({row_mean(contrasts, row, task):.1f})" if task in scores else "–"
            for task in contrasts.tasks
        ]
        ratios = [influence_ratio(contrasts, row, task) for task in contrasts.tasks]
        rows.append((contrasts.title(row), *cells, " / ".join(ratios) if set(ratios) != {"–"} else "–"))
    return [text_table([*map(task_title, contrasts.tasks), "Influence ratio"], rows, NOTES)]


def _spread(scores: Sequence[float]) -> str:
    """Format the mean of scores and, of several, their standard deviation."""
    mean = f"{statistics.fmean(scores):.1f}"
    return f"{mean}±{statistics.stdev(scores):.1f}" if len(scores) > 1 else mean


def _teachers(contrasts: StudyContrasts, row: str) -> dict[str, list[float]]:
    """Return task -> the scores of the teachers that a row's runs have trained along."""
    known = {task: [*_scores(cell.run for cell in contrasts.cells(row, task))] for task in contrasts.tasks}
    return {task: some for task, some in known.items() if some}


def _scores(runs: Iterable[Run]) -> Iterator[float]:
    """Yield the mean score of each trained teacher in per cent."""
    for run in runs:
        if scores := (run.result or {}).get("teacher"):
            task = TASKS.get(run.spec.task)
            yield 100 * statistics.fmean(float(scores[split][metric]) for metric, split in task.numbers())


def influence_ratio(contrasts: StudyContrasts, row: str, task: str) -> str:
    """Return the median ratio of gradient norms of a row on a task; – where none was recorded."""
    read = curves.series_reader(*RATIO)
    found = [
        curves.stored_number(one)
        for cell in contrasts.cells(row, task)
        for _, recorded in read(cell).values()
        for one in recorded
    ]
    return f"{statistics.median(found):.2g}" if found else "–"
