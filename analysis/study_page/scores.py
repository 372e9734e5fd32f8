"""Mean scores of rows, and the share of the teacher's lead that each covers."""

from __future__ import annotations

import math
import statistics

from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.text_table import MIXED, text_table
from kdbench.reporting.provenance import mean_run_score, run_cell
from kdbench.results.gap_share import GapShare, covered_share
from kdbench.results.study import TEACHER, Run, task_title

FARTHEST = 300  # per cent; a share is a ratio, and without meaning far from 0 and 100
NO_LEAD = "The teacher is not above fine-tuning, so there is no lead of which rows could close a share."
SHARE_NOTES = (
    "0 % is as good as fine-tuning without a teacher, 100 % as good as the teacher; the tasks are taken together.",
    "The interval holds every share that the test of kdbench compare would not reject (Fieller 1954). Intervals are "
    "not corrected: of many rows, some exclude 0 by chance.",
    f"Numbers beyond {FARTHEST} % say only that the lead is small beside the difference.",
    "Where the teacher's lead itself is not separable from 0, a share has no interval (–).",
)


def run_mean(run: Run, checkpoint: str = "best") -> float:
    """Return the mean of the scores of a finished run, in per cent, of its selected ("best") or "last" checkpoint."""
    return mean_run_score(run_cell(run), checkpoint)


def row_mean(contrasts: StudyContrasts, row: str, task: str) -> float | None:
    """Return the mean score of a row on a task over its seeds; None where nothing is done."""
    cells = contrasts.cells(row, task)
    return statistics.fmean(run_mean(cell.run) for cell in cells) if cells else None


def study_mean(contrasts: StudyContrasts, row: str) -> float | None:
    """Return the mean score of a row over tasks; None where a task is missing."""
    means = [row_mean(contrasts, row, task) for task in contrasts.tasks]
    known = [mean for mean in means if mean is not None]
    return statistics.fmean(known) if known and len(known) == len(means) else None


def gap_shares(contrasts: StudyContrasts, baseline: str) -> dict[str, tuple[GapShare, tuple[str, ...]]]:
    """Return row -> its share of teacher minus baseline, and the tasks that count: those with two common seeds."""
    found = {}
    for row in (row for row in contrasts.rows if row != baseline):
        rows = (baseline, row, TEACHER)
        parts = {task: one for task in contrasts.tasks if (one := contrasts.scores(rows, task))}
        if parts:
            found[row] = covered_share(list(parts.values())), tuple(parts)
    return found


def lead_words(contrasts: StudyContrasts, baseline: str, taught: str) -> str:
    """Say how far the teacher is above the baseline.

    Args:
        taught: a row that needs the teacher, for the command that trains missing ones.
    """
    lead, missing = contrasts.contrast(TEACHER, baseline), contrasts.missing([baseline, taught])
    if lead.difference is None:
        return f"How far the teacher is above fine-tuning is not known yet. {missing}".rstrip()
    tasks = ", ".join(map(task_title, lead.tasks))
    return f"Teacher minus fine-tuned student: {lead.words} on average ({tasks}). {missing}".rstrip()


def share_table(contrasts: StudyContrasts, baseline: str) -> str:
    """Return the shares as a Markdown table, those over all tasks first, the largest first; "" where none is known."""
    found = gap_shares(contrasts, baseline)
    known = {row: own for row, own in found.items() if not math.isnan(own[0].value)}
    if not known:
        return NO_LEAD if found else ""
    shares = sorted(known.items(), key=lambda item: (-len(item[1][1]), -item[1][0].value))
    rows = []
    for row, (share, tasks) in shares:
        interval = "–" if share.interval is None else " to ".join(map(_percent, share.interval))
        rows.append((contrasts.title(row), _percent(share.value), interval, ", ".join(map(task_title, tasks))))
    mixed = [MIXED] if len({tasks for _, (_, tasks) in shares}) > 1 else []
    lost = [contrasts.title(row) for row in found if row not in known]
    left = (
        [f"Left out, as the teacher does not lead on the tasks and seeds of them: {', '.join(lost)}."] if lost else []
    )
    return text_table(["Share %", "95 % interval", "Tasks"], rows, [*SHARE_NOTES, *mixed, *left])


def _percent(share: float) -> str:
    """Format a share in per cent, without a sign of zero; what is far away is not told."""
    number = round(100 * share)
    return f"{'below -' if number < 0 else 'above '}{FARTHEST}" if abs(number) > FARTHEST else f"{number}"
