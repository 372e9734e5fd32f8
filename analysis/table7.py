"""Table 7: how much of the teacher's loss is its own evolution."""

from __future__ import annotations

from analysis.scores import Asked, ScoreTable
from kdbench.requests import Request
from kdbench.results import StudyResults

SHARES = (1.0, 0.8, 0.6, 0.4)


class Table7(ScoreTable):
    """LGTM with each α of Equation 11, the weight of the labels in the teacher's loss; the student's stays."""

    title = "Table 7: the teacher's self-evolution"
    averaged = False
    requests = tuple(Request("lgtm", {"teacher_ce": share}, {"tasks": "mrpc,rte,sst2,mnli"}) for share in SHARES)

    def groups(self, study: StudyResults) -> list[list[Asked]]:
        return [[Asked("lgtm", {"teacher_ce": share}, f"α = {share}") for share in SHARES]]
