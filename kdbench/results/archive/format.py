"""The files of a collected study, and the seal that tells whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.core.atomic_files import sha256_of, write_json
from kdbench.core.errors import UserError

FORMAT = 1
MARKER = "study.json"
README = "README.md"
RUNS = "runs.jsonl"
SWEEPS = "sweeps.json"
SUBMISSIONS = "submissions.json"
SERIES = "series.jsonl.xz"
PREDICTIONS = "predictions.safetensors.xz"
DATA = (RUNS, SWEEPS, SUBMISSIONS, SERIES, PREDICTIONS)
FILES = (MARKER, README, *DATA)


class Seal(BaseModel):
    """`study.json`: the format, the study's name, and the SHA-256 of every file that is read."""

    model_config = ConfigDict(extra="ignore")

    format: int
    name: str
    files: dict[str, str]


def is_collected(root: Path) -> bool:
    return (root / MARKER).is_file()


def write_seal(root: Path, name: str) -> None:
    """Write `study.json` for the files that are there."""
    files = {file: sha256_of(root / file) for file in DATA}
    write_json(root / MARKER, {"format": FORMAT, "name": name, "files": files})


def read_seal(root: Path) -> Seal:
    """The seal, when it fits every file.

    Raises:
        UserError: another format, or a file that is missing, cut off or changed.
    """
    raw = _read(root / MARKER)
    version = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(
            f"The collected study {root} has format {version}, this kdbench reads format {FORMAT}; update kdbench."
        )
    try:
        found = Seal.model_validate(raw)
    except ValidationError:
        raise damage_error(root, MARKER) from None
    if found.format != FORMAT:
        raise damage_error(root, MARKER)
    for file in DATA:
        if not (root / file).is_file() or sha256_of(root / file) != found.files.get(file):
            raise damage_error(root, file)
    return found


def damage_error(root: Path, file: str) -> UserError:
    return UserError(
        f"{root / file} is missing, cut off or changed since the study was collected; take the folder from where it "
        "came once more, or collect it anew."
    )


def json_lines(values: Iterable[Any]) -> str:
    """A value a line, as JSON."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise damage_error(file.parent, file.name) from None
