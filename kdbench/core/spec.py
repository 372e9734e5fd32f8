"""A run, described completely before it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer

from kdbench.core.registry import PluginFile
from kdbench.core.settings import Training

Source = Literal["generated", "glue-dir", "hub"]
IDENTITY_VERSION = 1
RUN_NAME = r"^\w[\w.-]*$"  # of a folder or file: nothing that leads elsewhere
Name = Annotated[str, StringConstraints(pattern=RUN_NAME)]
FOLDER = "folder/"  # begins the fingerprint of a network in a folder
UNKNOWN_PATH = "PATH/TO/"
# identified in their own way, or not at all
OTHERWISE = {"snapshots", "teacher_training", "training", "data", "student", "teacher", "method_file"}
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True)
class DataLocation:
    """Where a task's examples are read from: made by the project, a folder in the classic GLUE layout, or the hub."""

    source: Source
    path: Path | None = None


class ModelRef(BaseModel):
    """A network to start from: what the user called it, and a fingerprint of what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # `tiny-4x64`, `minilm`, `minilm:1+3+5`, a folder, or a hub name
    fingerprint: str

    @property
    def is_folder(self) -> bool:
        return self.fingerprint.startswith(FOLDER)

    @property
    def title(self) -> str:
        """How it is called where people read it: a folder by its own name, whatever way leads to it."""
        own = PurePath(self.name).name
        return (own if own.strip(".~") else "folder") if self.is_folder else self.name

    @property
    def unique_title(self) -> str:
        """The title, with digits of the fingerprint where it is a folder's: for where titles alone look alike."""
        return f"{self.title} ({self.fingerprint.removeprefix(FOLDER)[:6]})" if self.is_folder else self.title

    @property
    def argument(self) -> str:
        """The name to give in a command: a folder's whole path, so that it names no other network.

        Where the path is not known any more (in a collected study), it is a path that nobody has, which is refused.
        """
        known = not self.is_folder or PurePath(self.name).is_absolute()
        return self.name if known else f"{UNKNOWN_PATH}{self.title}"


class DataRef(BaseModel):
    """A task's examples: where they lie, and a fingerprint of what they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    path: str | None
    fingerprint: str

    @property
    def location(self) -> DataLocation:
        return DataLocation(self.source, Path(self.path) if self.path else None)


class RunSpec(BaseModel):
    """One training, frozen and fully resolved.

    A field that the method does not use is None, so that it cannot tell two equal runs apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    method_version: int
    method_file: PluginFile | None = None  # of a method that is part of no package; its content is identity
    task: str
    seed: int
    data: DataRef
    student: ModelRef  # the network that the run is for
    teacher: ModelRef | None  # a pre-trained network that is trained along
    selection: str  # what picks the checkpoint and the grid point: `train:F` or `validation`
    feedback: str | None  # what the method may learn from beside train: `train:F` or `validation`
    training: Training
    options: dict[str, Any]
    needs: dict[str, str] = {}  # role -> id of the run that must be done first
    snapshots: tuple[float, ...] = ()  # also keep the student at these shares of the training; not identity
    # settings of the teacher's own fine-tuning, which `needs` identifies; {epochs: 0} takes the teacher as it is
    teacher_training: dict[str, Any] = Field(default={}, exclude_if=lambda value: not value)

    def identity(self) -> dict[str, Any]:
        """Exactly what can change the result: no paths, no names for the same thing, nothing about recording."""
        value = self.model_dump(mode="json", exclude=OTHERWISE)
        value["training"] = self.training.identity()
        value["data"] = self.data.fingerprint
        value["student"] = self.student.fingerprint
        value["teacher"] = self.teacher.fingerprint if self.teacher else None
        if self.method_file is not None:
            value["method_file"] = self.method_file.sha256
        return value | {"identity_version": IDENTITY_VERSION}

    @model_serializer(mode="wrap")
    def _as_ever(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the file where there is none, so that such runs are written as they always were."""
        value: dict[str, Any] = dump(self)
        return value if value.get("method_file") else {k: v for k, v in value.items() if k != "method_file"}

    @cached_property
    def id(self) -> str:
        """A readable name whose last part is the hash of `identity()`."""
        digest = hashlib.sha256(_canonical(self.identity()).encode()).hexdigest()[:12]
        return f"{self.task}-{self.method}-s{self.seed}-{digest}"

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """See pydantic; the copy works out its own id."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)
        return copied

    def derive(self, **changes: Any) -> RunSpec:
        """A copy for a run that this one needs: changed fields, no needs of its own yet."""
        return self.model_copy(update={"needs": {}, "snapshots": (), **changes})


@dataclass(frozen=True)
class Cell:
    """One number that was asked for: a row of a table, a task, a seed, a grid point; and the run that gives it.

    `varies` is what one table or figure changes on purpose; the others leave the cell out.
    """

    row: Name
    task: str
    seed: int
    choice: Mapping[str, Any]
    run: str
    varies: Mapping[str, Any] = field(default_factory=dict)
