"""The `MethodContext`, through which a method gets its networks and data and records numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdbench.core.spec import ModelRef, RunSpec
from kdbench.data.batches import Batch, Stream, collate, draw_rows
from kdbench.data.splits import Part
from kdbench.data.tokens import Tokens
from kdbench.distill.cost_meter import CostMeter
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.trainable import ComputeSettings, TrainableModel, zero_head
from kdbench.models.own_tokenizer import tokenizer_of
from kdbench.models.trimmed_embedding import trim


@dataclass(frozen=True)
class Sources:
    """Functions that build and load networks, supplied by the runner.

    Attributes:
        fresh: builds a network from a model reference.
        trained: loads the student of a needed run: its best checkpoint (None), or a snapshot by its share of training.
    """

    fresh: Callable[[ModelRef], nn.Module]
    trained: Callable[[str, float | None], nn.Module]


@dataclass(frozen=True)
class RunData:
    """The rows that a run trains on.

    Attributes:
        tokens: of all rows of the training split; `train` says which of them are trained on.
        feedback: batches held out for feedback, None if the method requires none.
        num_labels: the number of the task's classes.
        total_steps: the number of training steps.
        token_ids: all that occur in the texts, by tokenizer; trained networks keep the embedding rows of these alone.
            Empty: they keep all rows.
    """

    tokens: Tokens
    train: Part
    feedback: Stream | None
    num_labels: int
    total_steps: int
    token_ids: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


class MethodContext:
    """A method's access to its run: networks, feedback batches, records.

    Attributes:
        step: index of the present step, from 0 to total_steps - 1.
        num_labels: the number of the task's classes.
        probe: fixed training rows whose influence is recorded, or None.
    """

    def __init__(self, spec: RunSpec, sources: Sources, data: RunData, compute: ComputeSettings) -> None:
        self.spec, self.device = spec, compute.device
        self.num_labels, self.total_steps = data.num_labels, data.total_steps
        self.step = 0
        self.probe: Batch | None = None
        self.probe_every = 0
        self.learners: dict[str, TrainableModel] = {}
        self.frozen_networks: dict[str, FrozenTeacher] = {}
        self.loaded: list[nn.Module] = []  # the latest results of `trained_network`, for the conformance checks
        self.feedback_used = 0
        self.records: list[tuple[str, list[float]]] = []
        self._sources, self._data, self._compute = sources, data, compute
        self.meter = CostMeter(compute.device)

    def trainable_model(
        self, name: str, network: ModelRef | nn.Module | None, *, lr: float | None, zero_head_first: bool = False
    ) -> TrainableModel:
        """Return a network to train. The one called `student` is evaluated and saved; `teacher` is evaluated too.

        Args:
            network: a reference to the network to build, or a module (from `trained_network`, or the method's own).
            lr: the peak learning rate.
            zero_head_first: set the classifier's last layer to zero.

        Raises:
            ValueError: the name is taken, or the network or rate is None because `requires` does not name it.
        """
        if name in self.learners:
            raise ValueError(f"the method already has a network called '{name}'")
        if network is None or lr is None:
            missing = "teacher" if network is None else "teacher_lr"
            raise ValueError(f"'{name}' lacks its model or learning rate; name '{missing}' in the method's `requires`")
        if isinstance(network, ModelRef):
            # a seed for each network, so that the size of one does not change the initial weights of another
            seed_everything(self.spec.seed, f"build {name}")
            network = self._sources.fresh(network)
        if zero_head_first:
            zero_head(network)
        token_ids = self._data.token_ids.get(tokenizer_of(network))
        if token_ids is not None:
            trim(network, token_ids)
        learner = TrainableModel(
            network, lr=lr, length=self.total_steps, training=self.spec.training, device=self.device,
            micro_batch=self._compute.micro_batch, name=name, meter=self.meter,
        )  # fmt: skip
        self.learners[name] = learner
        return learner

    def trained_network(self, role: str, snapshot: float | None = None) -> nn.Module:
        """Load the student of the needed run `role` as a new module.

        Args:
            snapshot: a share of its training, as named in `needs`; None is its best checkpoint.
        """
        with preserve_random_state():  # loading may draw numbers, and a resumed run loads at another step
            module = self._sources.trained(self.spec.needs[role], snapshot)
        self.loaded = [*self.loaded[-8:], module]
        return module

    def frozen_teacher(self, role: str, snapshot: float | None = None) -> FrozenTeacher:
        """Load the student of the needed run `role` as a teacher that is not trained; see `trained_network`."""
        name = role, "best" if snapshot is None else f"{snapshot:.4f}"
        module, compiled = self.trained_network(role, snapshot), self.spec.training.compile
        teacher = FrozenTeacher(
            module, self._data.tokens, self._data.train, self._compute, name, self.meter, compile=compiled
        )
        self.frozen_networks[role] = teacher
        return teacher

    def feedback(self) -> Batch:
        """Return the next feedback batch.

        Raises:
            PermissionError: the method does not require feedback.
        """
        if self._data.feedback is None:
            raise PermissionError(f"method '{self.spec.method}' does not name 'feedback' in its `requires`")
        self.feedback_used += 1
        return self._data.feedback.at(self.feedback_used - 1)

    @property
    def feedback_batches(self) -> int:
        """Return the number of batches in one pass over the feedback rows."""
        return 0 if self._data.feedback is None else self._data.feedback.batches_per_epoch

    @property
    def probe_is_due(self) -> bool:
        """Return whether to record the influence on `probe` in this step."""
        return self.probe is not None and self.step % self.probe_every == 0

    def not_counted(self) -> AbstractContextManager[None]:
        """Exclude the block from the method's cost: its passes and time serve only to record numbers."""
        return self.meter.not_counted()

    def record(self, values: Mapping[str, Tensor]) -> None:
        """Store vectors for this step by key (one number for each row of `probe`, in order)."""
        self.records += [(key, value.detach().flatten().tolist()) for key, value in values.items()]

    def set_probe(self, count: int, points: int) -> None:
        """Choose `count` probe rows, to be recorded `points` times over the training; called by the runner."""
        if count and points:
            rows = draw_rows(self._data.train.rows, count, [self.spec.seed, 64])
            self.probe = collate(self._data.tokens, rows, self.device)
            self.probe_every = max(1, self.total_steps // points)


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Restore the generators of Python, NumPy and torch after the block."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(legacy)


def seed_everything(*parts: object) -> None:
    """Seed the generators of Python, NumPy and torch, on every device, with a hash of `parts`."""
    sequence = np.random.SeedSequence([int.from_bytes(str(p).encode(), "little") for p in parts])
    seed = int(sequence.generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device, at every call
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
