"""Say among how many settings each method was chosen, in the study and before it."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence

from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.text_table import text_table
from kdbench.core.formatting import count, value
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS
from kdbench.results.comparison import count_trials
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import StudyResults, task_title

RATE = "student_lr"  # what is tuned
UNTUNED = (
    "No rate was tuned: every method has those of the table. `make study PART=tuning` tunes the student's, with one "
    "budget for all."
)


def tuning_words(contrasts: StudyContrasts, tuned: StudyResults | None) -> str:
    """Say among how many settings each method was chosen.

    Args:
        tuned: the study in which settings were tried before.
    """
    tried: dict[int, list[str]] = {}
    for row in contrasts.rows:
        most = max(count_trials(contrasts.lines[row], task) for task in contrasts.tasks)
        tried.setdefault(most, []).append(contrasts.title(row))
    if len(tried) == 1:
        own = f"Every method has the same number of settings in these results: {next(iter(tried))}."
    else:
        listed = "; ".join(f"{count(n, 'setting')}: {', '.join(rows)}" for n, rows in sorted(tried.items()))
        own = f"Methods have unequal numbers of settings in these results. {listed}."
    if tuned is None:
        return f"{own} {UNTUNED}"
    others = [row for row in contrasts.rows if row not in tuned.rows]
    variants = [contrasts.title(row) for row in others if METHODS.owner(row) in tuned.rows]
    alone = [contrasts.title(row) for row in others if METHODS.owner(row) not in tuned.rows]
    rest = f" Not tuned themselves, with the rates of their method: {', '.join(variants)}." if variants else ""
    rest += f" Not tuned themselves, with the rates of the table: {', '.join(alone)}." if alone else ""
    untuned = [task_title(task) for task in contrasts.tasks if task not in tuned.tasks]
    rest += f" No rate was tuned on {', '.join(untuned)}." if untuned else ""
    return f"{own} {_tried_before(tuned)}{rest}"


def same_rates_words(tuned: StudyResults | None) -> str:
    """Say for which student the rates were tuned, where other students have them; "" where none was tuned."""
    return f"The rates were tuned for {' and '.join(tuned.students)} alone." if tuned and tuned.cells else ""


def _tried_before(tuned: StudyResults) -> str:
    """Say which rates were tried before, on seeds that are not reported."""
    tried: dict[tuple[str, bool], list[str]] = {}  # rates, and whether all methods had them -> tasks
    for task in tuned.tasks:
        lines = [select_row(tuned, row) for row in tuned.rows if tuned.of(row, task)]
        rates = ", ".join(map(value, sorted({rate for line in lines for rate in _scores(line, task)})))
        equal = len({count_trials(line, task) for line in lines}) == 1
        tried.setdefault((rates, equal), []).append(task_title(task))
    parts = [
        f"{RATE} of {rates} on {' and '.join(tasks)}, {'' if equal else 'not '}all for every tuned method"
        for (rates, equal), tasks in tried.items()
    ]
    seeds = ", ".join(map(str, sorted({cell.cell.seed for cell in tuned.cells})))
    return f"Tuned on the selection split with seed {seeds}, which is not reported: {'; '.join(parts)}."


def tuning_table(tuned: StudyResults | None) -> str:
    """Return the selection score of each row at each rate that was tried before, as a Markdown table; "" for none."""
    if tuned is None:
        return ""
    lines = {row: select_row(tuned, row) for row in tuned.rows}
    rates = {task: sorted({rate for line in lines.values() for rate in _scores(line, task)}) for task in tuned.tasks}
    rows = []
    for line in lines.values():
        texts = [line.title]
        for task, some in rates.items():
            scores, chosen = _scores(line, task), best_rate(line, task)
            known = {rate: f"{scores[rate]:.1f}" for rate in some if rate in scores}
            texts += [f"{known.get(rate, '–')}{' ←' if rate == chosen else ''}" for rate in some]
        rows.append(texts)
    heads = [f"{task_title(task)}, {value(rate)}" for task, some in rates.items() for rate in some]
    note = (
        "Mean of the task's metrics on the selection split, in per cent, of the selected checkpoint. An arrow marks "
        "the highest of a row, which is chosen. Differences of a point are chance where there is one seed."
    )
    return text_table(heads, rows, [note, *_edge_words(lines.values(), rates)])


def _edge_words(lines: Collection[SelectedRow], rates: Mapping[str, Sequence[float]]) -> list[str]:
    """Name the rows whose chosen rate is the lowest or the highest of those tried, so that others may be better."""
    found: dict[str, list[str]] = {}
    for task, some in rates.items():
        for line in lines:
            chosen = best_rate(line, task)
            if len(some) > 1 and chosen in (some[0], some[-1]):
                end = "lowest" if chosen == some[0] else "highest"
                found.setdefault(f"the {end} on {task_title(task)}", []).append(line.title)
    if not found:
        return []
    parts = [f"{end} for {', '.join(titles)}" for end, titles in found.items()]
    return [f"The chosen rate is at an end of those tried, and a rate beyond may be better: {'; '.join(parts)}."]


def best_rate(line: SelectedRow, task: str) -> float | None:
    """Return the rate with the highest mean of the task's metrics on the selection split; None where nothing is done.

    A table's own grid is chosen by the first metric alone, which often cannot tell settings apart: a task of 545 rows
    has 546 accuracies, and a rare class moves none of them.
    """
    scores = _scores(line, task)
    return max(scores, key=lambda rate: scores[rate], default=None)


def _scores(line: SelectedRow, task: str) -> dict[float, float]:
    """Return rate -> mean selection score in per cent, over the seeds."""
    found: dict[float, list[float]] = {}
    for cell in line.asked.get(task, []):
        if cell.is_scored:
            score = 100 * statistics.fmean(map(cell.selection, TASKS.get(task).metrics))
            found.setdefault(float(cell.settings[RATE]), []).append(score)
    return {rate: statistics.fmean(scores) for rate, scores in found.items()}
