"""Figure 2: how student and teacher fare on the validation set, Meta Distill against LGTM."""

from __future__ import annotations

from analysis import curves
from kdbench.figures import Figure, Panel, Picture
from kdbench.plugins import TASKS
from kdbench.requests import Request
from kdbench.results import Line, StudyResults, task_title
from kdbench.views import looks, notes

METHODS = ("meta_distill", "lgtm")
TASK = "mnli"


class Figure2(Figure):
    """Three panels: the student's loss and accuracy, the teacher's accuracy."""

    title = "Figure 2: validation loss and accuracy over training"
    task = TASK
    requests = (Request(",".join(METHODS), settings={"tasks": TASK}),)

    def build(self, study: StudyResults, task: str) -> Picture:
        kind = TASKS.get(task)
        metric = "accuracy" if "accuracy" in kind.metrics else kind.metrics[0]
        split = kind.report_splits[0]
        shown = curves.lines(study, task, METHODS)
        panels = [
            _panel(study, shown, task, split, "loss", "Student's\nloss (nats)", 1.0),
            _panel(study, shown, task, split, metric, f"Student's\n{metric} (%)", 100.0),
            _panel(study, shown, task, split, f"teacher_{metric}", f"Teacher's\n{metric} (%)", 100.0),
        ]
        first = f"{task_title(task)}, {split.replace('_', ' ')}: what student and teacher score at each evaluation."
        told = curves.remarks(study, shown, first)
        about = curves.about(study, task)
        return Picture(self.title, panels, 3, 1, told, notes.evidence(study), about)


def _panel(study: StudyResults, shown: list[Line], task: str, split: str, key: str, label: str, factor: float) -> Panel:
    read = curves.recorded(split, key)
    drawn = [curves.curve(line, task, looks.of_row(study, line.row), read, factor=factor) for line in shown]
    return Panel(label, drawn)
