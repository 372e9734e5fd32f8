"""Cut a graph of runs into job arrays with dependencies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from kdbench.core.spec import RunSpec, run_depths

T = TypeVar("T")
JobRuns = tuple[str, ...]  # the runs that one job trains, one after the other


@dataclass(frozen=True)
class JobArray:
    """Jobs that are submitted together. `after` are the runs of other jobs that must end first."""

    tasks: tuple[JobRuns, ...]
    after: frozenset[str]

    @property
    def runs(self) -> list[str]:
        return [run for task in self.tasks for run in task]


def make_arrays(
    runs: Mapping[str, RunSpec], chosen: Iterable[str], *, longest: int, runs_per_job: int = 1, together: bool = False
) -> list[JobArray]:
    """Cut `chosen` into arrays, ordered so that each comes after the arrays that it waits for.

    Args:
        runs: the plan's runs, parents first.
        chosen: the runs to submit; other runs that they need are finished or queued.
        longest: most jobs in an array.
        runs_per_job: number of runs that a job trains.
        together: put all runs of one depth of the graph into one array (and its continuations, one after the other), so
            that a limit on parallel jobs of the array limits the sweep. Otherwise runs that need the same runs share an
            array, so that each starts as soon as its own needs are met.
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


def _pieces(items: list[T], size: int) -> list[list[T]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
