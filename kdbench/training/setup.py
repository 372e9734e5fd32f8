"""Everything a run needs before its first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from kdbench.data.batches import Stream
from kdbench.data.splits import Part, Roles, assign
from kdbench.data.tokens import Tokens
from kdbench.errors import RunFailure
from kdbench.method import Method
from kdbench.models import build
from kdbench.models.given import build_given
from kdbench.plugins import METHODS
from kdbench.settings import Execution, Recording
from kdbench.spec import ModelRef, RunSpec
from kdbench.store import Store
from kdbench.task import Task, TaskData
from kdbench.training import compiling, dropout, first_token, masks, products, workbench
from kdbench.training.lab import Lab, Sources, seed_everything


@dataclass(frozen=True)
class Setup:
    """A run, ready to train."""

    spec: RunSpec
    task: Task
    data: TaskData
    roles: Roles
    train: Stream
    lab: Lab
    method: Method
    tokens: dict[str, Tokens]
    device: torch.device

    @property
    def total_steps(self) -> int:
        return self.lab.total_steps

    @property
    def eval_every(self) -> int:
        per_epoch = self.train.batches_per_epoch
        return min(self.spec.training.eval_every or per_epoch, per_epoch)


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU, or the CPU."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def prepare(spec: RunSpec, store: Store, execution: Execution, recording: Recording) -> Setup:
    """Load data, divide it, build the method with its networks, all seeded by the spec."""
    task, data = workbench.task(spec.task), workbench.data(spec.task, spec.data)
    roles = assign(spec, {name: len(split) for name, split in data.splits.items()}, task.report_splits)
    tokens = {name: workbench.tokens(store.cache, spec, name) for name in data.splits if name in _needed(roles)}
    device = choose_device(execution.device)
    if device.type != "cpu":
        masks.always_made()
    train = _stream(spec, tokens, roles.train, "train", device)
    feedback = _stream(spec, tokens, roles.feedback, "feedback", device) if roles.feedback else None
    lab = Lab(
        spec, _sources(spec, store, data, task.labels), train.tokens, roles.train, feedback,
        len(task.labels), spec.training.epochs * train.batches_per_epoch, device, execution.micro_batch, store.cache,
    )  # fmt: skip
    lab.set_probe(recording.influence_samples, recording.influence_points)
    seed_everything(spec.seed, "build")
    method = METHODS.get(spec.method)(spec, lab)
    return Setup(spec, task, data, roles, train, lab, method, tokens, device)


def _needed(roles: Roles) -> set[str]:
    return {"train", roles.selection.split, *(part.split for part in roles.report)}


def _stream(spec: RunSpec, tokens: dict[str, Tokens], part: Part, name: str, device: torch.device) -> Stream:
    kept, training = tokens[part.split].only(part.rows), spec.training
    return Stream(kept, part.rows, training.batch_size, spec.seed, name, device, training.bucket)


def _sources(spec: RunSpec, store: Store, data: TaskData, labels: Sequence[str]) -> Sources:
    attention = spec.training.attention

    def ready(module: nn.Module) -> nn.Module:
        if spec.training.last_layer == "first":
            first_token.install(module)
        return module

    def fresh(ref: ModelRef) -> nn.Module:
        if not spec.training.epochs:
            return ready(build_given(ref, labels, attention)[0])
        return ready(build.build(ref, len(labels), attention, tuple(data.vocabulary)))

    def trained(run_id: str, snapshot: float | None) -> nn.Module:
        run = store.run(run_id)
        folder = run.model if snapshot is None else run.snapshot(snapshot)
        if problem := run.damage(folder):
            run.mark_damaged(problem)
            raise RunFailure("damaged", f"{problem} in {run.path}; the same command trains that run again.")
        return ready(build.load(folder, attention=attention))

    return Sources(fresh, trained)


@contextmanager
def numerics(spec: RunSpec, device: torch.device, threads: int) -> Iterator[None]:
    """The precision and the dropout that the spec names, for the duration of the block."""
    if threads:
        torch.set_num_threads(threads)
    training = spec.training
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time and finds no error of ours
    with ExitStack() as settings:
        settings.callback(torch.use_deterministic_algorithms, before, warn_only=True)
        fast = training.precision == "fp32-fast"
        settings.enter_context(products.setting_of(products.choose(device) if fast else products.PLAIN))
        if training.precision == "bf16":
            # no cache: autocast would go on using the weights as they were before the optimiser's step
            settings.enter_context(torch.autocast(device.type, torch.bfloat16, cache_enabled=False))
        if training.dropout == "packed":
            settings.enter_context(dropout.packed())
        settings.enter_context(compiling.in_force(training.compile))
        yield
