"""The executor of this machine: one run after the other in this process, or several at once."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kdbench.core.environment import core_count
from kdbench.core.formatting import count
from kdbench.core.settings import Execution
from kdbench.core.spec import RunSpec
from kdbench.planning.executor import EXIT_STOPPED, ExecutionRequest, Executor, ShowTables
from kdbench.results.store import Store
from kdbench.training.executors.machine_share import choose_jobs, memory_bytes
from kdbench.training.executors.scheduler import Outcome

if TYPE_CHECKING:
    from kdbench.planning.plan import Plan
    from kdbench.training.executors.process_pool import Worker


class Local(Executor):
    """Train on this machine, and return when every run is done or has failed."""

    title = "this machine"

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._started: tuple[Worker, ...] = ()  # processes started for the check, which will also train

    def check(self, request: ExecutionRequest) -> list[str]:
        from kdbench.training import preflight

        shares = executions(request)
        test = partial(self._smoke_test, request, shares[0]) if len(shares) > 1 else None
        remarks = preflight.check(request.plan, shares, request.store, test)
        if not request.execution.jobs and len(shares) > max(1, len(request.devices)):
            threads = count(shares[0].threads, "thread")
            remarks.append(f"{len(shares)} runs at once, each with {threads}; --jobs sets another number.")
        if request.runs_per_job > 1:
            remarks.append(f"runs_per_job={request.runs_per_job} is for queues; here it changes nothing.")
        return remarks

    def _smoke_test(
        self, request: ExecutionRequest, execution: Execution, plan: Plan, todo: Sequence[RunSpec]
    ) -> dict[str, str]:
        """Run the smoke test in a process of the later pool, so that this process need not import torch."""
        from kdbench.training.executors import process_pool

        worker = process_pool.start_worker(request.store, request.recording, execution)
        unfit = process_pool.smoke_test(worker, plan, todo)
        self._started = () if unfit else (worker,)
        return unfit

    def execute(self, request: ExecutionRequest, show_tables: ShowTables) -> int:
        from kdbench.training.executors import process_pool
        from kdbench.training.executors.progress_bars import progress_display
        from kdbench.training.executors.serial import run_all, stop_flag

        shares = executions(request)
        with progress_display(request.plan, request.console) as board, stop_flag() as should_stop:
            if len(shares) > 1:
                outcome = process_pool.run_pool(
                    request.plan, request.store, shares, request.recording, board, should_stop, started=self._started
                )
            else:
                outcome = run_all(request.plan, request.store, shares[0], request.recording, board, should_stop)
        if outcome.stopped:
            request.console.print("Stopped; nothing is lost. The same command goes on where it stopped.")
            return EXIT_STOPPED
        show_tables(request)
        report(outcome, request.console)
        return 1 if outcome.failed or outcome.blocked else 0

    @classmethod
    def cancel(cls, store: Store, runs: Iterable[str]) -> list[str]:
        """Ask the processes of this machine that train these runs to stop; each writes a checkpoint first."""
        said = []
        for folder in map(store.run, runs):
            state = folder.state()
            owner = folder.lock().owner() if state.status == "running" and not state.job else None
            if owner is not None:
                said += [f"{folder.id}: {text}" for text in _stop(*owner)]
        return said


def _stop(host: str, process: int) -> list[str]:
    """Ask a training process to stop; return remarks for the user, none if it has just ended."""
    if host != socket.gethostname():
        return [f"process {process} on {host} trains it; stop it there."]
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        return []
    except PermissionError:
        return [f"process {process} is another user's."]
    return [f"process {process} was asked to stop, and with it the sweep that it belongs to."]


def executions(request: ExecutionRequest) -> list[Execution]:
    """Return the settings of each of the runs that are trained at once on this machine."""
    common, cores = request.execution, core_count()
    if not common.jobs:
        jobs = 1 if request.devices else choose_jobs(request.plan, common, cores, memory_bytes())
        common = common.model_copy(update={"jobs": jobs})
    return shares(common, request.devices, cores)


def shares(common: Execution, devices: Sequence[str], cores: int) -> list[Execution]:
    """Return the settings of each of `jobs` concurrent runs: the devices in turn, an equal part of the cores.

    A device that is listed, or comes in turn, several times is shared by as many runs.
    """
    jobs = max(common.jobs, len(devices))
    threads = common.threads or (max(1, cores // jobs) if jobs > 1 else 0)
    names = [devices[i % len(devices)] if devices else common.device for i in range(jobs)]
    return [common.model_copy(update={"device": name, "threads": threads}) for name in names]


def report(outcome: Outcome, console: Console) -> None:
    """Print the counts of a sweep, and each run that failed or is blocked, with the reason."""
    parts = [f"{len(outcome.trained)} trained", f"{len(outcome.done)} done before"]
    parts += [f"{len(outcome.elsewhere)} by another process"] if outcome.elsewhere else []
    parts += [f"{len(outcome.failed)} failed"]
    parts += [f"{len(outcome.blocked)} blocked"] if outcome.blocked else []
    console.print(", ".join(parts) + ".")
    for run, why in outcome.failed.items():
        console.print(f"  {run}: {why}", markup=False, soft_wrap=True)
    for run, parent in outcome.blocked.items():
        console.print(f"  {run} waits for {parent}", markup=False, soft_wrap=True)
    if outcome.failed:
        console.print("The same command tries them again; kdbench show RUN tells more.")
