"""The results folder: one folder for each run, one file for each sweep. It holds data, never code."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from kdbench.core.atomic_files import remove_leftovers, write_json
from kdbench.core.errors import NotPermitted, RunFailure, UserError, unknown
from kdbench.core.records import Cost, Environment, Result, not_permitted, read_record, warn_once
from kdbench.core.spec import RunSpec
from kdbench.results.archive.format import is_collected
from kdbench.results.archive.read import unpack_study
from kdbench.results.checksums import CHECKSUMS, find_damage, write_checksums
from kdbench.results.run_lock import RunLock

FORMAT = 1
JOB = "KDBENCH_JOB"  # the environment variable in which an executor says which job of a queue this process is
CHECKED_FILES = ("result.json", "cost.json", "predictions.safetensors", "series.jsonl", "model", "snapshots")
T = TypeVar("T")
RunStatus = Literal["pending", "running", "interrupted", "failed", "done"]


class RunState(BaseModel):
    """The state of a run. Only `status` decides anything; the rest is for display."""

    model_config = ConfigDict(extra="ignore")

    status: RunStatus = "pending"
    step: int = 0
    total: int = 0
    first_step: int = 0  # where the present process began
    micro_batch: int = 0  # rows in memory at once; 0 is the whole batch
    loss: float | None = None
    score: float | None = None
    kind: str = ""  # of a failure
    message: str = ""
    started: float = 0.0
    updated: float = 0.0
    host: str = ""
    pid: int = 0
    job: str = ""  # of a cluster's queue


class RunFolder:
    """The folder of one run.

    During and after training: spec.json, state.json, environment.json, log.txt, series.jsonl. When the run is done:
    result.json, cost.json, predictions.safetensors and model/. Until then: checkpoint.safetensors and best.safetensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.series = path / "series.jsonl"
        self.checkpoint = path / "checkpoint.safetensors"
        self.best = path / "best.safetensors"
        self.log = path / "log.txt"
        self.model = path / "model"
        self.predictions = path / "predictions.safetensors"

    @cached_property
    def spec(self) -> RunSpec:
        """Return the stored spec.

        Raises:
            NotPermitted: it may not be read.
            UserError: it is damaged.
        """
        try:
            return read_record(self.path / "spec.json", RunSpec)
        except NotPermitted:
            raise
        except (UserError, OSError):
            raise UserError(f"{self.path}/spec.json is not a run of this version; delete the folder.") from None

    def begin(self, spec: RunSpec, environment: dict[str, Any]) -> None:
        """Write spec and environment of a run that starts or resumes, and delete files of earlier attempts.

        A run that resumes with other versions, or on another machine, keeps the environments of its earlier steps.
        """
        before: dict[str, Any] = {**self.environment()} if self.checkpoint.exists() else {}
        earlier = [there for there in (*before.pop("earlier", []), before) if there and there != environment]
        write_json(self.path / "spec.json", spec.model_dump(mode="json"))
        write_json(self.path / "environment.json", environment | ({"earlier": earlier} if earlier else {}))
        if find_damage(self.path, "result.json"):  # nothing to compare the next result with
            (self.path / "result.json").unlink(missing_ok=True)
        for name in ("error.txt", "deployment.json", CHECKSUMS):
            (self.path / name).unlink(missing_ok=True)
        remove_leftovers(self.path)

    def snapshots_with(self, wanted: tuple[float, ...]) -> tuple[float, ...]:
        """Return `wanted` and the snapshots that were asked for when the run began, sorted."""
        before = self.spec.snapshots if (self.path / "spec.json").exists() else ()
        return tuple(sorted({*before, *wanted}))

    @property
    def way_out(self) -> str:
        """Say how to train the run anew where a file of it is of no use."""
        return f"delete the folder {self.path} and repeat the command that made it (kdbench show {self.id})."

    def state(self) -> RunState:
        """Return the stored state; a running state without a lock holder becomes interrupted.

        A state that may not be read counts as a failure of kind "permission"; a damaged or missing one as pending.
        """
        try:
            state = read_record(self.path / "state.json", RunState)
        except NotPermitted as error:
            return RunState(status="failed", kind="permission", message=str(error))
        except (OSError, UserError):
            return RunState()
        if state.status == "running" and not self.lock().is_held():
            state.status = "interrupted"
        return state

    def set_state(self, status: RunStatus, **values: Any) -> None:
        """Write the state with time, host, process and job; without a `micro_batch`, the stored one is kept."""
        if "micro_batch" not in values:
            with suppress(NotPermitted):
                before = self._read("state.json", RunState)
                values["micro_batch"] = before.micro_batch if before else 0
        here = {"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get(JOB, "")}
        state = RunState(status=status, updated=time.time(), **here, **values)
        write_json(self.path / "state.json", state.model_dump(mode="json"))

    def is_done(self, snapshots: tuple[float, ...] = ()) -> bool:
        """Return whether all files of the finished run have their sizes, and the needed snapshots exist."""
        try:
            return self.state().status == "done" and not self.missing(snapshots)
        except NotPermitted:  # `check_access` says so, before anything is written
            return False

    def missing(self, snapshots: tuple[float, ...] = ()) -> str:
        """Say what a finished run lacks; "" where nothing is missing. Reads result.json, names and sizes only."""
        if not self.has_result():
            return "result.json is missing or damaged"
        if not (self.model / "config.json").is_file():
            return "model/ is missing"
        if lost := [share for share in snapshots if not self.snapshot(share).is_dir()]:
            return f"the snapshot at {lost[0]:.0%} of the training is missing"
        return find_damage(self.path, sizes_only=True)

    def write_checksums(self) -> None:
        """Write the checksums of a finished run; call it when all other files are written."""
        write_checksums(self.path, CHECKED_FILES)

    def damage(self, part: Path | None = None) -> str:
        """Say which file of the run (or of one file or folder in it) is not as written; "" where all are."""
        return find_damage(self.path, "" if part is None else part.relative_to(self.path).as_posix())

    def mark_damaged(self, problem: str) -> None:
        """Turn a finished run into a failed one, so that the same command trains it again."""
        with suppress(OSError):  # of somebody else: its owner has to
            self.set_state("failed", kind="damaged", message=f"{problem}.")

    def check_access(self) -> None:
        """Check that this process may read every file, before it writes any.

        Raises:
            RunFailure: a file belongs to somebody else and is not shared.
        """
        for path in (self.path, *(self.path.iterdir() if os.access(self.path, os.R_OK) else ())):
            if path.exists() and not os.access(path, os.R_OK):
                raise RunFailure("permission", str(not_permitted(path)))

    def snapshot(self, share: float) -> Path:
        """Return the folder of the student at `share` of the training."""
        return self.path / "snapshots" / f"{share:.4f}"

    def has_result(self) -> bool:
        """Return whether result.json exists and is whole."""
        return self.result() is not None

    def _read(self, name: str, kind: type[T]) -> T | None:
        """Read a record; None where it is lost or damaged.

        Raises:
            NotPermitted: it may not be read.
        """
        try:
            return read_record(self.path / name, kind)
        except NotPermitted:
            raise
        except (OSError, UserError):
            return None

    def result(self) -> Result | None:
        """Return the scores; None where they are lost or damaged.

        Raises:
            NotPermitted: they may not be read.
        """
        return None if find_damage(self.path, "result.json") else self._read("result.json", Result)

    def cost(self) -> Cost | dict[str, Any]:
        """Return the cost; {} where it is lost or damaged.

        Raises:
            NotPermitted: it may not be read.
        """
        return self._read("cost.json", Cost) or {}

    def environment(self) -> Environment:
        """Return machine and versions; {} where they are lost or damaged.

        Raises:
            NotPermitted: they may not be read.
        """
        return self._read("environment.json", Environment) or {}

    def forget_earlier(self) -> None:
        """Forget the environments of earlier steps, because the run starts anew."""
        environment = dict(self.environment())
        if environment.pop("earlier", None):
            write_json(self.path / "environment.json", environment)

    def lock(self) -> RunLock:
        """Return the lock that the training process holds."""
        return RunLock(self.path)

    def reset_failure(self) -> RunState | None:
        """Forget a failure, so that the run is trained again, and return its state; None where there was none."""
        state = self.state()
        if state.status != "failed":
            return None
        self.set_state("pending")
        return state

    def restore_failure(self, state: RunState) -> None:
        """Undo `reset_failure`."""
        write_json(self.path / "state.json", state.model_dump(mode="json"))

    def note(self, text: str) -> None:
        """Append a line to the run's log with time, host and process."""
        when = time.strftime("%Y-%m-%d %H:%M:%S%z")
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{when} {socket.gethostname()} {os.getpid()}: {text}\n")


class Store:
    """A results folder, or a collected study, which is read like one.

    Args:
        root: the folder; created if `create` is set.

    Raises:
        UserError: the folder has another format, is damaged, or is a file.
    """

    def __init__(self, root: Path, *, create: bool = True) -> None:
        if root.exists() and not root.is_dir():
            raise UserError(f"The results folder {root} is a file; give another with --results DIR.")
        self.root = root
        marker = root / "store.json"
        self.is_collected = is_collected(root) and not marker.exists()
        files = unpack_study(root) if self.is_collected else root
        self.runs_folder, self.sweeps_folder, self.cache = files / "runs", files / "sweeps", files / "cache"
        self.submissions_folder = files / "submissions"
        if marker.exists():
            self._check_format(marker)
        elif create:
            self.begin()

    def _check_format(self, marker: Path) -> None:
        """Refuse another format. A damaged marker only gives a warning, because runs are valid without it."""
        try:
            version = read_record(marker, dict[str, Any]).get("format")
        except NotPermitted:
            raise
        except UserError as error:
            warn_once(str(error))
            return
        if version != FORMAT:
            raise UserError(
                f"The results folder {self.root} has format {version}, this kdbench reads format {FORMAT}; "
                f"give another folder with --results DIR."
            )

    def check_raw(self) -> None:
        """Refuse a collected study.

        Raises:
            UserError: it is one.
        """
        if self.is_collected:
            raise UserError(
                f"{self.root} is a collected study, which is only read and has no networks, logs or jobs; give the "
                "results folder of the runs themselves with --results DIR."
            )

    def begin(self) -> None:
        """Create the folder, if it does not exist.

        Raises:
            UserError: it is a collected study.
        """
        self.check_raw()
        if not (self.root / "store.json").exists():
            write_json(self.root / "store.json", {"format": FORMAT})

    def check_writable(self) -> None:
        """Raise a UserError where no file can be written to the folder, or to the nearest one above it that exists."""
        place = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        if not os.access(place, os.W_OK | os.X_OK):
            raise UserError(
                f"{place} is not writable (permissions, or a read-only disk); give another folder with --results DIR."
            )

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run, begun or not."""
        return RunFolder(self.runs_folder / run_id)

    def runs(self) -> Iterator[RunFolder]:
        """Yield all runs that were begun, by name."""
        if self.runs_folder.is_dir():
            for path in sorted(self.runs_folder.iterdir()):
                if (path / "spec.json").exists():
                    yield RunFolder(path)

    def find(self, text: str) -> RunFolder:
        """Return the one run whose name contains `text`.

        Raises:
            UserError: no run, or several runs, have it in their names.
        """
        names = [run.id for run in self.runs()]
        found = [text] if text in names else [name for name in names if text in name]
        if len(found) == 1:
            return self.run(found[0])
        if found:
            raise UserError(
                f"'{text}' could be {', '.join(found[:8])}{' ...' * (len(found) > 8)}; give more of the name."
            )
        raise unknown("run", text, names[:12])

    def add_sweep(self, sweep_id: str, sweep: dict[str, Any]) -> None:
        """Write a sweep; the same sweep is replaced."""
        write_json(self.sweeps_folder / f"{sweep_id}.json", sweep)
