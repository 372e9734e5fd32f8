"""Table 4: like Table 1, for a student of four layers."""

from __future__ import annotations

from kdbench.analysis.published import published_tables
from kdbench.analysis.scores import RowRequest
from kdbench.analysis.server_scores import ServerScoreTable
from kdbench.planning.exhibits import Request
from kdbench.results.study import TEACHER, StudyResults

ROWS = [row.row for row in published_tables()["table4"].rows if row.row != TEACHER]  # in the paper's order


class Table4(ServerScoreTable):
    """A wider gap between teacher and student."""

    title = "Table 4: a smaller student"
    preset = "bert-4l"
    requests = (Request(",".join(ROWS), settings={"preset": preset}),)

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [[RowRequest(row) for row in ROWS]]
