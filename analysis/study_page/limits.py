"""Say what the study cannot say."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np

from kdbench.analysis.study_page.contrasts import LEAST_SEEDS, UNIT, StudyContrasts
from kdbench.analysis.study_page.scores import run_mean
from kdbench.core.formatting import count, count_range, signed
from kdbench.data.task_registry import TASKS
from kdbench.reporting.learning_notes import best_at_end
from kdbench.results.study import StudyResults, task_title

LIMITS = (
    "- The networks are small. What holds for few layers and short texts may not hold for BERT-Base.",
    '- The seeds are few, so an interval is wide, and "not separable" does not mean equal. The best number of a column '
    "is chosen by the numbers that it is then compared with.",
    "- A correction over hundreds of pairs rests on p-values below 0.001. With three seeds, these can be too small by "
    "a factor of up to ten where the seeds of a row lie far apart ([statistics](statistics.md)).",
    "- Options of methods are kdbench's defaults, except those named below the table. At most the student's rate is "
    "tuned, never the teacher's.",
    "- Seeds differ in the classifiers at the start, the order of rows and dropout. The rows that are held out are the "
    "same with every seed, so that no interval counts their choice.",
    "- Two defaults were chosen after trainings on some of these tasks: the size of LGTM's influence, on held-out rows "
    "of train, and classifiers that start at random, after a comparison by reported scores ([LGTM](lgtm.md)).",
    "- The paper reports scores of GLUE's test server with other networks, so orders are compared and not scores.",
)
MINILM = "minilm"  # in the fingerprint of the network
SEEN = (
    "- MiniLM was trained on many sentence pairs, questions among them, before it was fine-tuned here. It may have "
    "seen texts like those of these tasks."
)
RARE = 2  # as many times as rare as the classes on average
BY_CLASS = "macro_f1"  # the metric in which every class counts the same


def limits(contrasts: StudyContrasts, tuned: StudyResults | None = None) -> str:
    """Return the limits as a Markdown list, those of this study's size first.

    Args:
        tuned: the study in which settings were tried before.
    """
    seeds = {len(contrasts.seeds(row, task)) for row in contrasts.rows for task in contrasts.tasks} - {0}
    less = " Where a number has one seed, the sign ° counts items only, and no sentence rests on it."
    tasks = f"{count(len(contrasts.tasks), 'task')}{_each(contrasts)}"
    own = f"- The numbers are of {count_range(seeds, 'seed')} and {tasks}."
    seen = [SEEN] if any(MINILM in known for known in contrasts.study.models.values()) else []
    made = [*_unfinished(contrasts, tuned), *_selection(contrasts), *_rarest_class(contrasts)]
    return "\n".join([f"{own}{less if min(seeds) < LEAST_SEEDS else ''}", *made, *LIMITS, *seen])


def _each(contrasts: StudyContrasts) -> str:
    """Say how many seeds each task has; "" where all have as many."""
    tasks: dict[str, list[str]] = {}
    for task in contrasts.tasks:
        numbers = {len(contrasts.seeds(row, task)) for row in contrasts.rows} - {0}
        if numbers:
            tasks.setdefault(count_range(numbers, "seed"), []).append(task_title(task))
    told = ", ".join(f"{number} on {' and '.join(titles)}" for number, titles in tasks.items())
    return f": {told}. An average counts every task the same, whatever its seeds" if len(tasks) > 1 else ""


def _unfinished(contrasts: StudyContrasts, tuned: StudyResults | None) -> Iterator[str]:
    """Name the tasks that are still learned at the end of training, and say whether rates were tuned there."""
    for task in (task for task in contrasts.tasks if task not in contrasts.settled_tasks):
        last, runs = best_at_end(list(contrasts.lines.values()), task)
        untuned = "" if tuned and task in tuned.tasks else ", and no rate was tuned there"
        yield (
            f"- {task_title(task)} shows which methods are fast, and perhaps not which are good: the last evaluation "
            f"is the best one in {last} of {runs} runs{untuned}."
        )


def _selection(contrasts: StudyContrasts) -> Iterator[str]:
    """Say how far the choice of a checkpoint moves scores: on each task, in the row that it moves most."""
    parts, rows = [], []
    for task in contrasts.tasks:
        cells = {row: contrasts.cells(row, task) for row in contrasts.rows}
        moved = {
            row: statistics.fmean(run_mean(cell.run, "last") - run_mean(cell.run) for cell in some)
            for row, some in cells.items() if some
        }  # fmt: skip
        if not moved:
            continue  # the teacher alone is done there
        most = max(moved, key=lambda row: abs(moved[row]))
        rows.append(f"{(cells[most][0].run.result or {}).get('rows', {}).get('selection', 0):,} on {task_title(task)}")
        parts.append(f"{signed(moved[most])} {UNIT} ({contrasts.title(most)} on {task_title(task)})")
    if parts:
        yield (
            f"- Checkpoints are selected by held-out rows ({', '.join(rows)}). To report the last "
            f"checkpoint instead would change scores most by {', '.join(parts)}."
        )


def _rarest_class(contrasts: StudyContrasts) -> Iterator[str]:
    """Name the smallest class of all tasks in whose metric every class counts the same, if it is a rare one."""
    found = []
    for task in (task for task in contrasts.tasks if BY_CLASS in TASKS.get(task).metrics):
        runs = [cell.run for row in contrasts.rows for cell in contrasts.cells(row, task)]
        for run in [one for one in runs if one.predictions][:1]:
            labels = np.concatenate([one.labels for one in run.predictions.values()])
            counts = np.unique(labels, return_counts=True)[1]
            if RARE * counts.min() < counts.mean():
                found.append((int(counts.min()), len(labels), len(counts), task_title(task)))
    if found:
        fewest, items, classes, title = min(found)
        yield (
            f"- The smallest class, of {title}, has {fewest:,} of {items:,} reported items, and counts as one of "
            f"{classes} in the macro-F1."
        )
