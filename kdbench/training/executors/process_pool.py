"""Train several runs of a plan at once on this machine, each in its own process."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

from filelock import Timeout

from kdbench.core.errors import UserError
from kdbench.core.safe_path import Children
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.executors.scheduler import Outcome, Schedule, SweepWatcher
from kdbench.training.executors.serial import train_run

MESSAGE_SECONDS = 0.2  # between two messages about one run's steps
LOOK_SECONDS = 0.5  # between two checks of the stop flag
IGNORED_SIGNALS = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)  # Ctrl-C, a queue's warning: handled by the parent
START_METHOD: Final = "spawn"  # a fresh interpreter: torch's threads and a GPU's context do not survive a fork
RETRIES = 2  # of a run whose process was killed


@dataclass
class Worker:
    """A process that trains the runs it receives, one after the other, on its share of the machine."""

    process: Any
    pipe: Connection
    execution: Execution
    run_id: str | None = None


def run_pool(
    plan: Plan, store: Store, executions: Sequence[Execution], recording: Recording, board: SweepWatcher,
    should_stop: Callable[[], bool] = lambda: False, settled: dict[str, str] | None = None,
    started: Sequence[Worker] = (),
) -> Outcome:  # fmt: skip
    """Train the unfinished runs, as many at once as there are `executions`, each after the runs that it needs.

    A run whose process is killed is resumed in another process, twice at most.

    Args:
        settled: see `Schedule`.
        started: processes that were started before, with the first of the `executions`.
    """
    schedule = Schedule(plan, store, board, settled)
    pool = _Pool(plan, store, recording, board, schedule)
    try:
        pool.open(executions, started)
        while pool.assign_runs(stopping=should_stop()):
            pool.receive_messages()
    finally:
        pool.close()
    return schedule.outcome


def start_worker(store: Store, recording: Recording, execution: Execution) -> Worker:
    """Start a process that trains the runs it receives."""
    context = multiprocessing.get_context(START_METHOD)
    ours, theirs = context.Pipe()
    arguments = (theirs, str(store.root), execution.model_dump(), recording.model_dump())
    process = context.Process(target=run_worker, args=arguments, daemon=True)
    # blocked until the process ignores them itself: Ctrl-C during its imports would end in a traceback
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        with Children():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return Worker(process, ours, execution)


def smoke_test(worker: Worker, plan: Plan, todo: Sequence[RunSpec]) -> dict[str, str]:
    """Run `kdbench.training.smoke_test` in a worker, which ends if something does not work.

    Raises:
        UserError: the worker died, or what it was to test could not be read.
    """
    unfit, problem = dict[str, str](), ""
    try:
        worker.pipe.send((plan, [spec.id for spec in todo]))
        unfit, problem = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        problem = (
            f"A first step of every method ended its process (exit code {worker.process.exitcode}, where -9 is often a "
            f"lack of memory); choose smaller networks or a machine with more. A Python script must call kdbench below "
            '`if __name__ == "__main__":`, for its processes import the script.'
        )
    if problem or unfit:
        with suppress(OSError):  # it died
            worker.pipe.send(None)
        worker.pipe.close()
    if problem:
        raise UserError(problem)
    return unfit


class _Pool:
    """The worker processes of a sweep, and the messages between them and the schedule."""

    def __init__(self, plan: Plan, store: Store, recording: Recording, board: SweepWatcher, schedule: Schedule) -> None:
        self.plan, self.store, self.recording, self.board, self.schedule = plan, store, recording, board, schedule
        self.workers: list[Worker] = []
        self.killed: dict[str, int] = {}
        self._idle_ends = 0  # of workers without a run, since the last message of any
        self._asked = False

    def open(self, executions: Sequence[Execution], started: Sequence[Worker]) -> None:
        """Start the workers that are not `started` yet."""
        self.workers = list(started)
        if not self.schedule.is_over:
            self.workers += [start_worker(self.store, self.recording, e) for e in executions[len(started) :]]

    def assign_runs(self, *, stopping: bool) -> bool:
        """Give runs to idle workers; return False when there is nothing left to wait for."""
        if stopping or self.schedule.outcome.stopped:
            self._ask_to_stop()
            return any(worker.run_id for worker in self.workers)
        for worker in self.workers:
            if worker.run_id is None and (run_id := self.schedule.take()) is not None:
                worker.run_id = run_id
                with suppress(BrokenPipeError):  # a dead worker is noticed in `receive_messages`
                    worker.pipe.send(self.plan.runs[run_id].model_dump(mode="json"))
        return not self.schedule.is_over

    def _ask_to_stop(self) -> None:
        """Ask every worker once to checkpoint its run and end."""
        self.schedule.outcome.stopped = True
        if not self._asked:
            self._asked = True
            for worker in self.workers:
                worker.process.terminate()

    def receive_messages(self) -> None:
        """Handle the workers' messages, and replace workers that died."""
        readable = wait([worker.pipe for worker in self.workers], timeout=LOOK_SECONDS)
        for worker in [worker for worker in self.workers if worker.pipe in readable]:
            try:
                kind, *values = worker.pipe.recv()
            except (EOFError, OSError):
                self._replace(worker)
            else:
                self._handle_message(worker, kind, values)

    def _handle_message(self, worker: Worker, kind: Any, values: list[Any]) -> None:
        self._idle_ends = 0
        if kind in ("started", "stepped", "paused"):
            getattr(self.board, kind)(*values)
            return
        assert worker.run_id is not None
        run_id, worker.run_id = worker.run_id, None
        self.schedule.report_outcome(run_id, kind, *values)

    def _replace(self, worker: Worker) -> None:
        """Start a new process for one that died, and queue its run again.

        Raises:
            UserError: no worker is left, because they end before they are given a run.
        """
        self.workers.remove(worker)
        worker.process.join()
        run_id, worker.run_id = worker.run_id, None
        if run_id is not None:
            self._retry_or_fail(run_id, worker.process.exitcode)
        else:
            self._idle_ends += 1
        worker.pipe.close()
        if not self._asked and self._idle_ends <= RETRIES:
            self.workers.append(start_worker(self.store, self.recording, worker.execution))
        if not self._asked and not self.workers:
            raise UserError(
                f"The processes that train end as soon as they begin (the last one with exit code "
                f"{worker.process.exitcode}), so nothing can be trained; repeat the command with --jobs 1 to see why."
            )

    def _retry_or_fail(self, run_id: str, code: int | None) -> None:
        how = f"its process was ended by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if self._asked:
            self.schedule.report_outcome(run_id, "interrupted")
            return
        self.killed[run_id] = self.killed.get(run_id, 0) + 1
        if self.killed[run_id] > RETRIES:
            why = f"killed: {how}, {self.killed[run_id]} times (signal 9 is often a lack of memory)"
            with suppress(Timeout), self.store.run(run_id).lock().held():  # else another process has taken it
                self.store.run(run_id).set_state("failed", kind="killed", message=why)
            self.schedule.report_outcome(run_id, "failed", why)
        else:
            self.schedule.report_outcome(run_id, "requeued", f"{how}; it goes on in another")

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            with suppress(OSError):
                worker.pipe.send(None)
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


