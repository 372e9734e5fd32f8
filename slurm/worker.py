"""The function that runs in a job. It gets names only; everything else is in the results folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from kdbench.core.atomic_files import write_text
from kdbench.core.console import make_console
from kdbench.core.environment import core_count
from kdbench.core.formatting import count
from kdbench.core.settings import Execution, Recording
from kdbench.planning.executor import ExecutionRequest
from kdbench.planning.plan import Plan
from kdbench.results.store import JOB, Store
from kdbench.slurm import queue
from kdbench.slurm.arrays import JobRuns
from kdbench.slurm.ledger import Ledger
from kdbench.training.executors import sweep_record
from kdbench.training.executors.local import report, shares
from kdbench.training.executors.process_pool import run_pool
from kdbench.training.executors.progress_bars import ProgressLines
from kdbench.training.executors.serial import run_all

LIMIT = signal.SIGUSR2  # SLURM sends it some time before the limit of a job
RESTARTS = 3  # without a step being made in between
END_SECONDS = 60  # in which SLURM ends a job that it has put back into the queue
ASK_SECONDS = 10

Call = tuple[str, str, list[str], dict[str, Any], dict[str, Any]]


class Unfinished(Exception):
    """Raised when runs of this job failed, so that the queue calls the job FAILED."""


def job_arguments(request: ExecutionRequest, tasks: tuple[JobRuns, ...], at_once: int) -> list[Call]:
    """Return the arguments of `train_runs` for each job of an array, as plain values, so that no object is pickled."""
    execution = request.execution.model_dump(mode="json") | {"jobs": at_once}
    recording = request.recording.model_dump(mode="json")
    root = str(request.store.root.resolve())
    return [(root, request.sweep, list(task), execution, recording) for task in tasks]


def train_runs(root: str, sweep: str, runs: list[str], execution: dict[str, Any], recording: dict[str, Any]) -> str:
    """Train runs of a sweep, `jobs` at once; first those that they need and that nobody has trained.

    Returns:
        a summary in one line.

    Raises:
        Unfinished: a run failed.
    """
    # the stored plan of the sweep, with these runs and what they need
    array, place = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = os.environ[JOB] = f"{array}_{place}" if array else os.environ["SLURM_JOB_ID"]
    store = Store(Path(root))
    plan = sweep_record.stored_plan(store, sweep).only(runs)
    console = make_console(width=200)
    # train until done, or until a signal announces the end
    with listen_for_signals() as heard, _Counting(plan, console) as board:
        settled = runs_to_skip(plan, store, runs, queue.ask_queue())
        own, asked = _shares(execution, len(plan.runs)), lambda: bool(heard)
        how = Recording.model_validate(recording)
        if len(own) > 1:
            outcome = run_pool(plan, store, own, how, board, asked, settled)
        else:
            outcome = run_all(plan, store, own[0], how, board, asked, settled)
        if outcome.stopped:
            _leave(store, job, heard, board.steps)
    report(outcome, console)
    lost = [run for run in runs if run in outcome.failed]
    if lost:
        raise Unfinished(f"{len(lost)} of {count(len(runs), 'run')} failed: {', '.join(lost)}")
    return f"{len(outcome.trained)} trained, {len(outcome.blocked)} blocked"


def _shares(execution: dict[str, Any], runs: int) -> list[Execution]:
    """Return the settings of each parallel run.

    The runs take the job's GPUs in turn, and share its cores as threads unless the user set a number.
    """
    made, cores = Execution.model_validate(execution), int(os.environ.get("SLURM_CPUS_PER_TASK", 0))
    if made.jobs == 1 or runs == 1:
        change = {"jobs": 1, "threads": made.threads or cores}
        return [made.model_copy(update=change)]
    made = made.model_copy(update={"jobs": min(made.jobs, runs)})
    gpus = int(os.environ.get("SLURM_GPUS_ON_NODE", 0)) if made.device == "auto" else 0
    return shares(made, [f"cuda:{i}" for i in range(min(gpus, made.jobs))], cores or core_count())


def runs_to_skip(plan: Plan, store: Store, own: list[str], known: queue.Queue) -> dict[str, str]:
    """Return the runs that this job must not train, with reasons: they failed, or their job was cancelled or failed.

    A failure here happened after the submission, which clears older failures. A run that is missing for another reason,
    such as a node that died, is trained by the job that needs it.
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
def listen_for_signals() -> Iterator[list[int]]:
    """Record signals that announce the end of the job within the block; a run checkpoints at its next step.

    They replace Submitit's handlers, which would checkpoint in the middle of a step, count every early end against the
    number of retries, and take any signal in a short job for the time limit.
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


def _leave(store: Store, job: str, heard: list[int], steps: int) -> None:
    """End the process after a checkpoint, and requeue the job if its time limit was reached.

    Args:
        steps: made by this process; a job that makes none is not requeued for ever.
    """
    # SLURM counts all restarts of a job, so that the last one that made a step is written down
    restarts, file = int(os.environ.get("SLURM_RESTART_COUNT", 0)), store.root / "slurm" / f"{job}.stepped"
    last = restarts if steps else 0
    with suppress(OSError):  # a full disk must not keep the job out of the queue
        if steps:
            write_text(file, str(restarts))
        elif restarts:
            last = int(file.read_text())
        else:  # of another job of this number, on a cluster that was set up anew
            file.unlink(missing_ok=True)
    if LIMIT in heard and signal.SIGTERM not in heard and restarts - last < RESTARTS:
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
    """Ask SLURM to requeue the job until it ends this process; the controller may be unreachable for a moment."""
    end = time.monotonic() + END_SECONDS
    while not is_ending() and time.monotonic() < end:
        try:
            queue.call_slurm("scontrol", "requeue", job)
        except queue.SlurmError as error:
            print(f"It could not be put back yet ({error}).", flush=True)
        for _ in range(ASK_SECONDS * 10):
            if is_ending():
                return
            time.sleep(0.1)
