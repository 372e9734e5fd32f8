"""The table of scores: every method of a study on every task."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.analysis.scores import RowRequest, ScoreTable, asked_rows
from kdbench.analysis.test_scores import test_score_table
from kdbench.core.registry import ALL
from kdbench.distill.method import in_group
from kdbench.reporting.tables import TableData
from kdbench.results.study import StudyResults
from kdbench.results.submission_records import ServerAnswer


class Scores(ScoreTable):
    """Teacher, the student fine-tuned without a teacher, then every method that a study has, of whatever group."""

    title = "Table of scores: every method of a study"

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [asked_rows(study)]

    def heading(self, study: StudyResults) -> str:
        return f"Scores, {super().heading(study).partition(', ')[2]}"

    def adds_to_all(self, study: StudyResults) -> bool:
        return not all(in_group(row, ALL) for row in study.rows)

    def tested(self, study: StudyResults, answers: Mapping[str, ServerAnswer]) -> TableData | None:
        return test_score_table(self.name, study, self.groups(study), answers)

    def published(self) -> None:
        """Return nothing: the paper's numbers are beside Table 1."""
