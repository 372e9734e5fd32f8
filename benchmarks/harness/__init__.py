"""Measure the cost of the harness around the training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import many
from benchmarks.harness.clock import kdbench


@dataclass(frozen=True)
class Part:
    """A command that is measured.

    Attributes:
        args: of `kdbench`.
        about: what it is given.
        goal: seconds that it should take at most; None where there is no such goal.
    """

    args: tuple[str, ...]
    about: str = ""
    goal: float | None = None

    @property
    def title(self) -> str:
        return f"`kdbench {' '.join(self.args)}`{self.about}"


EMPTY = (Part(("--help",), goal=0.3), Part(("list", "methods")), Part(("table", "5")), Part(("audit",)))
SWEEP = Part(("run", "--methods", many.METHODS, "--tasks", many.GROUP), ", from nothing to the table", goal=180.0)


def planned(runs: int) -> Part:
    """Return a dry run of at least so many runs."""
    args = ("run", "--methods", many.METHODS, "--tasks", many.GROUP, "--seeds", many.seeds(runs), "--dry-run")
    return Part(args, f", {many.planned(runs)} runs", goal=2.0)


def looking(count: int) -> list[Part]:
    """Return the commands that read a results folder with so many finished runs."""
    about = f", {count} finished runs"
    others = (("table", "all"), ("table", "cost"), ("compare", "kd", "lgtm"), ("status",), ("show", "kd", "mrpc"))
    return [Part(("table", "1"), about, goal=5.0), *(Part(args, about) for args in others)]


def play(rounds: int, runs: int = many.RUNS, *, whole_sweep: bool = False) -> Iterator[dict[str, Any]]:
    """Title, goal, and what every round took.

    Args:
        runs: of the plan and of the results.
        whole_sweep: also train the tiny sweep, once, which takes minutes.
    """
    for part in (*EMPTY, planned(runs)):
        yield measure(part, rounds)
    with TemporaryDirectory() as made:
        for part in looking(many.store(Path(made), runs)):
            yield measure(part, rounds, Path(made))
    if whole_sweep:
        yield measure(SWEEP, 1)


def measure(part: Part, rounds: int, folder: Path | None = None) -> dict[str, Any]:
    """Each round in an empty folder, or in the one given."""
    took = []
    for _ in range(rounds):
        with TemporaryDirectory() as empty:
            took.append(kdbench(*part.args, folder=folder or Path(empty)))
    return {
        "title": part.title, "goal": part.goal, "seconds": [one.seconds for one in took],
        "cpu": [one.cpu for one in took], "peak": max(one.peak for one in took),
    }  # fmt: skip
