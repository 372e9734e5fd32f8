"""Table 1: the paper's methods, and those of no group, on every task."""

from __future__ import annotations

from kdbench.analysis.scores import RowRequest, asked_rows
from kdbench.analysis.server_scores import ServerScoreTable
from kdbench.core.registry import ALL
from kdbench.distill.method_registry import in_group
from kdbench.planning.exhibits import Request
from kdbench.results.study import StudyResults


class Table1(ServerScoreTable):
    """Teacher, the student fine-tuned without a teacher, then the methods."""

    title = "Table 1: distillation methods on GLUE"
    requests = (Request(ALL),)

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [[asked for asked in asked_rows(study) if in_group(asked.row, ALL)]]
