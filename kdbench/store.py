"""The results folder: one folder a run, one file a sweep. Data, never code."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.collected.form import is_collected
from kdbench.collected.unpack import unpack
from kdbench.errors import UserError, unknown
from kdbench.files import read_json, remove_leftovers, write_json
from kdbench.lock import RunLock
from kdbench.spec import RunSpec

FORMAT = 1
JOB = "KDBENCH_JOB"  # the environment variable in which an executor says which job of a queue this process is
CHECKPOINT = {"step", "selection", "report"}  # what result.json says of each
Status = Literal["pending", "running", "interrupted", "failed", "done"]


class State(BaseModel):
    """How a run stands. Only `status` is ever decided upon; the rest is for people."""

    model_config = ConfigDict(extra="ignore")

    status: Status = "pending"
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
            UserError: it is damaged.
        """
        try:
            return RunSpec.model_validate(read_json(self.path / "spec.json"))
        except (ValidationError, OSError):
            raise UserError(f"{self.path}/spec.json is not a run of this version; delete the folder.") from None

    def begin(self, spec: RunSpec, environment: dict[str, Any]) -> None:
        write_json(self.path / "spec.json", spec.model_dump(mode="json"))
        write_json(self.path / "environment.json", environment)
        (self.path / "error.txt").unlink(missing_ok=True)  # of an earlier try
        remove_leftovers(self.path)

    def snapshots_with(self, wanted: tuple[float, ...]) -> tuple[float, ...]:
        """`wanted` and what was asked for when the run began, sorted."""
        before = self.spec.snapshots if (self.path / "spec.json").exists() else ()
        return tuple(sorted({*before, *wanted}))

    def state(self) -> State:
        """The stored state; a run that says it is running but that nobody holds is interrupted."""
        try:
            state = State.model_validate_json((self.path / "state.json").read_bytes())
        except (OSError, ValidationError):
            return State()
        if state.status == "running" and not self.lock().is_held():
            state.status = "interrupted"
        return state

    def set_state(self, status: Status, **values: Any) -> None:
        here = {"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get(JOB, "")}
        state = State(status=status, updated=time.time(), **here, **values)
        write_json(self.path / "state.json", state.model_dump(mode="json"))

    def is_done(self, snapshots: tuple[float, ...] = ()) -> bool:
        """Whether the result is there, and the snapshots that somebody needs."""
        return (
            self.state().status == "done"
            and self.has_result()
            and all(self.snapshot(share).is_dir() for share in snapshots)
        )

    def snapshot(self, share: float) -> Path:
        """Where the student at `share` of the training is kept."""
        return self.path / "snapshots" / f"{share:.4f}"

    def has_result(self) -> bool:
        """Whether result.json is there and whole."""
        return self.result() is not None

    def _read(self, name: str) -> dict[str, Any]:
        """What a file holds; nothing where it is lost or damaged."""
        try:
            found = read_json(self.path / name)
        except (OSError, UserError):
            return {}
        return found if isinstance(found, dict) else {}

    def result(self) -> dict[str, Any] | None:
        """None where it is lost or damaged."""
        found = self._read("result.json")
        parts = (found.get(name) for name in ("best", "last"))
        return found if all(isinstance(part, dict) and part.keys() >= CHECKPOINT for part in parts) else None

    def cost(self) -> dict[str, Any]:
        """Empty where it is lost or damaged."""
        return self._read("cost.json")

    def environment(self) -> dict[str, Any]:
        """Empty where it is lost or damaged."""
        return self._read("environment.json")

    def lock(self) -> RunLock:
        """Held by the process that trains the run."""
        return RunLock(self.path)

    def forgive(self) -> State | None:
        """Forget a failure, so that the run is tried again; returns it."""
        state = self.state()
        if state.status != "failed":
            return None
        self.set_state("pending", micro_batch=state.micro_batch)
        return state

    def put_back(self, state: State) -> None:
        """Undo `forgive`."""
        write_json(self.path / "state.json", state.model_dump(mode="json"))

    def note(self, text: str) -> None:
        """Add a line to the run's log: when, where, what."""
        when = time.strftime("%Y-%m-%d %H:%M:%S%z")
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{when} {socket.gethostname()} {os.getpid()}: {text}\n")


def _moment(text: str) -> float:
    """A stored time as one that can be compared across time zones; 0 for anything else."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return 0.0


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
        files = unpack(root) if self.is_collected else root
        self.runs_folder, self.sweeps_folder, self.cache = files / "runs", files / "sweeps", files / "cache"
        self.submissions_folder = files / "submissions"
        if marker.exists():
            found = read_json(marker)
            version = found.get("format") if isinstance(found, dict) else None
            if version != FORMAT:
                raise UserError(
                    f"The results folder {root} has format {version}, this kdbench reads format {FORMAT}; "
                    f"give another folder with --results DIR."
                )
        elif create:
            self.begin()

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

    def sweeps(self) -> list[dict[str, Any]]:
        """What was asked for, oldest first."""
        files = sorted(self.sweeps_folder.glob("*.json")) if self.sweeps_folder.is_dir() else []
        return sorted((read_json(file) for file in files), key=lambda sweep: _moment(str(sweep["created"])))

    def add_sweep(self, sweep_id: str, sweep: dict[str, Any]) -> None:
        """Remember what was asked for; asking again for the same replaces it."""
        write_json(self.sweeps_folder / f"{sweep_id}.json", sweep)
