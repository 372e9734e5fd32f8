"""What a job does. It is told names only: all that counts is in the results folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from kdbench.core.console import make_console
from kdbench.core.formatting import count
from kdbench.core.settings import Execution, Recording
from kdbench.planning.executor import ExecutionRequest
from kdbench.planning.plan import Plan
from kdbench.results.store import JOB, Store
from kdbench.slurm import queue
from kdbench.slurm.arrays import Task
from kdbench.slurm.ledger import Ledger
from kdbench.training.executors import sweep_record
from kdbench.training.executors.local import report, shares
from kdbench.training.executors.process_pool import run_pool
from kdbench.training.executors.progress_bars import ProgressLines
from kdbench.training.executors.scheduler import Outcome
from kdbench.training.executors.serial import run_all

LIMIT = signal.SIGUSR2  # SLURM sends it some time before the limit of a job
RESTARTS = 3  # without a step being made in between
END_SECONDS = 60  # in which SLURM ends a job that it has put back into the queue
ASK_SECONDS = 10

Call = tuple[str, str, list[str], dict[str, Any], dict[str, Any]]


class Unfinished(Exception):
    """Some runs of this job failed; makes the queue call the job FAILED."""


def calls(order: ExecutionRequest, tasks: tuple[Task, ...], at_once: int) -> list[Call]:
    """The arguments of `train` for each job of an array: plain values, so that nothing is pickled by content."""
    execution = order.execution.model_dump(mode="json") | {"jobs": at_once}
    recording = order.recording.model_dump(mode="json")
    root = str(order.store.root.resolve())
    return [(root, order.sweep, list(task), execution, recording) for task in tasks]


def train(root: str, sweep: str, runs: list[str], execution: dict[str, Any], recording: dict[str, Any]) -> str:
    """Train some runs of a sweep, `jobs` at once; whatever they need and nobody has trained, first.

    Returns:
        what became of them, in one line.

    Raises:
        Unfinished: some failed.
    """
    job = os.environ[JOB] = _job()
    store = Store(Path(root))
    plan = sweep_record.stored_plan(store, sweep).only(runs)
    console = make_console(width=200)
    with listening() as heard, _Counting(plan, console) as board:
        settled = given_up(plan, store, runs, queue.ask())
        own, asked = _shares(execution, len(plan.runs)), lambda: bool(heard)
        how = Recording.model_validate(recording)
        if len(own) > 1:
            outcome = run_pool(plan, store, own, how, board, asked, settled)
        else:
            outcome = run_all(plan, store, own[0], how, board, asked, settled)
        if outcome.stopped:
            _leave(job, heard, board.steps)
    report(outcome, console)
    return _summary(outcome, runs)


def _job() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]


def _shares(execution: dict[str, Any], runs: int) -> list[Execution]:
    """For each run at once: the job's GPUs in turn, and its cores as threads unless the user said how many."""
    made, cores = Execution.model_validate(execution), int(os.environ.get("SLURM_CPUS_PER_TASK", 0))
    if made.jobs == 1 or runs == 1:
        change = {"jobs": 1, "threads": made.threads or cores}
        return [made.model_copy(update=change)]
    made = made.model_copy(update={"jobs": min(made.jobs, runs)})
    gpus = int(os.environ.get("SLURM_GPUS_ON_NODE", 0)) if made.device == "auto" else 0
    return shares(made, [f"cuda:{i}" for i in range(min(gpus, made.jobs))], cores or len(os.sched_getaffinity(0)))


def _summary(outcome: Outcome, runs: list[str]) -> str:
    lost = [run for run in runs if run in outcome.failed]
    if lost:
        raise Unfinished(f"{len(lost)} of {count(len(runs), 'run')} failed: {', '.join(lost)}")
    return f"{len(outcome.trained)} trained, {len(outcome.blocked)} blocked"


def given_up(plan: Plan, store: Store, own: list[str], known: queue.Queue) -> dict[str, str]:
    """The runs that this job must not try, with the reason: those that failed, or whose job was taken away.

    A failure here is one since the submission, which clears older ones. A run that is not there for another reason (its
    node died and the job did not come back, say) is trained by whoever needs it.
    """
    jobs = Ledger(store).jobs(known)
    out = {}
    for run_id in plan.runs:
        state = store.run(run_id).state()
        job = known.job(jobs.get(run_id, ""))
        if state.status == "failed":
            out[run_id] = f"{state.kind}: {state.message}"
        elif state.status != "done" and run_id not in own and job.standing == "ended" and job.detail in queue.GIVEN_UP:
            out[run_id] = f"its job {job.id} ended {job.detail}"
    return out


@contextmanager
def listening() -> Iterator[list[int]]:
    """Within the block, signals that announce the end are written down; a run checkpoints at its next step.

    They replace Submitit's handlers, which would checkpoint in the middle of a step, count every early end as used-up
    patience, and take any signal in a short job for its limit.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in (LIMIT, signal.SIGTERM, signal.SIGINT)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(job: str, heard: list[int], steps: int) -> None:
    """After a checkpoint: back into the queue if the time was up; else SLURM knows what it wants with the job.

    Args:
        steps: how many this process has made; a job that gets nowhere is not begun for ever.
    """
    again = steps > 0 or int(os.environ.get("SLURM_RESTART_COUNT", 0)) < RESTARTS
    if LIMIT in heard and signal.SIGTERM not in heard and again:
        print(f"The time is nearly up: all is checkpointed, job {job} goes back into the queue.", flush=True)
        _requeue(job, lambda: signal.SIGTERM in heard)
    else:
        print("Stopped with a checkpoint; nothing is lost.", flush=True)
    raise SystemExit(1)  # no result: Submitit writes none, and the queue does not call the job COMPLETED


class _Counting(ProgressLines):
    """Prints progress lines to the job's log and counts the steps."""

    steps = 0

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        super().stepped(run_id, step, loss, score)
        self.steps += 1


def _requeue(job: str, is_ending: Callable[[], bool]) -> None:
    """Ask for it until SLURM ends this process; the controller may be away for a moment."""
    end = time.monotonic() + END_SECONDS
    while not is_ending() and time.monotonic() < end:
        try:
            queue.call("scontrol", "requeue", job)
        except queue.SlurmError as error:
            print(f"It could not be put back yet ({error}).", flush=True)
        for _ in range(ASK_SECONDS * 10):
            if is_ending():
                return
            time.sleep(0.1)
