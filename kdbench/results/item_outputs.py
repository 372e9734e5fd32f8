"""Read what a student and the network that taught it say about each item."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.core.errors import UserError
from kdbench.data.task_registry import TASKS
from kdbench.results.fidelity import Classes
from kdbench.results.selection import select_row
from kdbench.results.significance import Floats
from kdbench.results.study import TEACHER, CellResult, Run, StudyResults


@dataclass(frozen=True)
class SplitOutputs:
    """Outputs on one report split. Logits [n, C] are None where none were kept."""

    labels: Classes  # [n]
    classes: Classes  # that the student predicts [n]
    logits: Floats | None


@dataclass(frozen=True)
class TeacherOutputs:
    """The outputs of a run's teacher on one report split."""

    classes: Classes  # [n]
    logits: Floats | None


def student_outputs(run: Run, split: str) -> SplitOutputs | None:
    """Return the outputs of a run's student; None where it kept no predictions, or predicts numbers."""
    if TASKS.get(run.spec.task).kind == "regression":
        return None
    try:
        found = run.predictions[split]
        labels, classes = (values.astype("int64", copy=False) for values in (found.labels, found.classes))
        return SplitOutputs(labels, classes, run.logits.student.get(split))
    except (UserError, KeyError):
        return None


def lacks_logits(cell: CellResult) -> bool:
    """Return whether predicted classes were kept of a run, and no logits, as in studies that were collected earlier."""
    split = TASKS.get(cell.cell.task).report_splits[0]
    found = student_outputs(cell.run, split)
    return found is not None and found.logits is None


def temperature_of(run: Run) -> float | None:
    """Return the temperature that fits a run's selection split; None where it is not known."""
    try:
        return run.logits.temperature
    except UserError:
        return None


def taught_along(run: Run) -> bool:
    """Return whether the run trained its teacher along."""
    return bool((run.result or {}).get("teacher"))


def find_teacher(cell: CellResult, study: StudyResults) -> Run | None:
    """Return the run whose student taught this one; None where the run trained its teacher along, or has none.

    A run that nobody taught (fine-tuning) is compared with the teacher of its task and seed that tables show.
    """
    run = cell.run
    if taught_along(run):
        return None
    needs = run.spec.needs
    if needs:
        return study.runs.get(needs.get(TEACHER) or next(iter(needs.values())))
    shown = select_row(study, TEACHER).shown.get(run.spec.task, ())
    return next((c.run for c in shown if c.cell.seed == run.spec.seed and c.run.id != run.id), None)


def is_untaught(cell: CellResult) -> bool:
    """Return whether nobody taught the run, so that its agreement with the study's teacher is a baseline."""
    return not cell.run.spec.needs and not taught_along(cell.run)


def teacher_outputs(cell: CellResult, study: StudyResults, split: str) -> TeacherOutputs | None:
    """Return the outputs of the network that taught the student of a cell; None where they are not known.

    Of a teacher that was trained along these are the outputs at the end of the training.
    """
    try:
        if taught_along(cell.run):
            logits = cell.run.logits.teacher.get(split)
            return None if logits is None else TeacherOutputs(logits.argmax(1), logits)
        teacher = find_teacher(cell, study)
        found = student_outputs(teacher, split) if teacher is not None and teacher.result is not None else None
        return None if found is None else TeacherOutputs(found.classes, found.logits)
    except UserError:
        return None
