"""Figure 5: the entropy gap if the teacher learns along with the student (one stage) or is fine-tuned first (two)."""

from __future__ import annotations

from typing import Any

from kdbench.analysis.entropy_gap import GapFigure
from kdbench.planning.exhibits import Request

TASK = "sst2"
METHOD = "prokt"  # LGTM without influence, and so without rows held out for feedback
LABELS_ONLY = {"student_ce": 0.6, "teacher_ce": 1.0}  # the paper's teacher learns from the labels alone here
STAGES: dict[str, dict[str, Any]] = {
    "One stage": {"teacher_start": "pretrained", **LABELS_ONLY},
    # from a classifier of zeros, the student could not follow a teacher that is sure from the first step
    "Two stages": {"teacher_start": "finetuned", "zero_heads": False, **LABELS_ONLY},
}


class Figure5(GapFigure):
    title = "Figure 5: entropy gap between teacher and student, one stage against two"
    task = TASK
    row = METHOD
    settings = STAGES
    remarks = (
        "LGTM without influence: the student follows labels (0.6) and teacher, the teacher the labels alone. In two "
        "stages, the fine-tuned teacher goes on training, and the student's classifier does not start at zero.",
    )
    requests = tuple(Request(METHOD, varies=stage, settings={"tasks": TASK}) for stage in STAGES.values())
