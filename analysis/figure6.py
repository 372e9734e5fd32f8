"""Figure 6: the entropy gap if the teacher, the student or neither is updated first."""

from __future__ import annotations

from kdbench.analysis.entropy_gap import GapFigure
from kdbench.analysis.published import PAPER_METHOD
from kdbench.planning.exhibits import Request

TASK = "mnli"
OURS = {"update_order": "teacher"}  # as the method is trained otherwise
OTHERS = {"Student first": {"update_order": "student"}, "Simultaneously": {"update_order": "simultaneous"}}


class Figure6(GapFigure):
    title = "Figure 6: entropy gap between teacher and student, by the order of their updates"
    task = TASK
    settings = {"Teacher first": OURS, **OTHERS}
    requests = (
        Request(PAPER_METHOD, settings={"tasks": TASK}),
        *(Request(PAPER_METHOD, varies=order, settings={"tasks": TASK}) for order in OTHERS.values()),
    )
