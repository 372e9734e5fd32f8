"""The table of scores: every method of a study on every task."""

from __future__ import annotations

from kdbench.analysis.scores import RowRequest, asked_rows
from kdbench.analysis.server_scores import ServerScoreTable
from kdbench.core.registry import ALL
from kdbench.distill.method_registry import in_group
from kdbench.results.study import StudyResults


class Scores(ServerScoreTable):
    """Teacher, the student fine-tuned without a teacher, then every method that a study has, of whatever group."""

    title = "Table of scores: every method of a study"

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [asked_rows(study)]

    def heading(self, study: StudyResults) -> str:
        return f"Scores, {super().heading(study).partition(', ')[2]}"

    def adds_to_all(self, study: StudyResults) -> bool:
        return not all(in_group(row, ALL) for row in study.rows)

    def published(self) -> None:
        """Return nothing: the paper's numbers are beside Table 1."""
