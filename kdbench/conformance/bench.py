"""What the checks share: one observed training, and fresh starts of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from subprocess import Popen
from typing import Any

from torch import Tensor

from kdbench.conformance.trial import Observed, Trial, advance, first, networks, outspoken, weights
from kdbench.method import Limit, Method
from kdbench.plugins import METHODS
from kdbench.training.setup import Setup

STEPS = 4


class NotApplicable(Exception):
    """The method has nothing that the check could look at; the message says what."""


@dataclass(frozen=True)
class Training:
    """A few steps: the weights before them by network, what was seen during them, and the run after them."""

    before: Mapping[str, Mapping[str, Tensor]]
    seen: Observed
    after: Setup


class Bench:
    """A method under examination.

    Args:
        folder: where its runs may lie.
        name: its registered name.
        sets: settings, as with `kdbench run --set`.
        file: where it was loaded from, when that is not `methods/`.
    """

    def __init__(self, folder: Path, name: str, sets: Mapping[str, Any], file: Path | None = None) -> None:
        self.folder, self.name, self.sets, self.file = folder, name, sets, file
        self.method: type[Method] = METHODS.get(name)
        self.victim: Popen[str] | None = None  # a process that makes the run and is killed in it, started early

    def trial(self, *, classes: int = 2, seed: int = 0, **options: Any) -> Trial:
        given = {f"{self.name}.{key}": value for key, value in options.items()}
        return Trial(self.folder, self.name, _nested({**self.sets, **given}), classes=classes, seed=seed)

    def still(self, **options: Any) -> Setup:
        """The run before its first step, its networks made repeatable and outspoken."""
        return outspoken(self.trial(**options).ready())

    def at_limit(self, limit: Limit, **options: Any) -> Setup:
        """The run with the options at which the method says that a limit holds."""
        if limit not in self.method.limits:
            raise NotApplicable(f"the method declares no `limits['{limit}']`")
        return self.still(**{**self.method.limits[limit], **options})

    @cached_property
    def training(self) -> Training:
        """The first steps, as they are made in a real run."""
        setup = self.trial().ready()
        before = {name: weights(module) for name, module in networks(setup).items()}
        return Training(before, advance(setup, first(setup, STEPS)), setup)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"kd.temperature": 2}` as the layers of the configuration hold it."""
    out: dict[str, Any] = {}
    for key, value in flat.items():
        section, dot, name = key.rpartition(".")
        if dot:
            out.setdefault(section, {})[name] = value
        else:
            out[key] = value
    return out
