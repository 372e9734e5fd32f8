"""Figure 5: the entropy gap if the teacher learns along with the student (one stage) or is fine-tuned first (two)."""

from __future__ import annotations

from typing import Any

from kdbench.analysis.entropy_gap import GapFigure
from kdbench.analysis.published import PAPER_METHOD
from kdbench.planning.exhibits import Request

TASK = "sst2"
LABELS_ONLY = {"influence": "none", "teacher_ce": 1.0}  # the paper's teacher learns from the labels alone here
STAGES: dict[str, dict[str, Any]] = {
    "One stage": {"teacher_start": "pretrained", **LABELS_ONLY},
    "Two stages": {"teacher_start": "finetuned", **LABELS_ONLY},
}


class Figure5(GapFigure):
    title = "Figure 5: entropy gap between teacher and student, one stage against two"
    task = TASK
    settings = STAGES
    requests = tuple(Request(PAPER_METHOD, varies=stage, settings={"tasks": TASK}) for stage in STAGES.values())