class _PipeWatcher:
    """Sends a worker's progress reports to the parent process: the last step, and one every MESSAGE_SECONDS.

    Args:
        signals: gets an entry when the parent is gone, so that the run stops at its next step.
    """

    def __init__(self, pipe: Connection, signals: list[int]) -> None:
        self.pipe, self.signals = pipe, signals
        self._last, self._total = 0.0, 0

    def _send(self, *message: Any) -> None:
        try:
            self.pipe.send(message)
        except OSError:
            self.signals.append(0)

    def started(self, run_id: str, step: int, total: int) -> None:
        self._total = total
        self._send("started", run_id, step, total)

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        now = time.monotonic()
        if step == self._total or now - self._last >= MESSAGE_SECONDS:
            self._last = now
            self._send("stepped", run_id, step, loss, score)

    def paused(self, run_id: str, why: str) -> None:
        self._send("paused", run_id, why)


def run_worker(pipe: Connection, root: str, execution: dict[str, Any], recording: dict[str, Any]) -> None:
    """Train the runs received through `pipe` until told to end (None); the main function of a worker process."""
    # SIGTERM stops the run at its next step
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    store, watcher = Store(Path(root), create=False), _PipeWatcher(pipe, signals)
    settings = Execution.model_validate(execution), Recording.model_validate(recording)
    # a tuple asks for the smoke test, a spec for a training
    while not signals:
        try:
            message = pipe.recv()
        except (EOFError, InterruptedError):
            return
        if message is None:
            return
        if isinstance(message, tuple):
            pipe.send(_run_smoke_test(*message))
            continue
        with suppress(BrokenPipeError):  # the parent is gone; results are on the disk
            spec = RunSpec.model_validate(message)
            TASKS.learn([spec], replace=True)
            pipe.send(train_run(spec, store, *settings, watcher, lambda: bool(signals)))


def _run_smoke_test(plan: Plan, runs: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return what does not work of these runs, and why they could not be tested, in one sentence, or ""."""
    from kdbench.training.smoke_test import smoke_test

    TASKS.learn(plan.runs.values(), replace=True)
    try:
        return smoke_test(plan, [plan.runs[run] for run in runs]), ""
    except UserError as error:
        return {}, str(error)
