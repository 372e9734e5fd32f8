"""Estimate what a plan will cost before training: steps, seconds, bytes on disk, and how reliable that is.

The work of a run is counted in floating-point operations, from its spec and the shapes of its networks; no method is
known by name. The time of an operation is the median of the most similar finished runs, else an assumed one, and the
output says which.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from kdbench.core.errors import UserError
from kdbench.core.formatting import count, duration, sentence, size
from kdbench.core.spec import RunSpec
from kdbench.planning.plan import Plan
from kdbench.planning.run_scale import FILLED, RunScale
from kdbench.results.store import RunFolder, Store

FOLDERS = 5  # finished runs whose bytes are counted
ALIKE = 20  # times a step's work: further off, a small network's overhead says nothing about a large one's speed
CORE_RATE = 0.05e12  # operations a second of a CPU core: float32 with AVX2, half of the peak at 3 GHz
GPU_RATE = 10e12  # operations a second of a data-centre GPU: float32, two thirds of a V100's peak
GPU = Path("/dev/nvidiactl")  # there where a GPU is; asking torch would take seconds
OVERHEAD = 0.015  # seconds a step, of Python and evaluation, however small the networks
SAME = "from {} of the same methods and networks"
BASES = (SAME, SAME, SAME, "from {} of other methods on the same networks")  # as in `RunScale.likeness`
OTHERS = "roughly, from {} of other networks"
GUESS = "a rough guess: nothing alike was measured here yet; assumes {:g} TFLOP/s ({}), and {:.0f} ms a step beside"


class CostEstimate(NamedTuple):
    """The cost of the runs that are still to be trained."""

    runs: int
    steps: int  # batches left, of all runs
    seconds: float  # of training, one run after the other
    chain_seconds: float  # of the longest chain of runs that need one another: the least with unlimited machines
    disk: int  # bytes in the runs' folders when they are done
    basis: str  # what the seconds are derived from, a phrase
    remarks: tuple[str, ...] = ()  # what else was assumed, sentences


def estimate_cost(plan: Plan, store: Store, runs: Iterable[str] | None = None) -> CostEstimate:
    """Estimate the cost of the unfinished part of a plan.

    Args:
        runs: ids of the plan's runs to count, None for all; finished runs cost nothing.

    Raises:
        UserError: a run cannot work: its data are gone, or a role has no rows.
    """
    chosen = plan.runs if runs is None else {run: plan.runs[run] for run in runs}
    begun = {folder.id: folder for folder in store.runs()}
    done = {run for run in begun.keys() & chosen if begun[run].is_done(chosen[run].snapshots)}
    # in the plan's order, in which what is needed comes first
    left = {run: spec for run, spec in plan.runs.items() if run in chosen and run not in done}
    if not left:
        return CostEstimate(0, 0, 0.0, 0.0, 0, "nothing is left to train")
    prices = _Prices(plan, begun)
    costs = {run: prices.of(spec) for run, spec in left.items()}
    steps = {run: _steps_left(begun[run], c.steps) if run in begun else c.steps for run, c in costs.items()}
    seconds = {run: steps[run] * c.step_seconds for run, c in costs.items()}
    # the longest chain of runs that need one another
    ends: dict[str, float] = {}
    for run, spec in left.items():
        ends[run] = seconds[run] + max((ends.get(parent, 0.0) for parent in spec.needs.values()), default=0.0)
    return CostEstimate(
        len(left), sum(steps.values()), sum(seconds.values()), max(ends.values()),
        round(sum(c.disk for c in costs.values())), _basis(costs.values()), _remarks(left, costs),
    )  # fmt: skip


def _steps_left(folder: RunFolder, steps: int) -> int:
    """Return the steps left of a run that was begun; without a checkpoint, an interrupted run starts over."""
    state = folder.state()
    goes_on = state.status == "running" or (state.status == "interrupted" and folder.checkpoint.exists())
    return max(0, state.total - state.step) if goes_on and state.total else steps


class _Cost(NamedTuple):
    """The cost of a whole run. `basis` has a place for the number of `sources`, which are finished runs by id."""

    steps: int
    step_seconds: float
    disk: float
    basis: str
    sources: frozenset[str]
    guessed: frozenset[str]  # names of networks whose size is guessed


class _Prices:
    """Costs of a plan's runs, from the time and disk space of finished runs.

    Args:
        begun: the runs in the results folder.
    """

    def __init__(self, plan: Plan, begun: Mapping[str, RunFolder]) -> None:
        specs = dict(plan.runs)  # and soon those that only the store knows
        self._scale = RunScale(specs, {(s.task, s.data.fingerprint): s.data for s in plan.runs.values()})
        self._known: dict[Hashable, _Cost] = {}
        self._rates: dict[Hashable, dict[str, float]] = {None: {}}  # seconds an operation, by likeness (None: all), run
        self._work: dict[str, float] = {}
        self._folders: dict[str, list[RunFolder]] = {}  # by the student's fingerprint
        paces = {run: pace for run, folder in begun.items() if (pace := _pace(folder, specs)) is not None}
        for run, pace in paces.items():
            self._work[run] = self._scale.work(specs[run])
            for key in (*self._scale.likeness(specs[run]), None):
                self._rates.setdefault(key, {})[run] = pace / self._work[run]
            self._folders.setdefault(specs[run].student.fingerprint, []).append(begun[run])

    def of(self, spec: RunSpec) -> _Cost:
        """Return the cost of a run; runs that differ in nothing that matters are computed once."""
        t = spec.training
        numbers = t.epochs, t.batch_size, t.max_length, t.train_rows, t.teacher_lr is None
        key = self._scale.likeness(spec)[0], spec.selection, spec.feedback, spec.withheld, len(spec.snapshots), numbers
        return self._known.get(key) or self._known.setdefault(key, self._cost(spec))

    def _cost(self, spec: RunSpec) -> _Cost:
        """Compute the cost of a run."""
        scale, (rate, basis, sources) = self._scale, self._rate(spec)
        refs = [spec.student, *([spec.teacher] if spec.teacher else []), *scale.needed(spec)]
        guessed = frozenset(ref.name for ref in refs if scale.size(spec, ref).guessed)
        shares = [_share(folder) for folder in self._folders.get(spec.student.fingerprint, [])[:FOLDERS]]
        disk = (1 + len(spec.snapshots)) * (median(shares) if shares else scale.size(spec, spec.student).bytes)
        return _Cost(scale.steps(spec), scale.work(spec) * rate, disk, basis, sources, guessed)

    def _rate(self, spec: RunSpec) -> tuple[float, str, frozenset[str]]:
        """Return seconds an operation (median of the most similar runs), a phrase about these runs, and their ids."""
        for key, basis in zip(self._scale.likeness(spec), BASES, strict=True):
            if rates := self._rates.get(key):
                return median(rates.values()), basis, frozenset(rates)
        work = self._scale.work(spec)
        near = {run: rate for run, rate in self._rates[None].items() if 1 / ALIKE < self._work[run] / work < ALIKE}
        if near:
            return median(near.values()), OTHERS, frozenset(near)
        cores = os.cpu_count() or 1
        speed, what = (GPU_RATE, "a GPU") if GPU.exists() else (CORE_RATE * cores, count(cores, "core"))
        return 1 / speed + OVERHEAD / work, GUESS.format(speed / 1e12, what, 1000 * OVERHEAD), frozenset()


def _pace(folder: RunFolder, specs: dict[str, RunSpec]) -> float | None:
    """Return seconds a step of a finished run, and add its spec to `specs`; None for an unfinished run."""
    try:
        cost = folder.cost()
        specs[folder.id] = specs.get(folder.id) or folder.spec
        return float(cost["train_seconds"]) / int(cost["steps"]) or None
    except (OSError, UserError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _share(folder: RunFolder) -> float:
    """Return the bytes of one network and its files; a run that keeps snapshots holds several networks."""
    total = 0
    for file in folder.path.rglob("*"):
        with suppress(OSError):  # somebody trains it again, and this was temporary
            total += file.stat().st_size if file.is_file() else 0
    return total / (1 + len(list(folder.path.glob("snapshots/*"))))


def _basis(costs: Iterable[_Cost]) -> str:
    """Describe what the times are derived from: one phrase, or several with their numbers of runs."""
    found: dict[str, list[frozenset[str]]] = {}
    for cost in costs:
        found.setdefault(cost.basis, []).append(cost.sources)
    parts = []
    for basis, sources in sorted(found.items(), key=lambda item: -len(item[1])):
        text = basis.format(count(len(set[str]().union(*sources)), "finished run"))
        parts.append(text if len(found) == 1 else f"{text} ({count(len(sources), 'run')})")
    return "; ".join(parts)


def _remarks(left: Mapping[str, RunSpec], costs: Mapping[str, _Cost]) -> tuple[str, ...]:
    """Return sentences about further assumptions."""
    out = []
    if any(spec.data.source == "hub" for spec in left.values()):
        out.append(f"Rows as published, {100 * FILLED:.0f} % of max_length filled: data on the hub are not looked at.")
    if guessed := sorted(set[str]().union(*(cost.guessed for cost in costs.values()))):
        out.append(f"Taken to be of BERT-base's size, being unknown here: {', '.join(guessed)}.")
    if blank := sorted({left[run].task for run, cost in costs.items() if not cost.steps and left[run].training.epochs}):
        out.append(f"Time not counted, because the rows are unknown before they are fetched: {', '.join(blank)}.")
    return tuple(out)


def estimate_lines(found: CostEstimate) -> list[str]:
    """Return the one to three lines that a user sees."""
    if not found.runs:
        return ["Nothing is left to train."]
    first = (
        f"{count(found.runs, 'run')} to train, {found.steps:,} steps: about {_duration(found.seconds)} one after the "
        f"other, at least {_duration(found.chain_seconds)} with any number of jobs; {size(found.disk)} on disk."
    )
    return [first, f"{sentence(found.basis)}.", *([" ".join(found.remarks)] if found.remarks else [])]


def _duration(seconds: float) -> str:
    """Format seconds, in days where they are many."""
    return f"{seconds / 86400:,.0f} days" if seconds > 3 * 86400 else duration(seconds)
