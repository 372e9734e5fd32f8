"""Figure ranks: the mean rank of every row of a study over tasks, with the critical difference of Nemenyi's test."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from kdbench.analysis import task_panels
from kdbench.core.formatting import count
from kdbench.data.shared_texts import shared_text_notes
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting import provenance
from kdbench.reporting.figures import Estimate, FigureData, Lacking, Panel, TaskFigure
from kdbench.reporting.formats import line_styles
from kdbench.results.selection import SelectedRow
from kdbench.results.significance import ALPHA
from kdbench.results.study import TEACHER, StudyResults, task_title

Floats = NDArray[np.float64]
MOST_ORDERS = 100_000  # that are counted one by one
WHAT = (
    "Marks: mean rank over tasks, 1 is best; white dots: the ranks on each task, of mean scores over seeds. Equal "
    "scores share a rank."
)
SAMPLE = "Tasks are the only sample here: the test does not see how sure the scores on a task are."
ONE_TASK = "Marks: the ranks on the one task, of mean scores over seeds; 1 is best. Equal scores share a rank."


class FigureRanks(TaskFigure):
    """One panel: mean ranks, with bars of half a critical difference to each side (Demšar 2006, Sec. 3.2.2).

    Two rows differ by Nemenyi's test where their bars do not overlap. Ranks need a block of rows and tasks without
    gaps; see `_largest_block`.
    """

    title = "Figure ranks: mean ranks over tasks"
    requests = (Request("all"),)

    def build_panels(self, study: StudyResults, tasks: Sequence[str]) -> FigureData:
        # the largest block, and the ranks on each of its tasks
        every = [line for line in task_panels.shown_rows(study, tasks) if line.row != TEACHER]
        shown, whole = _largest_block(every, tasks)
        if len(shown) < 2 or not whole:
            raise Lacking(f"two rows or more, all on one task, among {' or '.join(map(task_title, tasks))}")
        scores = np.array([[_score(line, task) for line in shown] for task in whole])
        ranks = rank_rows(scores)
        # one row of the panel for each row of the table, the best first
        reach = critical_difference(len(shown), len(whole)) / 2
        rows = [_estimate(study, line, dict(zip(whole, column, strict=True)), reach)
                for line, column in zip(shown, ranks.T, strict=True)]  # fmt: skip
        rows.sort(key=lambda row: row.mean)
        panel = Panel("Mean rank", estimates=rows, limits=(0.5, len(rows) + 0.5))
        told = [WHAT if len(whole) > 1 else ONE_TASK, *_notes(ranks, rows, reach, whole)]
        told += [*task_panels.edge_notes([panel]), *_left_out(every, shown, tasks, whole)]
        return task_panels.panel_figure(self.title, study, {",".join(whole): panel}, shown, told)


def _largest_block(
    lines: Sequence[SelectedRow], tasks: Sequence[str]
) -> tuple[list[SelectedRow], list[str]]:  # fmt: skip
    """Return rows that are done on all of some tasks, and these tasks.

    Blocks on which Nemenyi's test can find something go before others; then those with the most numbers, the most rows.
    """
    done = [frozenset(task for task in tasks if line.shown[task]) for line in lines]
    blocks = []
    for some in dict.fromkeys([*done, frozenset(tasks).intersection(*done)]):
        rows = [line for line, own in zip(lines, done, strict=True) if some <= own]
        can_tell = len(rows) > 1 and bool(some) and not few_tasks_words(len(rows), len(some))
        blocks.append((can_tell, len(rows) * len(some), len(rows), rows, [task for task in tasks if task in some]))
    *_, rows, whole = max(blocks, key=lambda block: block[:3])
    return rows, whole


def _score(line: SelectedRow, task: str) -> float:
    return statistics.fmean(provenance.mean_run_score(cell) for cell in line.shown[task])


def rank_rows(scores: Floats) -> Floats:
    """Rank the rows on each task, 1 for the highest score; equal scores share the mean of their ranks.

    Args:
        scores: [tasks, rows].
    """
    from scipy.stats import rankdata

    ranks: Floats = rankdata(-np.round(scores, 9), axis=1)
    return ranks


def critical_difference(rows: int, tasks: int) -> float:
    """Return the difference of mean ranks that is significant: q sqrt(k (k + 1) / (6 N)) (Demšar 2006, Eq. 4)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - ALPHA, rows, math.inf)) / math.sqrt(2)
    return q * math.sqrt(rows * (rows + 1) / (6 * tasks))


