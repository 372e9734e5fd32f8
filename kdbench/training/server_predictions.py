"""Compute test-split predictions of the students that tables show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.core.atomic_files import user_path
from kdbench.core.errors import UserError, unknown
from kdbench.core.spec import DataLocation
from kdbench.data.task import Examples, Task
from kdbench.data.task_registry import TASKS
from kdbench.data.test_server import Server, ServerFile
from kdbench.results.selection import select_row
from kdbench.results.study import TEACHER, Run, StudyResults, task_order

if TYPE_CHECKING:
    import torch

    from kdbench.training.saved_network import SavedNetwork


@dataclass(frozen=True)
class ServerRuns:
    """A row of a study with one seed: its finished runs on the tasks of a server, by task."""

    study: StudyResults
    row: str
    seed: int
    runs: dict[str, Run]


def choose_runs(found: Sequence[StudyResults], server: Server, row: str, seed: int | None, where: Path) -> ServerRuns:
    """Choose the runs that tables show of a row, in the newest study that has some.

    Args:
        found: studies, the newest last.
        seed: None is the first one that is done.
        where: the results folder, for messages.

    Raises:
        UserError: no such row, nothing of it is done, or all of it was trained on made data.
    """
    rows = {TEACHER, *(name for study in found for name in study.rows)}
    if found and row not in rows:
        raise unknown("row", row, rows)
    done = [(study, shown) for study in found if (shown := _shown(study, server, row))]
    real = [(study, shown) for study, shown in done if study.study["source"] != "generated"]
    if not real:
        raise _nothing(row, where, server, made=bool(done))
    study, shown = real[-1]
    seeds = sorted({number for runs in shown.values() for number in runs})
    if seed is not None and seed not in seeds:
        raise UserError(f"Seed {seed} of '{row}' is not done (done: {', '.join(map(str, seeds))}).")
    chosen = seeds[0] if seed is None else seed
    return ServerRuns(study, row, chosen, {task: runs[chosen] for task, runs in shown.items() if chosen in runs})


Shown = dict[str, dict[int, Run]]  # task -> seed -> run


def _shown(study: StudyResults, server: Server, row: str) -> Shown:
    """Return the runs that tables show of a row on the tasks of a server."""
    line = select_row(study, row)
    return {
        name: {cell.cell.seed: cell.run for cell in line.shown[name]}
        for name in sorted(line.shown, key=task_order)
        if line.shown[name] and TASKS.get(name).server is server
    }


def _nothing(row: str, where: Path, server: Server, *, made: bool) -> UserError:
    if made:
        return UserError(
            f"'{row}' was trained on made data, which {server.title}'s server does not know: train it on real data, "
            "with a preset that reads the hub or with --glue-dir DIR."
        )
    return UserError(f"No run of '{row}' on a task of {server.title} is done in {where}; see: kdbench status")


def predict(run: Run, location: DataLocation, device: torch.device) -> dict[str, list[str]]:
    """Predict a task's test splits with a run's stored student; return predictions for the server, by file name.

    Diagnostic files are left out where their rows are not at hand.

    Raises:
        UserError: the student or a test split is missing or damaged.
    """
    from kdbench.training.saved_network import load_network
    from kdbench.training.setup import numerics

    task = TASKS.get(run.spec.task)()
    more = [file for file in task.diagnostic_files if task.has_test(location, file.split)]
    splits = [(file, _examples(task, file, location)) for file in (*task.server_files, *more)]
    student = load_network(run, device)
    with numerics(run.spec, device, 0):
        return {file.filename: _words(student, examples, file, device) for file, examples in splits}


def data_location(run: Run, glue_dir: str | None) -> DataLocation:
    """Return the location of the test splits: that of the run's training data, unless a folder is named."""
    return run.spec.data.location if glue_dir is None else DataLocation("glue-dir", user_path(glue_dir))


def _examples(task: Task, file: ServerFile, location: DataLocation) -> Examples:
    examples = task.load_test(location, file.split)
    if len(examples) != file.rows:
        raise UserError(
            f"{task.title}'s split '{file.split}' has {len(examples):,} rows where the server wants {file.rows:,}: "
            "get the published file, or leave the task out with --tasks."
        )
    return examples


def _words(student: SavedNetwork, examples: Examples, file: ServerFile, device: torch.device) -> list[str]:
    from kdbench.data.metrics import answers
    from kdbench.models.inference import all_logits

    tokens, folder = student.tokens(examples), student.run.folder
    logits = all_logits(student.module, tokens, np.arange(len(tokens)), device)
    if logits.shape[1] != max(1, len(file.words)) or not bool(logits.isfinite().all()):
        raise UserError(f"The student in {folder.model} gives no usable answers; {folder.way_out}")
    return [file.word_of(answer) for answer in answers(logits).tolist()]
