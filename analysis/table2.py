"""Table 2: other distillation objectives, each by itself and within LGTM.

LGTM's influence differentiates the same objective (`influence_loss=kd_loss`).
"""

from __future__ import annotations

from kdbench.analysis.scores import RowRequest, ScoreTable
from kdbench.results.study import StudyResults

OWN = {"influence_loss": "kd_loss"}  # the influence of CE(T, S) is not that of another objective
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
        return [list(pair) for pair in PAIRS]
