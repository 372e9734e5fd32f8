"""The checks that need one or two complete runs; importing this module registers them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch

from kdbench.data.task import Examples
from kdbench.planning import inputs
from kdbench.results.store import Store
from kdbench.training.conformance.check_list import check
from kdbench.training.conformance.crashing_process import KILL_AT, OUTPUT, killed_store, start_crashing_process
from kdbench.training.conformance.small_run import (
    CPU,
    RECORDING,
    NotApplicable,
    SmallRun,
    copy_weights,
    make_outer_steps,
    make_steps,
)
from kdbench.training.conformance.subject import STEPS, Subject
from kdbench.training.setup import prepare

PREDICTIONS = "predictions.safetensors"
RESULT_FILES = ("model/model.safetensors", "series.jsonl", "result.json", PREDICTIONS)


def _result_files(store: Store, small_run: SmallRun) -> dict[str, bytes]:
    return {name: (store.run(small_run.spec.id).path / name).read_bytes() for name in RESULT_FILES}


def _run_to_end(subject: Subject, name: str, seed: int = 0) -> dict[str, bytes]:
    """Train a complete run in its own results folder; return the content of its files by name."""
    small_run, store = subject.small_run(seed=seed), Store(subject.folder / name)
    small_run.train_fully(store)
    return _result_files(store, small_run)


@check(
    "same seed", "Something is drawn from a generator that the runner does not seed, or depends on time or on order."
)
def same_seed(subject: Subject) -> str:
    if text := _unseeded_step(subject):
        return text
    once = _run_to_end(subject, "calm")
    twice, other = _run_to_end(subject, "again"), _run_to_end(subject, "other", seed=1)
    for name in RESULT_FILES:
        if once[name] != twice[name]:
            return f"two runs of one seed left different bytes in {name}"
    # predictions, because embeddings of tokens that occur nowhere differ by their start
    return "two seeds gave the same predictions" if once[PREDICTIONS] == other[PREDICTIONS] else ""


def _unseeded_step(subject: Subject) -> str:
    """Say that the first step differs when it is made twice from one seed; "" where it does not."""
    setups = [subject.small_run().prepare_setup() for _ in range(2)]
    one, two = (make_steps(setup, [setup.train.at(0)]) for setup in setups)
    same_loss = torch.equal(one.logs[0]["loss"], two.logs[0]["loss"])
    pairs = (
        (a, b) for name in one.gradients for a, b in zip(one.gradients[name][0], two.gradients[name][0], strict=True)
    )
    if same_loss and all(torch.equal(a, b) for a, b in pairs):
        return ""
    return (
        "the first step of one seed, made twice, has another loss or gradient; random numbers of the method's own "
        "generators, such as np.random.default_rng(), are not seeded, those of torch.rand, np.random.rand and "
        "random.random are"
    )


@check("resume", "What a step leaves to the next must lie in a network, an optimiser, or in `state` and `load_state`.")
def resume(subject: Subject) -> str:
    process = subject.crashing_process or start_crashing_process(subject)
    process.join(timeout=120)
    small_run, store = subject.small_run(), killed_store(subject.folder)
    if process.exitcode != -signal.SIGKILL or store.run(small_run.spec.id).state().status != "interrupted":
        said = (subject.folder / OUTPUT).read_text(encoding="utf-8").strip().splitlines()
        return f"the run could not be killed at step {KILL_AT}: {' '.join(said[-1:])}"
    small_run.train_fully(store)
    calm, resumed = _run_to_end(subject, "calm"), _result_files(store, small_run)
    for name in RESULT_FILES:
        if calm[name] != resumed[name]:
            return f"a run killed at step {KILL_AT} and resumed left other bytes in {name} than an undisturbed one"
    return ""


@check("feedback", "It reserves rows for feedback, trains on so many fewer, and never uses them.")
def feedback(subject: Subject) -> str:
    if "feedback" not in subject.method.requires:
        raise NotApplicable("the method does not learn from feedback")
    small_run = subject.small_run()
    unused = subject.method.limits.get("no_feedback", {})
    if unused and unused.items() <= small_run.spec.options.items():
        raise NotApplicable("its options leave the feedback rows unused, for a comparison on equal rows")
    setup = small_run.prepare_setup()
    for step in range(setup.total_steps):
        make_steps(setup, [setup.train.at(step)], start=step)
        if setup.context.feedback_used:
            return ""
    return f"it names 'feedback' in `requires`, and took none in {setup.total_steps} steps"


@check("splits", "The rows that pick the checkpoint, and those that are reported, are no business of the method's.")
def splits(subject: Subject) -> str:
    small_run = subject.small_run()
    apart = Store(subject.folder / "apart")
    small_run.train_needs(apart)
    with _held_out_rows_scrambled(small_run, apart):
        setup = prepare(small_run.spec, apart, CPU, RECORDING)
        make_outer_steps(setup, STEPS)
    before = {name: copy_weights(learner.module) for name, learner in subject.training.after.context.learners.items()}
    after = {name: copy_weights(learner.module) for name, learner in setup.context.learners.items()}
    changed = [name for name in before if any(not torch.equal(w, after[name][key]) for key, w in before[name].items())]
    return f"'{changed[0]}' learns something else when the rows for selection and report change" if changed else ""


@contextmanager
def _held_out_rows_scrambled(small_run: SmallRun, store: Store) -> Iterator[None]:
    """Change the texts and labels of all rows but the method's own within the block."""
    spec = small_run.spec
    # the method's own rows, by split
    real, task, roles = inputs.load_data(spec.task, spec.data), inputs.load_task(spec.task), inputs.load_roles(spec)
    own: dict[str, set[int]] = {}
    for part in filter(None, (roles.train, roles.feedback)):
        own.setdefault(part.split, set()).update(part.rows.tolist())
    made = {name: _scrambled(split, own.get(name, set()), len(task.labels)) for name, split in real.splits.items()}
    # load the changed splits in place of the real ones, under the fingerprint of these
    shutil.rmtree(store.cache, ignore_errors=True)
    changes: dict[str, Any] = {
        "load": lambda *_: replace(real, splits=made),
        "fingerprint": lambda *_: spec.data.fingerprint,
    }
    try:
        with patch.multiple(type(task), **changes):
            inputs.clear_caches()
            yield
    finally:
        inputs.clear_caches()


def _scrambled(split: Examples, keep: set[int], classes: int) -> Examples:
    order = [i if i in keep else len(split) - 1 - i for i in range(len(split))]
    labels = [label if i in keep else (label + 1) % classes for i, label in enumerate(split.labels)]
    second = None if split.text_b is None else [split.text_b[i] for i in order]
    return Examples([split.text_a[i] for i in order], second, labels)
