"""From a graph of runs to job arrays: what goes together, and what comes after what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from kdbench.core.spec import RunSpec

T = TypeVar("T")
JobRuns = tuple[str, ...]  # the runs that one job trains, one after the other


@dataclass(frozen=True)
class JobArray:
    """Jobs that are submitted together. `after` are runs of other jobs that must have ended first."""

    tasks: tuple[JobRuns, ...]
    after: frozenset[str]

    @property
    def runs(self) -> list[str]:
        return [run for task in self.tasks for run in task]


def make_arrays(
    runs: Mapping[str, RunSpec], chosen: Iterable[str], *, longest: int, runs_per_job: int = 1, together: bool = False
) -> list[JobArray]:
    """Cut `chosen` into arrays, in an order in which each comes after those that it waits for.

    Args:
        runs: the plan's runs, parents first.
        chosen: the runs to be submitted; what else they need is done, or queued already.
        longest: how many jobs an array may have.
        runs_per_job: how many runs a job trains.
        together: all runs of one depth of the graph go into one array (and its continuations, one after the other),
            so that a limit on the array limits the sweep. Else those that need the same runs go into one, so that
            each starts as soon as its own needs are there.
    """
    wanted = set(chosen)
    groups: dict[int | frozenset[str], list[str]] = {}
    depth = run_depths(runs)
    for run in sorted((run for run in runs if run in wanted), key=depth.__getitem__):  # stable: the plan's order
        key = depth[run] if together else frozenset(runs[run].needs.values())
        groups.setdefault(key, []).append(run)
    out: list[JobArray] = []
    for group in groups.values():
        for tasks in _pieces(_pieces(group, runs_per_job), longest):
            before = out[-1].runs if together and out else []
            needs = {parent for task in tasks for run in task for parent in runs[run].needs.values()}
            out.append(JobArray(tuple(tuple(task) for task in tasks), frozenset({*needs, *before})))
    return out


def run_depths(runs: Mapping[str, RunSpec]) -> dict[str, int]:
    """How many runs stand before each on its longest way."""
    out: dict[str, int] = {}
    for run, spec in runs.items():
        out[run] = max((out[parent] + 1 for parent in spec.needs.values() if parent in out), default=0)
    return out


def _pieces(items: list[T], size: int) -> list[list[T]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
