"""What the checks share: one observed training, and fresh starts of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from subprocess import Popen
from typing import Any

from torch import Tensor, nn

from kdbench.distill.method import Limit, Method
from kdbench.planning.config import method_of_row
from kdbench.training.conformance.small_run import (
    NotApplicable,
    Observed,
    SmallRun,
    advance,
    difference,
    first,
    networks,
    outspoken,
    student_gradient,
    weights,
)
from kdbench.training.setup import Setup

STEPS = 4


@dataclass(frozen=True)
class Training:
    """A few steps: the weights before them by network, what was seen during them, and the run after them."""

    modules: Mapping[str, nn.Module]
    before: Mapping[str, Mapping[str, Tensor]]
    seen: Observed
    after: Setup


class Subject:
    """A method under examination.

    Args:
        folder: where its runs may lie.
        name: its name, or a variant's.
        sets: settings, as `config.parse_sets` gives them.
        file: where it was loaded from, when that is not `methods/`.
    """

    def __init__(self, folder: Path, name: str, sets: Mapping[str, Any], file: Path | None = None) -> None:
        self.folder, self.name, self.sets, self.file = folder, name, sets, file
        self.method: type[Method] = method_of_row(name)
        self.victim: Popen[str] | None = None  # a process that makes the run and is killed in it, started early

    def small_run(self, *, classes: int = 2, seed: int = 0, **options: Any) -> SmallRun:
        """The run with some options of the method, stronger than what the user sets."""
        own = {**self.sets.get(self.name, {}), **options}
        return SmallRun(self.folder, self.name, {**self.sets, self.name: own}, classes=classes, seed=seed)

    def still(self, **options: Any) -> Setup:
        """The run before its first step, its networks made repeatable and outspoken."""
        return outspoken(self.small_run(**options).ready())

    def same_every_time(self) -> None:
        """See that the loss draws nothing when there is no dropout.

        Raises:
            NotApplicable: it does, so two losses cannot be compared.
        """
        one, other = self.still(), self.still()
        batch = one.train.at(0)
        (a, _), (b, _) = student_gradient(one, batch), student_gradient(other, batch, draw=1)
        if difference(a, b) > 1e-6:
            raise NotApplicable("the loss draws random numbers of its own")

    def at_limit(self, limit: Limit, **options: Any) -> Setup:
        """The run with the options at which the method says that a limit holds."""
        if limit not in self.method.limits:
            raise NotApplicable(f"the method declares no `limits['{limit}']`")
        return self.still(**{**self.method.limits[limit], **options})

    @cached_property
    def training(self) -> Training:
        """The first steps, as they are made in a real run."""
        setup = self.small_run().ready()
        modules = networks(setup)
        before = {name: weights(module) for name, module in modules.items()}
        return Training(modules, before, advance(setup, first(setup, STEPS)), setup)
