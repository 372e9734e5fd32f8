"""What a method is handed: its networks, its data, a place to write down numbers. Nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.core.spec import ModelRef, RunSpec
from kdbench.data.batches import Batch, Stream, collate, first_rows
from kdbench.data.splits import Part
from kdbench.data.tokens import Tokens
from kdbench.distill.cost_meter import Meter
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.trainable import TrainableModel, zero_head


@dataclass(frozen=True)
class Sources:
    """How networks are made; the runner fills this in.

    `fresh` builds a network from a model reference, `trained` loads the student that a needed run left behind,
    at the end (best on selection) or at one of its snapshots.
    """

    fresh: Callable[[ModelRef], nn.Module]
    trained: Callable[[str, float | None], nn.Module]


class MethodContext:
    """A method's window on its run.

    Attributes:
        step: the step that is being made (0-based); total_steps: how many there are.
        num_labels: classes of the task.
        probe: some fixed training rows whose influence is followed, or None.
    """

    def __init__(
        self, spec: RunSpec, sources: Sources, tokens: Tokens, train: Part, feedback: Stream | None,
        num_labels: int, total_steps: int, device: torch.device, micro_batch: int = 0,
        cache: Path | None = None,
    ) -> None:  # fmt: skip
        self.spec, self.num_labels, self.total_steps, self.device = spec, num_labels, total_steps, device
        self.step = 0
        self.probe: Batch | None = None
        self.probe_every = 0
        self.learners: dict[str, TrainableModel] = {}
        self.frozen_networks: dict[str, FrozenTeacher] = {}
        self.loaded: list[nn.Module] = []  # what `trained` gave, for those who watch over a method
        self.feedback_used = 0
        self.records: list[tuple[str, list[float]]] = []
        self._sources, self._tokens, self._train, self._feedback = sources, tokens, train, feedback
        self._micro_batch = micro_batch
        self._outputs = None if cache is None else cache / "outputs"
        self.meter = Meter(device)

    def trainable_model(
        self, name: str, network: ModelRef | nn.Module | None, *, lr: float | None, zero_head_first: bool = False
    ) -> TrainableModel:
        """A network to train. The one called `student` is evaluated and saved; `teacher` is evaluated too.

        Args:
            network: what to build, or a module at hand (from `trained`, or one of the method's own).
            lr: the peak learning rate.
            zero_head_first: start from a classifier of zeros.
        """
        if name in self.learners:
            raise ValueError(f"the method already has a network called '{name}'")
        if network is None or lr is None:
            missing = "teacher" if network is None else "teacher_lr"
            raise ValueError(f"'{name}' lacks its model or learning rate; name '{missing}' in the method's `requires`")
        module = self._seeded(name, network) if isinstance(network, ModelRef) else network
        if zero_head_first:
            zero_head(module)
        made = TrainableModel(
            module, lr=lr, length=self.total_steps, training=self.spec.training, device=self.device,
            micro_batch=self._micro_batch, name=name, meter=self.meter,
        )  # fmt: skip
        self.learners[name] = made
        return made

    def _seeded(self, name: str, ref: ModelRef) -> nn.Module:
        """Build with randomness of its own, so that one network's size does not change another's start."""
        seed_everything(self.spec.seed, f"build {name}")
        return self._sources.fresh(ref)

    def trained_network(self, role: str, snapshot: float | None = None) -> nn.Module:
        """The student that the needed run `role` left, as a module of this method's own.

        Args:
            snapshot: a share of its training, as asked for in `needs`; None is its best checkpoint.
        """
        with undisturbed():  # loading may draw numbers, and a resumed run loads at another step
            module = self._sources.trained(self.spec.needs[role], snapshot)
        self.loaded = [*self.loaded[-8:], module]
        return module

    def frozen_teacher(self, role: str, snapshot: float | None = None) -> FrozenTeacher:
        """The student that the needed run `role` left, as a teacher that does not learn."""
        name = role, "best" if snapshot is None else f"{snapshot:.4f}"
        made = FrozenTeacher(
            self.trained_network(role, snapshot),
            self._tokens,
            self._train,
            self.device,
            self._micro_batch,
            name,
            self.meter,
            self._outputs,
            compile=self.spec.training.compile,
        )
        self.frozen_networks[role] = made
        return made

    def feedback(self) -> Batch:
        """The next feedback batch."""
        if self._feedback is None:
            raise PermissionError(f"method '{self.spec.method}' does not name 'feedback' in its `requires`")
        self.feedback_used += 1
        return self._feedback.at(self.feedback_used - 1)

    @property
    def feedback_batches(self) -> int:
        """How many batches one pass over the feedback rows takes."""
        return 0 if self._feedback is None else self._feedback.batches_per_epoch

    @property
    def probe_is_due(self) -> bool:
        """Whether the influence on `probe` should be written down in this step."""
        return self.probe is not None and self.step % self.probe_every == 0

    def not_counted(self) -> AbstractContextManager[None]:
        """A block for what is only written down: it is not counted among the method's passes and time."""
        return self.meter.not_counted()

    def record(self, values: Mapping[str, Tensor]) -> None:
        """Write down one vector a key for this step (the samples of `probe`, in order)."""
        self.records += [(key, value.detach().flatten().tolist()) for key, value in values.items()]

    def set_probe(self, count: int, points: int) -> None:
        """Choose the probe rows; called by the runner."""
        if count and points:
            rows = first_rows(self._train.rows, count, [self.spec.seed, 64])
            self.probe = collate(self._tokens, rows, self.device)
            self.probe_every = max(1, self.total_steps // points)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave every generator as it was before the block."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(legacy)


def seed_everything(*parts: object) -> None:
    """Set every generator from `parts`, so that what is drawn next is a function of them alone."""
    sequence = np.random.SeedSequence([int.from_bytes(str(p).encode(), "little") for p in parts])
    seed = int(sequence.generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device, at every call
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
