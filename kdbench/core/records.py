"""Read JSON files with schemas; a damaged file is reported and does not affect others."""

from __future__ import annotations

import logging
import pwd
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NotRequired, Required, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

from kdbench.core.errors import NotPermitted, UserError
from kdbench.core.plain_text import without_control

T = TypeVar("T")
Scores = dict[str, float]  # metric -> value
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class ClassCounts(TypedDict):
    """Counts of predicted classes on a split; see `class_use.ClassUse`."""

    classes: Count
    true: Count
    predicted: Count
    most: Count
    share: Number


class CheckpointScores(TypedDict):
    """Scores of a checkpoint in result.json."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    step: Count
    selection: Scores
    report: dict[str, Scores]  # split -> metric -> value
    predicted: NotRequired[dict[str, ClassCounts]]  # by split; not of runs of earlier versions


class Result(TypedDict, total=False):
    """Content of result.json."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    best: Required[CheckpointScores]
    last: Required[CheckpointScores]
    teacher: dict[str, Scores] | None
    teacher_predicted: dict[str, ClassCounts]
    rows: dict[str, Count]
    cut_off: dict[str, Count]  # split -> rows that fill max_length
    had_other_scores: bool  # when it was done before; other runs may have learned from that network


class Cost(TypedDict, total=False):
    """Content of cost.json; see `CostMeter.report`."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    steps: Required[Count]
    train_seconds: Required[Number]
    step_seconds: Number
    rows: Count
    passes: dict[str, dict[str, Count]]
    peak_memory: Count | None
    cpu_seconds: Number | None


class Environment(TypedDict, total=False):
    """Content of environment.json; see `environment.environment`."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    device: str
    cpu: str
    gpu: str | None
    cores: Count | None
    threads: Count
    method_code: str
    packages: dict[str, str | None]
    earlier: list[dict[str, Any]]  # of the steps before it resumed elsewhere, from the first


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_record(path: Path, kind: type[T]) -> T:
    """Read a JSON file as a `kind`: a pydantic model, a TypedDict, or a type such as `dict[str, float]`.

    Raises:
        NotPermitted: the file may not be read.
        UserError: the file is damaged; the sentence names the file and the field.
        FileNotFoundError: there is no such file.
    """
    adapter: TypeAdapter[T] = _adapter(cast(Hashable, kind))
    try:
        return adapter.validate_json(path.read_bytes())
    except PermissionError:
        raise not_permitted(path) from None
    except (ValidationError, IsADirectoryError, NotADirectoryError) as error:
        what = explain(error) if isinstance(error, ValidationError) else "a file is expected there"
        raise UserError(f"{path} is damaged ({what}); delete it and run the same command again.") from None


def read_records(folder: Path, kind: type[T]) -> list[T]:
    """Read all JSON files in a folder, sorted by name; skip damaged ones with a warning on standard error."""
    records: list[T] = []
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            records.append(read_record(file, kind))
        except (UserError, OSError) as error:
            warn_once(f"Left out: {error}")
    return records


def explain(error: ValidationError) -> str:
    """Describe in a few words which field of a record is wrong, and how."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:120]
    return f"{place}: {first['msg']}" if place else first["msg"]


def not_permitted(path: Path) -> NotPermitted:
    """Build the error for a file or folder of another user that is not shared."""
    return NotPermitted(
        f"You may not read {path}; it belongs to {_owner_of(path)}, who can share it with: chmod -R g+rX {path.parent}"
    )


def _owner_of(path: Path) -> str:
    for place in (path, *path.parents):
        try:
            number = place.stat().st_uid
        except OSError:
            continue
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return f"user {number}"
    return "another user"


@cache
def warn_once(message: str) -> None:
    """Print a warning on standard error, each message once in a process."""
    logging.getLogger("kdbench").warning("%s", without_control(message))
