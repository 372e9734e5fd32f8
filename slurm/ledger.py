"""What was submitted: a file and a folder an array in `slurm/` of the results folder, made before sbatch is called."""

from __future__ import annotations

import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from kdbench.core.atomic_files import write_json
from kdbench.core.errors import UserError
from kdbench.core.records import read_records
from kdbench.results.store import Store
from kdbench.slurm.arrays import JobRuns
from kdbench.slurm.queue import Queue

WAIT = 600.0  # seconds for another command that submits


class ArrayRecord(BaseModel):
    """An array of jobs. `job` is "" from just before sbatch until just after it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str  # of the folder, and the jobs' comment
    sweep: str
    created: float
    tasks: tuple[JobRuns, ...]
    job: str = ""

    def job_of(self, place: int, job: str) -> str:
        return f"{job}_{place}" if len(self.tasks) > 1 else job

    def jobs(self, job: str) -> dict[str, str]:
        """Run -> id of the job that carries it, when the array's id is `job`."""
        return {run: self.job_of(i, job) for i, task in enumerate(self.tasks) for run in task}


class Ledger:
    """All arrays that were ever submitted for a results folder."""

    def __init__(self, store: Store) -> None:
        self._root = store.root / "slurm"

    def folder(self, record: ArrayRecord) -> Path:
        """Where Submitit keeps the array's files; nobody else may write there, because they are code to it."""
        return self._root / record.name

    @contextmanager
    def submitting(self) -> Iterator[None]:
        """Within the block no other command submits runs of this results folder.

        Raises:
            UserError: another one has been at it for too long.
        """
        self._make_root()
        try:
            with FileLock(self._root / "submit.lock", timeout=WAIT):
                yield
        except Timeout:
            raise UserError(
                f"Another command has been submitting runs of {self._root.parent} for {WAIT:.0f} s; "
                "wait for it, or stop it, and repeat this one."
            ) from None

    def _make_root(self) -> None:
        if not self._root.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            self._root.chmod(self._root.stat().st_mode | stat.S_ISVTX)  # nobody puts a folder in another's place

    def open(self, sweep: str, tasks: tuple[JobRuns, ...]) -> ArrayRecord:
        record = ArrayRecord(name=f"{sweep}-{uuid.uuid4().hex[:12]}", sweep=sweep, created=time.time(), tasks=tasks)
        self._make_root()
        self.folder(record).mkdir(mode=0o700)
        return self.write(record)

    def write(self, record: ArrayRecord) -> ArrayRecord:
        """Also for others to read, who share the results folder."""
        write_json(self._root / f"{record.name}.json", record.model_dump(mode="json"))
        return record

    def records(self) -> Iterator[ArrayRecord]:
        """Oldest first; what is damaged is named on standard error and left out."""
        yield from sorted(read_records(self._root, ArrayRecord), key=lambda record: record.created)

    def jobs(self, queue: Queue) -> dict[str, str]:
        """Run -> id of the job that was last submitted for it.

        A submission that was interrupted before it learnt its id is found by its comment; a job with the id but not the
        comment is another one (of a cluster that was set up anew, say).
        """
        out: dict[str, str] = {}
        for record in self.records():
            job = record.job or queue.by_comment.get(record.name, "")
            if job:
                out |= {run: i for run, i in record.jobs(job).items() if queue.is_of(i, record.name)}
        return out

    def log(self, run_id: str) -> list[Path]:
        """What the jobs that carried a run have printed, oldest first."""
        out = []
        for record in self.records():
            place = next((i for i, task in enumerate(record.tasks) if run_id in task), None)
            if place is not None:
                name = f"{record.job_of(place, record.job)}_0_log.out"
                out += sorted(self.folder(record).glob(name if record.job else "*_log.out"))
        return out
