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
    """Name the tasks that are still learned at the end.

    Differences there may be of how fast methods learn, and not of how well.
    """
    tasks = dict.fromkeys(task for line in lines for task, cells in line.shown.items() if cells)
    found = {task: best_at_end(lines, task) for task in tasks if is_still_learned(lines, task)}
    if not found:
        return []
    parts = ", ".join(f"{last} of {runs} runs on {task_title(task)}" for task, (last, runs) in found.items())
    told = f"Still learning at the end: the last evaluation is the best one in {parts}."
    return [f"{told} With more epochs, the order of the rows there may be another."]


def is_still_learned(lines: Sequence[SelectedRow], task: str) -> bool:
    """Return whether most students were best at their last evaluation; False where the runs are too few to tell."""
    last, runs = best_at_end(lines, task)
    return runs >= LEAST_RUNS and last >= MOST * runs


def best_at_end(lines: Sequence[SelectedRow], task: str) -> tuple[int, int]:
    """Count the runs of students that were best at their last evaluation, and all that were evaluated often enough."""
    cells = [cell for line in lines if line.row != TEACHER for cell in line.shown.get(task, ())]
    results = [cell.run.result for cell in cells if (cell.settings["epochs"] or 0) >= LEAST_EPOCHS]
    done = [result for result in results if result is not None and result["best"]["selection"]]
    return sum(result["best"]["step"] == result["last"]["step"] for result in done), len(done)
