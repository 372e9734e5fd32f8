"""Say on which tasks training has not come to an end."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER, task_title

LEAST_EPOCHS = 3  # with an evaluation an epoch or more; of fewer evaluations, the last is the best too often
LEAST_RUNS = 8  # of fewer, the share says little
# Share of a task's runs. In the kept studies the last evaluation is the best in 0.4 to 0.6 of the runs on tasks where
# students have stopped learning, and in 0.9 on others.
MOST = 0.75


def still_learning_notes(lines: Sequence[SelectedRow]) -> list[str]:
    """Name the tasks on which most students were best at their last evaluation.

    Differences there may be of how fast methods learn, and not of how well.
    """
    parts = list[str]()
    for task in dict.fromkeys(task for line in lines for task, cells in line.shown.items() if cells):
        cells = [cell for line in lines if line.row != TEACHER for cell in line.shown.get(task, ())]
        results = [cell.run.result for cell in cells if (cell.settings["epochs"] or 0) >= LEAST_EPOCHS]
        done = [result for result in results if result is not None and result["best"]["selection"]]
        at_end = sum(result["best"]["step"] == result["last"]["step"] for result in done)
        if len(done) >= LEAST_RUNS and at_end >= MOST * len(done):
            parts.append(f"{at_end} of {len(done)} runs on {task_title(task)}")
    told = f"Still learning at the end: the last evaluation is the best one in {', '.join(parts)}."
    return [f"{told} With more epochs, the order of the rows there may be another."] if parts else []
