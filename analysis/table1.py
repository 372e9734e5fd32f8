"""Table 1: every method on every task."""

from __future__ import annotations

from analysis.scores import Asked, ScoreTable
from kdbench.requests import Request
from kdbench.results import StudyResults


class Table1(ScoreTable):
    """Teacher, the student fine-tuned without a teacher, then the methods."""

    title = "Table 1: distillation methods on GLUE"
    requests = (Request("all"),)

    def groups(self, study: StudyResults) -> list[list[Asked]]:
        return [[Asked(row) for row in study.rows if any(c.has({}) for c in study.cells if c.cell.row == row)]]
