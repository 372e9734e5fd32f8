"""Table 7: LGTM by the weight of the labels in the teacher's own loss."""

from __future__ import annotations

from kdbench.analysis.scores import RowRequest, ScoreTable
from kdbench.results.study import StudyResults

ROWS = tuple(RowRequest("lgtm", {"teacher_ce": share}, f"α = {share}") for share in (1.0, 0.8, 0.6, 0.4))


class Table7(ScoreTable):
    """LGTM with each α of Equation 11, the weight of the labels in the teacher's loss; the student's is constant."""

    title = "Table 7: the teacher's self-evolution"
    averaged = False
    requests = tuple(asked.request(tasks="mrpc,rte,sst2,mnli") for asked in ROWS)

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [list(ROWS)]
