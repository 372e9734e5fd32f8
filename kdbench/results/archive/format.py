"""The files of a collected study, and the seal of checksums that shows damage."""

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
LOGITS = "logits.safetensors.xz"
DATA = (RUNS, SWEEPS, SUBMISSIONS, SERIES, PREDICTIONS)
OPTIONAL = (LOGITS,)  # absent where no run kept any, as in studies that an earlier version collected
FILES = (MARKER, README, *DATA, *OPTIONAL)


class Seal(BaseModel):
    """`study.json`: the format, the name of the study, and the SHA-256 of every data file."""

    model_config = ConfigDict(extra="ignore")

    format: int
    name: str
    files: dict[str, str]


def is_collected(root: Path) -> bool:
    """Return whether a folder is a collected study."""
    return (root / MARKER).is_file()


def write_seal(root: Path, name: str) -> None:
    """Write `study.json` with the checksums of the files in the folder."""
    files = {file: sha256_of(root / file) for file in (*DATA, *OPTIONAL) if file in DATA or (root / file).is_file()}
    write_json(root / MARKER, {"format": FORMAT, "name": name, "files": files})


def read_seal(root: Path) -> Seal:
    """Read the seal and check every file against it.

    Raises:
        UserError: the format is not known, or a file is missing, cut off or changed.
    """
    # a newer format is no damage
    raw = _read(root / MARKER)
    version = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(
            f"The collected study {root} has format {version}, this kdbench reads format {FORMAT}; update kdbench."
        )
    # the seal itself
    try:
        found = Seal.model_validate(raw)
    except ValidationError:
        raise damage_error(root, MARKER) from None
    if found.format != FORMAT:
        raise damage_error(root, MARKER)
    # the files
    for file in (*DATA, *(name for name in OPTIONAL if name in found.files)):
        if not (root / file).is_file() or sha256_of(root / file) != found.files.get(file):
            raise damage_error(root, file)
    return found


def damage_error(root: Path, file: str) -> UserError:
    """Return the error about a damaged file."""
    return UserError(
        f"{root / file} is missing, cut off or changed since the study was collected; take the folder from where it "
        "came once more, or collect it anew."
    )


def json_lines(values: Iterable[Any]) -> str:
    """Format values as JSON, one a line."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _read(file: Path) -> Any:
    """Read `study.json`."""
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise damage_error(file.parent, file.name) from None