def few_tasks_words(rows: int, tasks: int) -> str:
    """Say that Nemenyi's test cannot find anything on so few tasks, whatever the ranks are; "" where it can."""
    reach, most = critical_difference(rows, tasks), rows - 1
    if reach <= most:
        return ""
    needed = math.ceil(tasks * (reach / most) ** 2)
    return (
        f"Nemenyi's test can tell no pair apart on {count(tasks, 'task')}: its critical difference {reach:.2f} is "
        f"larger than {most}, the most that mean ranks of {count(rows, 'row')} can differ. It needs at least {needed} "
        "tasks (Demšar 2006)."
    )


def friedman_test(ranks: Floats) -> tuple[float, str]:
    """Return the p-value of Friedman's test that no row differs, and how it was found.

    It is exact where the orders can be counted that the rows could have by chance, on each task its own: where they are
    few, and where all tasks agree. The F statistic of Iman and Davenport (1980) stands for it elsewhere.

    Args:
        ranks: [tasks, rows], two tasks or more.
    """
    from scipy.stats import f

    # the sums of squares of a two-way layout of ranks, in which ties need no correction of their own
    tasks, rows = ranks.shape
    mean = (rows + 1) / 2
    between = tasks * float(((ranks.mean(0) - mean) ** 2).sum())
    rest = float(((ranks - mean) ** 2).sum()) - between
    if math.factorial(rows) ** (tasks - 1) <= MOST_ORDERS:
        return _counted_p(ranks), "exact"
    if rest <= 1e-12:
        # the other tasks repeat the order of the first; rows with equal scores may change places
        ties = math.prod(math.factorial(int(number)) for number in np.unique(ranks[0], return_counts=True)[1])
        return (ties / math.factorial(rows)) ** (tasks - 1), "exact"
    statistic = (tasks - 1) * between / rest
    return float(f.sf(statistic, rows - 1, (rows - 1) * (tasks - 1))), "Iman and Davenport 1980"


def _counted_p(ranks: Floats) -> float:
    """Return the share of all orders of the rows in which their mean ranks differ as much, or more."""
    sums = ranks[:1]
    for task in ranks[1:]:
        sums = (sums[:, None] + np.array(list(permutations(task)))).reshape(-1, ranks.shape[1])
    spread = sums.var(axis=1)
    return float((spread >= ranks.sum(0).var() - 1e-9).mean())


def _estimate(study: StudyResults, line: SelectedRow, ranks: Mapping[str, float], reach: float) -> Estimate:
    mean = statistics.fmean(ranks.values())
    about = {"row": line.row}
    look = line_styles.of_row(study, line.row)
    return Estimate(line.title, look, ranks, mean, (mean - reach, mean + reach), about, point_name="task")


def _notes(ranks: Floats, rows: Sequence[Estimate], reach: float, tasks: Sequence[str]) -> list[str]:
    """Explain the bars, and say how many pairs they tell apart and which tasks have the same texts."""
    pairs = list(combinations(rows, 2))
    apart = sum(abs(one.mean - other.mean) > 2 * reach for one, other in pairs)
    told = [
        f"Bars: half the critical difference {2 * reach:.2f} of Nemenyi's test to each side "
        f"({100 * ALPHA:g} %, {count(len(rows), 'row')}, {count(len(ranks), 'task')}; Demšar 2006). "
        + (
            few_tasks_words(len(rows), len(ranks))
            or f"Rows whose bars do not overlap differ: {apart} of {count(len(pairs), 'pair')}."
        )
    ]
    if len(ranks) > 1:
        p, way = friedman_test(ranks)
        told.append(f"Friedman's test that no row differs: p = {p:.2g} ({way}).")
    return [*told, SAMPLE, *shared_text_notes(map(TASKS.get, tasks))]


def _left_out(
    every: Sequence[SelectedRow], shown: Sequence[SelectedRow], tasks: Sequence[str], whole: Sequence[str]
) -> list[str]:
    """Name the tasks and rows that do not count."""
    lost = {
        "not every row is done there": [task_title(task) for task in tasks if task not in whole],
        "they are not done on every task": [line.title for line in every if line not in shown],
    }
    return [f"Left out, for {why}: {', '.join(names)}." for why, names in lost.items() if names]
