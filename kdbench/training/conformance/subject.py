"""The method under test: runs to check it on, and the records of a few steps that several checks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kdbench.distill.method import Limit, Method
from kdbench.planning.config import method_of_row
from kdbench.training.conformance.small_run import (
    NotApplicable,
    Observed,
    SmallRun,
    amplify_differences,
    copy_weights,
    difference,
    make_outer_steps,
    networks,
    own_weights,
    student_gradient,
)
from kdbench.training.setup import Setup

STEPS = 4


@dataclass(frozen=True)
class Training:
    """A few steps: weights by network before them, observations during them, the run after them.

    Attributes:
        own: weights outside of the networks, by attribute of the method: before the steps, and the tensor itself.
    """

    modules: Mapping[str, nn.Module]
    before: Mapping[str, Mapping[str, Tensor]]
    own: Mapping[str, list[tuple[Tensor, Tensor]]]
    seen: Observed
    after: Setup


class Subject:
    """A method under test.

    Args:
        folder: the folder for its runs.
        name: the name of a method or variant.
        sets: settings, as returned by `config.parse_sets`.
        file: the file that defines it, if it is outside `methods/`.
    """

    def __init__(self, folder: Path, name: str, sets: Mapping[str, Any], file: Path | None = None) -> None:
        self.folder, self.name, self.sets, self.file = folder, name, sets, file
        self.method: type[Method] = method_of_row(name)
        self.crashing_process: BaseProcess | None = None  # started early, for the check `resume`

    def small_run(self, *, classes: int | None = None, seed: int = 0, **options: Any) -> SmallRun:
        """Return a small run; `options` of the method override the user's settings.

        Args:
            classes: of the task; by default two, or the fewest on which the method can teach.
        """
        classes = classes or max(2, self.method.least_classes)
        own = {**self.sets.get(self.name, {}), **options}
        return SmallRun(self.folder, self.name, {**self.sets, self.name: own}, classes=classes, seed=seed)

    def deterministic_setup(self, **options: Any) -> Setup:
        """Set up a run without dropout and with large weights; see `amplify_differences`."""
        return amplify_differences(self.small_run(**options).prepare_setup())

    def require_deterministic_loss(self) -> None:
        """Check that the loss draws no random numbers when there is no dropout.

        Raises:
            NotApplicable: it draws some, so two losses cannot be compared.
        """
        if self._draws_numbers:
            raise NotApplicable("the loss draws random numbers of its own")

    def require_separate_rows(self) -> None:
        """Check that the loss may be computed row by row.

        Raises:
            NotApplicable: the method says that its loss couples rows.
        """
        if self.method.couples_rows:
            raise NotApplicable("the method says that its loss couples the rows of a batch")

    @cached_property
    def _draws_numbers(self) -> bool:
        """Compare the gradients of two draws of random numbers, without dropout."""
        setup, other = self.deterministic_setup(), self.deterministic_setup()
        batch = setup.train.at(0)
        (a, _), (b, _) = student_gradient(setup, batch), student_gradient(other, batch, draw=1)
        return difference(a, b) > 1e-6

    def at_limit(self, limit: Limit, **options: Any) -> Setup:
        """Set up a run with the option values of one of the method's `limits`.

        Raises:
            NotApplicable: the method does not declare this limit.
        """
        if limit not in self.method.limits:
            raise NotApplicable(f"the method declares no `limits['{limit}']`")
        return self.deterministic_setup(**{**self.method.limits[limit], **options})

    @cached_property
    def training(self) -> Training:
        """Make the first and last steps of a real run and observe them."""
        setup = self.small_run().prepare_setup()
        modules = networks(setup)
        before = {name: copy_weights(module) for name, module in modules.items()}
        own = {name: [(w.detach().clone(), w) for w in weights] for name, weights in own_weights(setup).items()}
        return Training(modules, before, own, make_outer_steps(setup, STEPS), setup)
