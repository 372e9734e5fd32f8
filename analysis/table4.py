"""Table 4: as Table 1, for a student of four layers."""

from __future__ import annotations

from collections.abc import Mapping

from analysis import tested
from analysis.published import published
from analysis.scores import Asked, ScoreTable
from kdbench.requests import Request
from kdbench.results import TEACHER, StudyResults
from kdbench.submissions import Answer
from kdbench.tables import Sheet


def _methods() -> list[str]:
    """Those that the paper's table has, in the order in which it has them."""
    return [row.row for row in published()["table4"].rows if row.row != TEACHER]


class Table4(ScoreTable):
    """A wider gap between teacher and student."""

    title = "Table 4: a smaller student"
    preset = "bert-4l"
    requests = (Request(",".join(_methods()), settings={"preset": preset}),)

    def groups(self, study: StudyResults) -> list[list[Asked]]:
        return [[Asked(row) for row in _methods()]]

    def tested(self, study: StudyResults, answers: Mapping[str, Answer]) -> Sheet | None:
        return tested.sheet(self.name, study, self.groups(study), answers)
