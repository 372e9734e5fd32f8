"""The results folder: one folder a run, one file a sweep. Data, never code."""

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
LEFT_BEHIND = ("result.json", "cost.json", "predictions.safetensors", "series.jsonl", "model", "snapshots")
T = TypeVar("T")
RunStatus = Literal["pending", "running", "interrupted", "failed", "done"]


class RunState(BaseModel):
    """How a run stands. Only `status` is ever decided upon; the rest is for people."""

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
    """Everything that one run leaves behind.

    spec.json, state.json, environment.json, log.txt, series.jsonl while and after it trains; result.json, cost.json,
    predictions.safetensors and model/ when it is done; checkpoint.safetensors and best.safetensors until then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @property
    def series(self) -> Path:
        return self.path / "series.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.safetensors"

    @cached_property
    def spec(self) -> RunSpec:
        """The spec as stored.

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
        write_json(self.path / "spec.json", spec.model_dump(mode="json"))
        write_json(self.path / "environment.json", environment)
        for name in ("error.txt", CHECKSUMS):  # of an earlier try
            (self.path / name).unlink(missing_ok=True)
        remove_leftovers(self.path)

    def snapshots_with(self, wanted: tuple[float, ...]) -> tuple[float, ...]:
        """`wanted` and what was asked for when the run began, sorted."""
        before = self.spec.snapshots if (self.path / "spec.json").exists() else ()
        return tuple(sorted({*before, *wanted}))

    def state(self) -> RunState:
        """The stored state; a run that says it is running but that nobody holds is interrupted.

        A state that may not be read is a failure of kind "permission", one that is damaged or absent is pending.
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
        here = {"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get(JOB, "")}
        state = RunState(status=status, updated=time.time(), **here, **values)
        write_json(self.path / "state.json", state.model_dump(mode="json"))

    def is_done(self, snapshots: tuple[float, ...] = ()) -> bool:
        """Whether all that the run leaves is there, no shorter than it was, and the snapshots that somebody needs."""
        try:
            return self.state().status == "done" and not self.missing(snapshots)
        except NotPermitted:  # `check_access` says so, before anything is written
            return False

    def missing(self, snapshots: tuple[float, ...] = ()) -> str:
        """Say what a run that says it is done lacks; "" where nothing is missing. Reads names and sizes only."""
        if not self.has_result():
            return "result.json is missing or damaged"
        if not (self.model / "config.json").is_file():
            return "model/ is missing"
        if lost := [share for share in snapshots if not self.snapshot(share).is_dir()]:
            return f"the snapshot at {lost[0]:.0%} of the training is missing"
        return find_damage(self.path, sizes_only=True)

    def write_checksums(self) -> None:
        """Remember what is left behind; called last, when all of it is written."""
        write_checksums(self.path, LEFT_BEHIND)

    def damage(self, part: Path | None = None) -> str:
        """Say which file of the run, or of one file or folder in it, is not what was written; "" where none is."""
        return find_damage(self.path, "" if part is None else part.relative_to(self.path).as_posix())

    def mark_damaged(self, problem: str) -> None:
        """Make a run that is done one that failed, so that the same command trains it again."""
        with suppress(OSError):  # of somebody else: its owner has to
            self.set_state("failed", kind="damaged", message=f"{problem}.")

    def check_access(self) -> None:
        """Look whether a process may read what is there, before it writes anything.

        Raises:
            RunFailure: a file belongs to somebody else and is not shared.
        """
        for path in (self.path, *(self.path.iterdir() if os.access(self.path, os.R_OK) else ())):
            if path.exists() and not os.access(path, os.R_OK):
                raise RunFailure("permission", str(not_permitted(path)))

    def snapshot(self, share: float) -> Path:
        """Where the student at `share` of the training is kept."""
        return self.path / "snapshots" / f"{share:.4f}"

    def has_result(self) -> bool:
        """Whether result.json is there and whole."""
        return self.result() is not None

    def _read(self, name: str, kind: type[T]) -> T | None:
        """What a file holds; None where it is lost or damaged.

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
        """The scores; None where they are lost or damaged.

        Raises:
            NotPermitted: they may not be read.
        """
        return None if find_damage(self.path, "result.json") else self._read("result.json", Result)

    def cost(self) -> Cost | dict[str, Any]:
        """Empty where it is lost or damaged."""
        return self._read("cost.json", Cost) or {}

    def environment(self) -> Environment:
        """Empty where it is lost or damaged."""
        return self._read("environment.json", Environment) or {}

    def lock(self) -> RunLock:
        """Held by the process that trains the run."""
        return RunLock(self.path)

    def reset_failure(self) -> RunState | None:
        """Forget a failure, so that the run is tried again; returns it."""
        state = self.state()
        if state.status != "failed":
            return None
        self.set_state("pending", micro_batch=state.micro_batch)
        return state

    def restore_failure(self, state: RunState) -> None:
        """Undo `reset_failure`."""
        write_json(self.path / "state.json", state.model_dump(mode="json"))

    def note(self, text: str) -> None:
        """Add a line to the run's log: when, where, what."""
        when = time.strftime("%Y-%m-%d %H:%M:%S%z")
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{when} {socket.gethostname()} {os.getpid()}: {text}\n")


class Store:
    """A results folder, or a collected study, which is read like one.

    Args:
        root: the folder; made when `create` and absent.

    Raises:
        UserError: it was written by a version that this one does not understand, it is damaged, or it is a file.
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
        """Refuse another version; a damaged marker costs nothing but a warning, for the runs are whole without it."""
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
        """Raises UserError: it is a collected study."""
        if self.is_collected:
            raise UserError(
                f"{self.root} is a collected study, which is only read and has no networks, logs or jobs; give the "
                "results folder of the runs themselves with --results DIR."
            )

    def begin(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            UserError: it is a collected study.
        """
        self.check_raw()
        if not (self.root / "store.json").exists():
            write_json(self.root / "store.json", {"format": FORMAT})

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.runs_folder / run_id)

    def runs(self) -> Iterator[RunFolder]:
        """All runs, by name."""
        if self.runs_folder.is_dir():
            for path in sorted(self.runs_folder.iterdir()):
                if (path / "spec.json").exists():
                    yield RunFolder(path)

    def find(self, text: str) -> RunFolder:
        """The one run whose name contains `text`.

        Raises:
            UserError: none or several do.
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
        """Remember what was asked for; asking again for the same replaces it."""
        write_json(self.sweeps_folder / f"{sweep_id}.json", sweep)
