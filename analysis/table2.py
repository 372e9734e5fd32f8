"""Table 2: other distillation objectives, each by itself and within LGTM.

LGTM's influence differentiates the same objective (`influence_loss=kd_loss`). Results of earlier versions, with the
influence of CE(T, S), are rows of their own.
"""

from __future__ import annotations

from kdbench.analysis.scores import RowRequest, ScoreTable
from kdbench.results.study import StudyResults

OWN = {"influence_loss": "kd_loss"}  # the influence of CE(T, S) is not that of another objective
OTHER = {"influence_loss": "ce_ts"}
DIST, MSE = {"kd_loss": "dist"}, {"kd_loss": "mse"}
PAIRS = (
    (RowRequest("dist"), RowRequest("lgtm", DIST | OWN, "LGTM (w. DIST)")),
    (RowRequest("kd", MSE, "MSE"), RowRequest("lgtm", MSE | OWN, "LGTM (w. MSE)")),
)


class Table2(ScoreTable):
    """Pairs of rows: the original method, and LGTM whose student has the same objective."""

    title = "Table 2: other distillation objectives"
    requests = tuple(asked.request() for pair in PAIRS for asked in pair)

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        groups = []
        for pair in PAIRS:
            alone, within = pair
            earlier = RowRequest(within.row, {**within.values, **OTHER}, f"{within.title}, influence of CE")
            known = any(cell.has(earlier.values) for cell in study.cells if cell.cell.row == earlier.row)
            groups.append([alone, within, earlier] if known else [alone, within])
        return groups
