"""A run of kdbench for the work, as the command line would plan it, with a teacher in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.batches import padded
from benchmarks.work import BATCH, RATE, TASK, How, Work, network, training_rows
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import RunSpec
from kdbench.data.batches import Batch
from kdbench.distill.context import seed_everything
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan
from kdbench.results.store import Store
from kdbench.training.setup import Setup, numerics, prepare

NOTHING = Recording(probe_size=0, influence_samples=0)  # what is written down for figures is not a method's time
FEEDBACK = 0.1  # the share of the training set that methods with feedback do not train on


@contextmanager
def planned(
    work: Work, how: How, method: str, options: Mapping[str, Any], *, feedback: bool = False
) -> Iterator[tuple[RunSpec, Store]]:
    """Plan the run, in a results folder that lasts as long as the block; an epoch of it has `work.steps` steps.

    Args:
        options: of the method.
        feedback: whether it learns from a slice of the training set.
    """
    rows = _rows(work, feedback)
    with TemporaryDirectory() as folder:
        layer: dict[str, Any] = {
            "preset": "minilm", "methods": method, "tasks": TASK, "seeds": str(work.seed), **work.source,
            "student": work.student, "teacher": work.teacher, "student_lr": RATE, "teacher_lr": RATE,
            "epochs": 1, "train_rows": rows, "batch_size": BATCH, "split_seed": work.seed, "warmup": 0.0,
            "selection": "validation", "feedback": f"train:{FEEDBACK}", "precision": how.precision,
            "attention": how.attention, "dropout": how.dropout, "last_layer": how.last_layer,
            "compile": how.compile, method: dict(options),
        }  # fmt: skip
        plan = make_plan(assemble_config(layer, Path(folder)))
        (cell,) = plan.cells
        spec, store = plan.runs[cell.run], Store(Path(folder) / "results")
        for parent in map(plan.runs.__getitem__, spec.needs.values()):
            run, module = store.run(parent.id), network(parent.student.name, work, "eager")
            for place in (run.model, *map(run.snapshot, parent.snapshots)):
                module.save_pretrained(place)
        yield spec, store


def _rows(work: Work, feedback: bool) -> int:
    """Return how many rows of the task leave `work.steps` full batches to train on."""
    wanted = work.steps * BATCH
    if not feedback:
        return wanted
    fitting = (n for n in range(wanted, training_rows(work) + 1) if n - round(FEEDBACK * n) == wanted)
    return next(fitting)


def execution(work: Work) -> Execution:
    return Execution(device=work.device, threads=work.threads)


@contextmanager
def prepared(spec: RunSpec, store: Store, work: Work) -> Iterator[Setup]:
    """Prepare the run's method with its networks and data, in the run's precision."""
    with numerics(spec, torch.device(work.device), work.threads):
        yield prepare(spec, store, execution(work), NOTHING)


def one_step(setup: Setup, step: int) -> None:
    """Do the runner's part of a step: the batch, the seed, the method."""
    batch = setup.train.at(step)
    setup.context.step = step
    seed_everything(setup.spec.seed, "step", step)
    setup.method.step(batch)


def both_streams(work: Work, how: How) -> tuple[list[Batch], list[Batch]]:
    """Return the batches of training and of feedback, warm-up and steps, that `prepared` methods with feedback have."""
    plain = replace(how, precision="fp32")
    with planned(work, plain, "lgtm", {}, feedback=True) as made, prepared(*made, work) as setup:
        batches = [setup.train.at(step) for step in epoch_last(work)]
        feedback = [setup.context.feedback() for _ in batches]
    if how.padding == "fixed":
        return [padded(batch) for batch in batches], [padded(batch) for batch in feedback]
    return batches, feedback


def epoch_last(work: Work) -> list[int]:
    """Return the steps of warm-up, then one whole epoch to time, in which rows of every length have their share."""
    return [*range(work.steps, work.steps + work.warmup), *range(work.steps)]
