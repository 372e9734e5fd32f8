"""Table 1: every method on every task."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.plan import Cell
from kdbench.plugins import TASKS
from kdbench.results import CellResult, StudyResults, chosen, row_title
from kdbench.tables import Entry, Sheet, Table
from kdbench.task import Task

NONE = "–"


@dataclass(frozen=True)
class Score:
    """What one row scored on one task. `parts` are (metric or split, values over seeds in per cent)."""

    parts: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def mean(self) -> float:
        """Seeds averaged, then the parts (F1 and accuracy; matched and mismatched)."""
        return statistics.fmean(statistics.fmean(values) for _, values in self.parts)

    def text(self, spread: bool) -> str:
        return "/".join(_number(values, spread) for _, values in self.parts)


def _number(values: Sequence[float], spread: bool) -> str:
    text = f"{statistics.fmean(values):.1f}"
    return f"{text}±{statistics.stdev(values):.1f}" if spread and len(values) > 1 else text


class Table1(Table):
    """Rows: teacher, the student fine-tuned without a teacher, then the methods. Columns: tasks and their average."""

    title = "Table 1: distillation methods on GLUE"

    def build(self, study: StudyResults) -> Sheet:
        tasks = [TASKS.get(name) for name in study.tasks]
        sheet = Sheet(_title(study), ["", *map(_heading, tasks), "Avg."])
        scores: dict[str, list[Score | None]] = {}
        teacher = _teacher_cells(study)
        if teacher:
            found = [self._score(task, [c for c in teacher if c.cell.task == task.name]) for task in tasks]
            scores[f"Teacher ({study.study['teacher']})"] = found
            sheet.rules = {1}
        for row in study.rows:
            label = _label(study, row)
            picked = [chosen(study.of(row, task.name), task.metrics[0]) for task in tasks]
            scores[label] = [self._score(task, cells) for task, cells in zip(tasks, picked, strict=True)]
            for task, cells in zip(tasks, picked, strict=True):
                sheet.records += _records(label, task, cells, study)
        _fill(sheet, scores, first=1 if teacher else 0)
        sheet.notes = _notes(study, tasks)
        return sheet

    def _score(self, task: type[Task], cells: list[CellResult]) -> Score | None:
        if not cells:
            return None
        keys = [(metric, split) for split in task.report_splits for metric in task.metrics]
        return Score(tuple((f"{m} {s}", tuple(c.score(m, s) for c in cells)) for m, s in keys))


def _fill(sheet: Sheet, scores: dict[str, list[Score | None]], first: int) -> None:
    """Print scores; the best of each column (teacher apart) is marked."""
    spread = any(score and len(score.parts[0][1]) > 1 for row in scores.values() for score in row)
    means = [[score.mean if score else None for score in row] for row in scores.values()]
    for row in means:
        known = [mean for mean in row if mean is not None]
        row.append(statistics.fmean(known) if len(known) == len(row) else None)
    columns = list(zip(*means, strict=True))
    tops = [max((m for m in column[first:] if m is not None), default=None) for column in columns]
    for i, (label, row) in enumerate(scores.items()):
        texts = [score.text(spread) if score else NONE for score in row]
        average = means[i][-1]
        texts.append(NONE if average is None else f"{average:.1f}")
        best = [i >= first and m is not None and m == top for m, top in zip(means[i], tops, strict=True)]
        sheet.rows.append([Entry(label), *(Entry(t, b) for t, b in zip(texts, best, strict=True))])


def _title(study: StudyResults) -> str:
    return f"Table 1 ({study.preset}): {study.study['teacher']} to {study.study['student']}"


SHORT = {"accuracy": "Acc.", "f1": "F1", "validation_matched": "m", "validation_mismatched": "mm"}


def _heading(task: type[Task]) -> str:
    parts = task.metrics if len(task.metrics) > 1 else task.report_splits
    names = [SHORT.get(part, part) for part in parts] if len(parts) > 1 else ["Acc."]
    return f"{task.title} {'/'.join(names)}"


def _label(study: StudyResults, row: str) -> str:
    """The row's title, marked where the reported split was also learned from."""
    specs = [c.spec for c in study.cells if c.cell.row == row and c.spec]
    fed = any(spec.feedback == "validation" for spec in specs)
    return row_title(row) + ("†" if fed else "")


def _teacher_cells(study: StudyResults) -> list[CellResult]:
    """The fine-tuned teachers that the shown runs learned from, one a task and seed."""
    assert study.store is not None
    found: dict[str, CellResult] = {}
    for cell in study.cells:
        run_id = cell.spec.needs.get("teacher") if cell.spec else None
        if run_id and run_id not in found:
            run = study.store.run(run_id)
            if run.is_done():
                done = Cell("teacher", cell.cell.task, run.spec.seed, {}, run_id)
                found[run_id] = CellResult(done, "done", run.spec, run.result())
    return list(found.values())


def _records(label: str, task: type[Task], cells: list[CellResult], study: StudyResults) -> list[dict[str, Any]]:
    return [
        {
            "preset": study.preset, "method": label, "task": task.name, "split": split, "metric": metric,
            "seed": c.cell.seed, "value": c.score(metric, split), "last": c.score(metric, split, "last"),
            "setting": json.dumps(dict(c.cell.choice)), "run": c.cell.run,
        }
        for c in cells for split in task.report_splits for metric in task.metrics
    ]  # fmt: skip


def _notes(study: StudyResults, tasks: Sequence[type[Task]]) -> list[str]:
    counts = {len(chosen(study.of(r, t.name), t.metrics[0])) for r in study.rows for t in tasks}
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts, default=0))
    spread = " Mean ± sample standard deviation over seeds." if max(counts, default=0) > 1 else ""
    notes = [
        f"Development sets, in per cent; seeds a cell: {seeds}.{spread}",
        f"Avg.: mean of the {len(tasks)} task means; pairs (F1/Acc., m/mm) are averaged first.",
        f"Checkpoint and grid point selected on {study.study['selection']}; feedback from {study.study['feedback']}.",
    ]
    if study.study["selection"] == "validation":
        notes.append("The reported split is also the one that selects, so all numbers flatter.")
    if study.study["feedback"] == "validation":
        notes.append("† The reported split also gave the feedback that the method learned from.")
    notes += _settings(study, tasks)
    if study.preset == "tiny":
        notes.append("Tiny models on made data: no evidence about any method.")
    if missing := study.missing():
        states = ", ".join(f"{c.cell.run} ({c.status})" for c in missing[:4])
        notes.append(f"{len(missing)} of {len(study.cells)} runs are not done: {states}{', ...' * (len(missing) > 4)}")
    return notes


def _settings(study: StudyResults, tasks: Sequence[type[Task]]) -> list[str]:
    """Which grid points are shown, where there was a choice."""
    lines = []
    for row in study.rows:
        picks = []
        for task in tasks:
            cells = chosen(study.of(row, task.name), task.metrics[0])
            if cells and cells[0].cell.choice:
                values = ", ".join(
                    f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in cells[0].cell.choice.items()
                )
                picks.append(f"{task.title} {values}")
        if picks:
            lines.append(f"{row_title(row)}: {'; '.join(picks)}.")
    return lines
