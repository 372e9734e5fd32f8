"""Table 4: like Table 1, for a student of four layers."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.analysis import test_scores
from kdbench.analysis.published import published_tables
from kdbench.analysis.scores import RowRequest, ScoreTable
from kdbench.planning.exhibits import Request
from kdbench.reporting.tables import TableData
from kdbench.results.study import TEACHER, StudyResults
from kdbench.results.submission_records import ServerAnswer


def _methods() -> list[str]:
    """Return the methods of the paper's table, in its order."""
    return [row.row for row in published_tables()["table4"].rows if row.row != TEACHER]


class Table4(ScoreTable):
    """A wider gap between teacher and student."""

    title = "Table 4: a smaller student"
    preset = "bert-4l"
    requests = (Request(",".join(_methods()), settings={"preset": preset}),)

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [[RowRequest(row) for row in _methods()]]

    def tested(self, study: StudyResults, answers: Mapping[str, ServerAnswer]) -> TableData | None:
        return test_scores.test_score_table(self.name, study, self.groups(study), answers)
