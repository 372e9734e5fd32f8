"""Table 1: the paper's methods, and those of no group, on every task."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.analysis import test_scores
from kdbench.analysis.scores import RowRequest, ScoreTable, asked_rows
from kdbench.core.registry import ALL
from kdbench.distill.method import in_group
from kdbench.planning.exhibits import Request
from kdbench.reporting.tables import TableData
from kdbench.results.study import StudyResults
from kdbench.results.submission_records import ServerAnswer


class Table1(ScoreTable):
    """Teacher, the student fine-tuned without a teacher, then the methods."""

    title = "Table 1: distillation methods on GLUE"
    requests = (Request(ALL),)

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [[asked for asked in asked_rows(study) if in_group(asked.row, ALL)]]

    def tested(self, study: StudyResults, answers: Mapping[str, ServerAnswer]) -> TableData | None:
        return test_scores.test_score_table(self.name, study, self.groups(study), answers)
