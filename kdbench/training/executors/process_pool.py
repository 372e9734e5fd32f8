"""The executor of this machine: several runs at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from filelock import Timeout

from kdbench.core.errors import UserError
from kdbench.core.safe_path import Children
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import RunSpec
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.executors.scheduler import Board, Outcome, Schedule
from kdbench.training.executors.serial import attempt

TELL_SECONDS = 0.2  # between two messages about one run's steps
LOOK_SECONDS = 0.5  # between two looks at whether somebody asked to stop
TO_THE_GROUP = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)  # Ctrl-C, a queue's warning: the parent passes it on
RETRIES = 2  # of a run whose process was killed


@dataclass
class Worker:
    """A process that trains what it is sent, one run after the other, on its share of the machine."""

    process: Any
    pipe: Connection
    execution: Execution
    run_id: str | None = None


def run_pool(
    plan: Plan, store: Store, executions: Sequence[Execution], recording: Recording, board: Board,
    should_stop: Callable[[], bool] = lambda: False, settled: dict[str, str] | None = None,
    ready: Sequence[Worker] = (),
) -> Outcome:  # fmt: skip
    """Train what is not done, as many runs at once as there are `executions`, each after the runs that it needs.

    A process that is killed costs its run nothing but time: the run goes on in another one, twice at most.

    Args:
        settled: see `Schedule`.
        ready: processes that were started before, with the first of the `executions`.
    """
    schedule = Schedule(plan, store, board, settled)
    pool = _Pool(plan, store, recording, board, schedule)
    try:
        pool.open(executions, ready)
        while pool.hand_out(stopping=should_stop()):
            pool.listen()
    finally:
        pool.close()
    return schedule.outcome


def start_worker(store: Store, recording: Recording, execution: Execution) -> Worker:
    """Start a process that trains what it is sent."""
    # a fresh interpreter: torch's threads and a GPU's context do not survive a fork
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, str(store.root), execution.model_dump(), recording.model_dump())
    process = context.Process(target=work, args=arguments, daemon=True)
    with Children():
        process.start()
    theirs.close()
    return Worker(process, ours, execution)


def smoke_test(worker: Worker, plan: Plan, todo: Sequence[RunSpec]) -> None:
    """Let a worker make a step of every method; see `kdbench.training.smoke_test`.

    Raises:
        UserError: what does not work, or that the worker did not survive it.
    """
    try:
        worker.pipe.send((plan, [spec.id for spec in todo]))
        problem = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        problem = (
            f"A first step of every method ended its process (exit code {worker.process.exitcode}, where -9 is often a "
            f"lack of memory); choose smaller networks or a machine with more."
        )
    if problem:
        worker.pipe.close()
        raise UserError(problem)


class _Pool:
    def __init__(self, plan: Plan, store: Store, recording: Recording, board: Board, schedule: Schedule) -> None:
        self.plan, self.store, self.recording, self.board, self.schedule = plan, store, recording, board, schedule
        self.workers: list[Worker] = []
        self.killed: dict[str, int] = {}
        self._asked = False

    def open(self, executions: Sequence[Execution], ready: Sequence[Worker]) -> None:
        self.workers = list(ready)
        if not self.schedule.is_over:
            self.workers += [start_worker(self.store, self.recording, e) for e in executions[len(ready) :]]

    def hand_out(self, *, stopping: bool) -> bool:
        """Give idle workers something to do; False when there is nothing left to wait for."""
        if stopping or self.schedule.outcome.stopped:
            self._ask_to_stop()
            return any(worker.run_id for worker in self.workers)
        for worker in self.workers:
            if worker.run_id is None and (run_id := self.schedule.take()) is not None:
                worker.run_id = run_id
                with suppress(BrokenPipeError):  # its death is noticed in `listen`
                    worker.pipe.send(self.plan.runs[run_id].model_dump(mode="json"))
        return not self.schedule.is_over

    def _ask_to_stop(self) -> None:
        """Every run writes a checkpoint and ends."""
        self.schedule.outcome.stopped = True
        if not self._asked:
            self._asked = True
            for worker in self.workers:
                worker.process.terminate()

    def listen(self) -> None:
        """Hear what the workers have to say, and which of them are gone."""
        heard = wait([worker.pipe for worker in self.workers], timeout=LOOK_SECONDS)
        for worker in [worker for worker in self.workers if worker.pipe in heard]:
            try:
                kind, *values = worker.pipe.recv()
            except (EOFError, OSError):
                self._replace(worker)
            else:
                self._heard(worker, kind, values)

    def _heard(self, worker: Worker, kind: Any, values: list[Any]) -> None:
        if kind in ("started", "stepped", "paused"):
            getattr(self.board, kind)(*values)
            return
        assert worker.run_id is not None
        run_id, worker.run_id = worker.run_id, None
        self.schedule.tell(run_id, kind, *values)

    def _replace(self, worker: Worker) -> None:
        """The process is gone: its run is tried again, in a new one."""
        self.workers.remove(worker)
        worker.process.join()
        run_id, worker.run_id = worker.run_id, None
        if run_id is not None:
            self._lost(run_id, worker.process.exitcode)
        worker.pipe.close()
        if not self._asked:
            self.workers.append(start_worker(self.store, self.recording, worker.execution))

    def _lost(self, run_id: str, code: int | None) -> None:
        how = f"its process was ended by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if self._asked:
            self.schedule.tell(run_id, "interrupted")
            return
        self.killed[run_id] = self.killed.get(run_id, 0) + 1
        if self.killed[run_id] > RETRIES:
            why = f"killed: {how}, {self.killed[run_id]} times (signal 9 is often a lack of memory)"
            with suppress(Timeout), self.store.run(run_id).lock().held():  # else another process has it by now
                self.store.run(run_id).set_state("failed", kind="killed", message=why)
            self.schedule.tell(run_id, "failed", why)
        else:
            self.schedule.tell(run_id, "again", f"{how}; it goes on in another")

    def close(self) -> None:
        for worker in self.workers:
            with suppress(OSError):
                worker.pipe.send(None)
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


class _Teller:
    """The watcher of a worker: sends on what the runner tells, not too often.

    Args:
        asked: gets a number when nobody listens any more, so that the run stops at its next step.
    """

    def __init__(self, pipe: Connection, asked: list[int]) -> None:
        self.pipe, self.asked = pipe, asked
        self._last = 0.0

    def _send(self, *message: Any) -> None:
        try:
            self.pipe.send(message)
        except OSError:
            self.asked.append(0)

    def started(self, run_id: str, step: int, total: int) -> None:
        self._send("started", run_id, step, total)

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        now = time.monotonic()
        if now - self._last >= TELL_SECONDS:
            self._last = now
            self._send("stepped", run_id, step, loss, score)

    def paused(self, run_id: str, why: str) -> None:
        self._send("paused", run_id, why)


def work(pipe: Connection, root: str, execution: dict[str, Any], recording: dict[str, Any]) -> None:
    """The life of a worker process."""
    for number in TO_THE_GROUP:
        signal.signal(number, signal.SIG_IGN)
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    store, teller = Store(Path(root), create=False), _Teller(pipe, asked)
    settings = Execution.model_validate(execution), Recording.model_validate(recording)
    while not asked:
        try:
            given = pipe.recv()
        except (EOFError, InterruptedError):
            return
        if given is None:
            return
        if isinstance(given, tuple):
            pipe.send(_try_out(*given))
            continue
        with suppress(BrokenPipeError):  # the parent is gone; what was done is on the disk
            pipe.send(attempt(RunSpec.model_validate(given), store, *settings, teller, lambda: bool(asked)))


def _try_out(plan: Plan, runs: Sequence[str]) -> str:
    """Why some network or method of these runs does not work, in one sentence; "" when all do."""
    from kdbench.training.smoke_test import smoke_test

    try:
        smoke_test(plan, [plan.runs[run] for run in runs])
    except UserError as error:
        return str(error)
    return ""
