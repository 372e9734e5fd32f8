"""The table of fidelity: how closely each student follows the network that taught it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdbench.analysis.item_tables import ALL_SEEDS, LENGTH_FREE, ItemColumn, ItemTable, RowStatistics, by_seed
from kdbench.data.task_registry import TASKS
from kdbench.reporting.tables import Detail
from kdbench.results import fidelity
from kdbench.results.item_outputs import (
    find_teacher,
    is_untaught,
    lacks_logits,
    student_outputs,
    taught_along,
    teacher_outputs,
)
from kdbench.results.item_statistics import ItemStatistic, mean_of
from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER, CellResult, StudyResults

SEEDS = "seeds_agree"


class Fidelity(ItemTable):
    """Agreement, divergence and loyalty (Stanton et al. 2021; Xu et al. 2021), and who is right where."""

    title = "Fidelity: how closely students follow their teachers"
    columns = (
        ItemColumn("agreement", "Agree\n%", better=1),
        ItemColumn("agreement_where_wrong", "Teacher wrong:\nagree %", better=1),
        ItemColumn("divergence", "KL(T||S)\nnats", better=-1, digits=3, scale=1.0, unit="nats"),
        ItemColumn("loyalty", "Loyalty\n%", better=1),
        ItemColumn("both_right", "Both\nright %"),
        ItemColumn("teacher_only", "Teacher\nonly %"),
        ItemColumn("student_only", "Student\nonly %"),
        ItemColumn("both_wrong", "Both\nwrong %"),
        ItemColumn(SEEDS, "Seeds\nagree %"),
    )

    def row_statistics(self, cells: Sequence[CellResult], study: StudyResults, task: str) -> RowStatistics:
        splits = TASKS.get(task).report_splits
        found = by_seed({c.cell.seed: [_of_split(c, study, split) for split in splits] for c in cells})
        students = [[student_outputs(c.run, split) for c in cells] for split in splits]
        classes = [[one.classes for one in outputs if one is not None] for outputs in students]
        pairs = [fidelity.agreement_of_seeds(some) for some in classes if len(some) == len(cells)]
        if len(pairs) == len(splits) and all(pairs):
            found[SEEDS] = {ALL_SEEDS: [pair for pair in pairs if pair is not None]}
        return found

    def reason(self, cell: CellResult, study: StudyResults) -> str:
        if student_outputs(cell.run, TASKS.get(cell.cell.task).report_splits[0]) is None:
            return "no predictions were kept"
        if not taught_along(cell.run) and find_teacher(cell, study) is None:
            return "there is no teacher to compare with"
        return "no predictions were kept of the network that taught the students"

    def task_notes(self, lines: Sequence[SelectedRow], study: StudyResults, task: str) -> list[str]:
        shown = [(line, cell) for line in lines for cell in line.shown[task]]
        along = list(dict.fromkeys(line.title for line, cell in shown if taught_along(cell.run)))
        untaught = list(dict.fromkeys(line.title for line, cell in shown if is_untaught(cell)))
        others = list(dict.fromkeys(
            line.title for line, cell in shown
            if cell.run.spec.needs and not taught_along(cell.run) and TEACHER not in cell.run.spec.needs
        ))  # fmt: skip
        lost = {line.title: cell for line, cell in shown if _lacks_teacher(cell, study)}
        old = [title for title, cell in lost.items() if taught_along(cell.run) and not lacks_logits(cell)]
        unknown = [title for title in lost if title not in old]
        bare = list(dict.fromkeys(line.title for line, cell in shown if lacks_logits(cell)))
        return [
            "Agree: the same class as the teacher. Loyalty: 1 - sqrt(Jensen-Shannon divergence). Then who is right: "
            "both, the teacher alone, the student alone, neither.",
            *([f"Teacher of {', '.join(along)}: the one trained along, at its end."] if along else []),
            *([f"Teacher of {', '.join(others)}: the assistant that taught the student."] if others else []),
            *([f"{', '.join(untaught)}: taught by nobody, compared with the teacher of the same seed as a baseline."]
              if untaught else []),
            *([f"The teacher's outputs were not kept for {', '.join(old)}: an earlier version trained these runs."]
              if old else []),
            *([f"The teacher's outputs on the reported items were not kept for {', '.join(unknown)}."]
              if unknown else []),
            f"KL and loyalty judge the logits as a method leaves them. {LENGTH_FREE}.",
            *([f"KL and loyalty need logits, which were not kept of {_listed(bare, lines)}."] if bare else []),
            Detail("Seeds agree: the same class from two students with different seeds, mean over the pairs of all "
                   "seeds that are done; its interval counts items only."),
        ]  # fmt: skip


def _listed(titles: Sequence[str], lines: Sequence[SelectedRow]) -> str:
    """Return titles, or `any row` where they are those of all rows with runs."""
    return "any row" if len(titles) == sum(bool(line.cells) for line in lines) > 1 else ", ".join(titles)


def _of_split(cell: CellResult, study: StudyResults, split: str) -> dict[str, ItemStatistic] | None:
    """Return the statistics of a run on a split by column; None where the student or its teacher is not known."""
    student, teacher = student_outputs(cell.run, split), teacher_outputs(cell, study, split)
    if student is None or teacher is None or len(student.classes) != len(teacher.classes):
        return None
    found = {
        "agreement": fidelity.agreement(teacher.classes, student.classes),
        **fidelity.right_and_wrong(teacher.classes, student.classes, student.labels),
    }
    repeated = fidelity.agreement_where_wrong(teacher.classes, student.classes, student.labels)
    if repeated is not None:
        found["agreement_where_wrong"] = repeated
    if student.logits is not None and teacher.logits is not None:
        found["divergence"] = mean_of(fidelity.divergence(teacher.logits, student.logits))
        found["loyalty"] = mean_of(fidelity.probability_loyalty(teacher.logits, student.logits))
    return {key: one for key, one in found.items() if np.isfinite(one.value)}


def _lacks_teacher(cell: CellResult, study: StudyResults) -> bool:
    """Return whether the outputs of the network that taught a run are not known."""
    split = TASKS.get(cell.cell.task).report_splits[0]
    known = taught_along(cell.run) or find_teacher(cell, study) is not None
    return known and student_outputs(cell.run, split) is not None and teacher_outputs(cell, study, split) is None
