"""Tables of a test server's scores instead of those on development sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdbench.analysis import scores
from kdbench.analysis.scores import RowRequest, ScoreTable, ShownRow
from kdbench.data.task_registry import TASKS
from kdbench.reporting import notes
from kdbench.reporting.tables import Detail, TableData
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import TEACHER, CellResult, Run, StudyResults, task_order, task_title
from kdbench.results.submission_records import ServerAnswer


@dataclass(frozen=True)
class TestedCell(CellResult):
    """A cell with the server's scores; its test splits replace the reported splits."""

    answer: ServerAnswer

    def score(self, metric: str, split: str, checkpoint: str = "best") -> float:
        """Return the server's score in per cent; other checkpoints have none."""
        return self.answer.scores[_test_split(self.cell.task, split)][metric]


class ServerScoreTable(ScoreTable):
    """A table of scores whose rows a test server can score, too."""

    title = ""  # a base, not a table

    def tested(self, study: StudyResults, answers: Mapping[str, ServerAnswer]) -> TableData | None:
        return test_score_table(self.name, study, self.groups(study), answers)


def _test_split(task: str, reported: str) -> str:
    """Return the test split that belongs to a reported split; tasks declare both in the same order."""
    kind = TASKS.get(task)
    return dict(zip(kind.report_splits, (file.split for file in kind.server_files), strict=True))[reported]


def test_score_table(
    name: str, study: StudyResults, groups: Sequence[Sequence[RowRequest]], answers: Mapping[str, ServerAnswer]
) -> TableData | None:
    """Build the table of the rows that a server has scored; None where there are none.

    Args:
        answers: by run.
    """
    every = [
        [ShownRow(TEACHER, select_row(study, TEACHER), study)],
        *(scores.chosen_rows(group, study) for group in groups),
    ]
    kept = [[row for shown in group if (row := _tested(shown, answers)).line.shown] for group in every]
    kept = [group for group in kept if group]
    rows = [shown for group in kept for shown in group]
    names = sorted({task for shown in rows for task in shown.line.shown}, key=task_order)
    if not names:
        return None
    tasks = [TASKS.get(task) for task in names]
    out = scores.score_sheet(f"{scores.table_heading(name, study)}, test sets", kept, tasks)
    out.records = [record for shown in rows for record in _records(shown)]
    out.notes = [*_notes([shown.line for shown in rows], study, names), *scores.average_notes(tasks)]
    return out


def _tested(shown: ShownRow, answers: Mapping[str, ServerAnswer]) -> ShownRow:
    """Return the row with the cells that the server has scored."""
    cells: dict[str, list[CellResult]] = {}
    for task, some in shown.line.shown.items():
        if scored := [TestedCell(c.cell, c.run, c.settings, answers[c.run.id]) for c in some if _whole(c.run, answers)]:
            cells[task] = [*scored]
    # nothing is asked for: what was not handed in is no hole, and a development set that was learned from is not shown
    return replace(shown, line=replace(shown.line, asked={}, shown=cells))


def _whole(run: Run, answers: Mapping[str, ServerAnswer]) -> bool:
    """Return whether the server has scored a run by every metric on every test split."""
    kind, scores = TASKS.get(run.spec.task), answers[run.id].scores if run.id in answers else {}
    files = kind.server_files  # none: no server takes the task
    return bool(files) and all(set(kind.metrics) <= scores.get(file.split, {}).keys() for file in files)


def _notes(lines: Sequence[SelectedRow], study: StudyResults, tasks: Sequence[str]) -> list[str]:
    """Return the notes about dates, splits and missing scores."""
    days = sorted({c.answer.date for line in lines for c in _cells(line)})
    when = f"of {days[0]}" if len(days) == 1 else f"of {days[0]} to {days[-1]}"
    said = [f"Test sets, in per cent, as the server's answers {when} give them; {notes.describe_seeds(lines)}."]
    said += [Detail(f"Checkpoints selected on {_words(study.study['selection'])}.")]
    if learners := [line.title for line in lines if any(c.run.spec.feedback for c in _cells(line))]:
        said += [Detail(f"Feedback ({', '.join(learners)}) from {_words(study.study['feedback'])}.")]
    lacking = [f"{line.title} on {task_title(task)}" for line in lines for task in tasks if task not in line.shown]
    said += [f"No scores of the server: {', '.join(lacking)}."] if lacking else []
    here = study.on(tasks)
    return [*said, *notes.evidence_notes(here), *notes.train_rows_notes(here), *notes.training_notes(lines)]


def _cells(line: SelectedRow) -> list[TestedCell]:
    return [c for cells in line.shown.values() for c in cells if isinstance(c, TestedCell)]


def _words(protocol: str) -> str:
    """Put a protocol into words."""
    return "the development set" if protocol == "validation" else notes.describe_split(protocol)


def _records(shown: ShownRow) -> list[dict[str, Any]]:
    """Return the numbers of a row as records."""
    head = {"preset": shown.study.preset, "row": shown.key, "title": shown.line.title, "unit": "per cent"}
    return [
        head | {
            "task": c.cell.task, "split": split, "metric": metric, "seed": c.cell.seed, "value": number,
            "date": str(c.answer.date), "run": c.run.id,
        }
        for c in _cells(shown.line) for split, scores in c.answer.scores.items() for metric, number in scores.items()
    ]  # fmt: skip
