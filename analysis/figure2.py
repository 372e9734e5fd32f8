"""Figure 2: scores of student and teacher over training, Meta Distill against LGTM."""

from __future__ import annotations

from kdbench.analysis import curves
from kdbench.data.task import metric_title
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting import notes
from kdbench.reporting.figures import Figure, FigureData, Panel
from kdbench.reporting.formats import line_styles
from kdbench.results.study import StudyResults, task_title

METHODS = ("meta_distill", "lgtm")
TASK = "mnli"


class Figure2(Figure):
    """Three panels: the student's loss and accuracy, the teacher's accuracy."""

    title = "Figure 2: loss and accuracy over training"
    task = TASK
    requests = (Request(",".join(METHODS), settings={"tasks": TASK}),)

    def build(self, study: StudyResults, task: str) -> FigureData:
        kind = TASKS.get(task)
        metric = "accuracy" if "accuracy" in kind.metrics else kind.metrics[0]
        split = kind.report_splits[0]
        drawn = (
            ("loss", "Student's\nloss (nats)", 1.0),
            (metric, f"Student's\n{metric_title(metric)} (%)", 100.0),
            (f"teacher_{metric}", f"Teacher's\n{metric_title(metric)} (%)", 100.0),
        )
        reads = {key: curves.series_reader(split, key) for key, _, _ in drawn}
        shown, left_out = curves.drop_incomplete_seeds(curves.method_lines(study, task, METHODS), task, reads)
        looks = [line_styles.of_row(study, line.row) for line in shown]
        panels = [
            Panel(label, [
                curves.make_curve(line, task, look, reads[key], factor=factor)
                for line, look in zip(shown, looks, strict=True)
            ])
            for key, label, factor in drawn
        ]  # fmt: skip
        first = f"{task_title(task)}, {split.replace('_', ' ')}: what student and teacher score at each evaluation."
        told = curves.figure_notes(study, shown, first) + left_out
        about = curves.figure_origin(study, task)
        return FigureData(self.title, panels, 3, 1, told, notes.evidence_notes(study), about)
