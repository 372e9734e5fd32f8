"""Specifications of runs, complete before a run starts, with the references to networks and data in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from kdbench.core.options import omitted_values
from kdbench.core.plugin_files import PluginFile
from kdbench.core.settings import Training

Source = Literal["generated", "glue-dir", "hub", "files"]
IDENTITY_VERSION = 1
RUN_NAME = r"^\w[\w.-]*$"  # a folder's or file's name, no path
Name = Annotated[str, StringConstraints(pattern=RUN_NAME)]
FOLDER = "folder/"  # begins the fingerprint of a network in a folder
OUTPUTS = "outputs/"  # begins the fingerprint of a file with a teacher's outputs
HUB = "hub/"  # begins the fingerprint of a network of the hub, which says nothing about its content
SAVED = "run/"  # begins the fingerprint of the student that a run saved
UNKNOWN_PATH = "PATH/TO/"
# fields with another form in the identity, or not in it
OTHERWISE = {"snapshots", "teacher_training", "declaration", "training", "data", "student", "teacher", "method_file"}
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True)
class DataLocation:
    """Location of a task's examples: generated, a folder in the classic GLUE layout, the hub, or a task's own files."""

    source: Source
    path: Path | None = None


class ModelRef(BaseModel):
    """A reference to an initial network: the user's name for it, and a fingerprint of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # `tiny-4x64`, `minilm`, `minilm:1+3+5`, a folder, a hub name, or a file of outputs
    fingerprint: str

    @property
    def is_local(self) -> bool:
        """Return whether it is a folder, or a file of outputs, so that its name is a path."""
        return self.fingerprint.startswith((FOLDER, OUTPUTS))

    @property
    def is_outputs(self) -> bool:
        """Return whether it is a file of a teacher's outputs, not a network."""
        return self.fingerprint.startswith(OUTPUTS)

    @property
    def title(self) -> str:
        """Return the name for tables and messages; of a folder or file the last part of its path."""
        own = PurePath(self.name).name
        return (own if own.strip(".~") else "folder") if self.is_local else self.name

    @property
    def unique_title(self) -> str:
        """Return the title, for folders and files with digits of the fingerprint, to distinguish equal titles."""
        return f"{self.title} ({self.fingerprint.partition('/')[2][:6]})" if self.is_local else self.title

    @property
    def argument(self) -> str:
        """Return the name for a command line; of a folder or file its absolute path.

        If the path is unknown (in a collected study), the result is a path that does not exist, which is refused.
        """
        known = not self.is_local or PurePath(self.name).is_absolute()
        return self.name if known else f"{UNKNOWN_PATH}{self.title}"


class DataRef(BaseModel):
    """A reference to a task's examples: their location, and a fingerprint of their content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    path: str | None
    fingerprint: str

    @property
    def location(self) -> DataLocation:
        return DataLocation(self.source, Path(self.path) if self.path else None)


class RunSpec(BaseModel):
    """Complete specification of a run.

    Fields that the method does not use are None, so that they do not distinguish equal runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    method_version: int
    # of a method that its code identifies; part of the ID
    method_file: PluginFile | None = Field(default=None, exclude_if=lambda value: value is None)
    task: str
    seed: int
    data: DataRef
    student: ModelRef  # the network that the run trains
    teacher: ModelRef | None  # a pre-trained network that is trained too
    selection: str  # rows that select checkpoint and grid point: `train:F` or `validation`
    feedback: str | None  # rows for feedback: `train:F` or `validation`
    # rows of train that are left out because other methods learn from them as feedback: `train:F`
    withheld: str | None = Field(default=None, exclude_if=lambda value: value is None)
    training: Training
    options: dict[str, Any]
    needs: dict[str, str] = {}  # role -> id of the run that must be done first
    snapshots: tuple[float, ...] = ()  # shares of the training at which the student is also saved; not part of the ID
    # settings of the teacher's own fine-tuning, part of the ID through `needs`; {epochs: 0}: no fine-tuning
    teacher_training: dict[str, Any] = Field(default={}, exclude_if=lambda value: not value)
    # of a declared task, so that machines without its declaration know it; the data's fingerprint identifies it
    declaration: dict[str, Any] = Field(default={}, exclude_if=lambda value: not value)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        """Give the settings of a stored spec that were added later the values that mean what was done before."""
        stored = value.get("training") if isinstance(value, dict) else None
        return {**value, "training": omitted_values(Training) | stored} if isinstance(stored, dict) else value

    def identity(self) -> dict[str, Any]:
        """Return what can change the result, without paths, display names and recording settings."""
        value = self.model_dump(mode="json", exclude=OTHERWISE)
        value["training"] = self.training.identity()
        value["data"] = self.data.fingerprint
        value["student"] = self.student.fingerprint
        value["teacher"] = self.teacher.fingerprint if self.teacher else None
        if self.method_file is not None:
            value["method_file"] = self.method_file.version
        return value | {"identity_version": IDENTITY_VERSION}

    @cached_property
    def id(self) -> str:
        """Return the run's ID, a readable name that ends in the hash of `identity()`."""
        digest = hashlib.sha256(_canonical(self.identity()).encode()).hexdigest()[:12]
        return f"{self.task}-{self.method}-s{self.seed}-{digest}"

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the spec with changes, as in pydantic; the copy computes its own ID."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)
        return copied

    def derive(self, **changes: Any) -> RunSpec:
        """Return a copy with changes, without needs and selected layers, for a run that this one needs."""
        training = changes.get("training", self.training).model_copy(update={"student_layers": ""})
        return self.model_copy(update={"needs": {}, "snapshots": (), **changes, "training": training})


@dataclass(frozen=True)
class Cell:
    """A requested number: row, task, seed and grid point, and the run that gives it.

    `varies` holds settings that one table or figure varies on purpose; the others leave the cell out.
    """

    row: Name
    task: str
    seed: int
    choice: Mapping[str, Any]
    run: str
    varies: Mapping[str, Any] = field(default_factory=dict)


def run_depths(runs: Mapping[str, RunSpec]) -> dict[str, int]:
    """Return for each run the length of the longest chain of runs before it; needed runs come first in `runs`."""
    out: dict[str, int] = {}
    for run, spec in runs.items():
        out[run] = max((out[parent] + 1 for parent in spec.needs.values() if parent in out), default=0)
    return out


def dependents(specs: Mapping[str, RunSpec]) -> dict[str, list[str]]:
    """Map each needed run to the runs that need it."""
    found: dict[str, list[str]] = {}
    for run_id, spec in specs.items():
        for parent in dict.fromkeys(spec.needs.values()):
            found.setdefault(parent, []).append(run_id)
    return found
