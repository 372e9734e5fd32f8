"""Records of submissions: a file and a folder for each array in `slurm/` of the results folder, made before sbatch."""

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
    """An array of jobs. `job` is "" from just before until just after sbatch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str  # of the folder, and the jobs' comment
    sweep: str
    created: float
    tasks: tuple[JobRuns, ...]
    job: str = ""

    def job_of(self, place: int, job: str) -> str:
        """Return the id of the job at a place of the array."""
        return f"{job}_{place}" if len(self.tasks) > 1 else job

    def jobs(self, job: str) -> dict[str, str]:
        """Return run -> id of its job, if `job` is the array's id."""
        return {run: self.job_of(i, job) for i, task in enumerate(self.tasks) for run in task}


class Ledger:
    """All arrays that were ever submitted for a results folder."""

    def __init__(self, store: Store) -> None:
        self._root = store.root / "slurm"

    def folder(self, record: ArrayRecord) -> Path:
        """Return the folder of Submitit's files for an array.

        Nobody else may write there, because Submitit runs these files as code.
        """
        return self._root / record.name

    @contextmanager
    def submitting(self) -> Iterator[None]:
        """Prevent other commands from submitting runs of this results folder within the block.

        Raises:
            UserError: another command has been submitting for `WAIT` seconds.
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
        """Create record and folder of an array that is about to be submitted."""
        record = ArrayRecord(name=f"{sweep}-{uuid.uuid4().hex[:12]}", sweep=sweep, created=time.time(), tasks=tasks)
        self._make_root()
        self.folder(record).mkdir(mode=0o700)
        return self.write(record)

    def write(self, record: ArrayRecord) -> ArrayRecord:
        """Write a record, readable for everybody who shares the results folder."""
        write_json(self._root / f"{record.name}.json", record.model_dump(mode="json"))
        return record

    def records(self) -> Iterator[ArrayRecord]:
        """Yield the records, oldest first; a damaged one is named on standard error and left out."""
        yield from sorted(read_records(self._root, ArrayRecord), key=lambda record: record.created)

    def jobs(self, queue: Queue) -> dict[str, str]:
        """Return run -> id of the job that was last submitted for it.

        A submission that was interrupted before it learnt its id is found by its comment. A job with this id but
        another comment is a different job, for instance of a cluster that was set up anew.
        """
        out: dict[str, str] = {}
        for record in self.records():
            job = record.job or queue.by_comment.get(record.name, "")
            if job:
                out |= {run: i for run, i in record.jobs(job).items() if queue.is_of(i, record.name)}
        return out

    def log(self, run_id: str) -> list[Path]:
        """Return the output files of the jobs that trained a run, oldest first."""
        out = []
        for record in self.records():
            place = next((i for i, task in enumerate(record.tasks) if run_id in task), None)
            if place is not None:
                name = f"{record.job_of(place, record.job)}_0_log.out"
                out += sorted(self.folder(record).glob(name if record.job else "*_log.out"))
        return out
