"""Checksums of a run's files, so that damage is found before anything is built on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kdbench.core.atomic_files import sha256_of, write_json
from kdbench.core.errors import NotPermitted, UserError
from kdbench.core.records import not_permitted, read_record

CHECKSUMS = "checksums.json"


class FileChecksum(BaseModel):
    """Size in bytes and SHA-256 of one file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    size: int
    sha256: str


class Checksums(BaseModel):
    """checksums.json: the checksum of every file of a finished run, by its path in the run's folder."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: dict[str, FileChecksum]


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of files, and of all files in folders, that are there under `names`."""
    files = {
        file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "sha256": digest_of(file)}
        for name in names
        for file in _files_in(folder / name)
    }
    write_json(folder / CHECKSUMS, {"files": files})


def find_damage(folder: Path, part: str = "", *, sizes_only: bool = False) -> str:
    """Name the first file that is not as written, and how it differs; "" where all files are as written.

    Runs of versions without checksums have no known damage.

    Args:
        part: check only this file, or the files in this folder.
        sizes_only: check names and sizes without reading contents.

    Raises:
        NotPermitted: a file may not be read.
    """
    try:
        known = _stored(folder / CHECKSUMS)
    except FileNotFoundError:
        return ""
    except NotPermitted:
        raise
    except UserError:
        return f"{CHECKSUMS} is damaged"
    for name, wanted in known.items():
        if part and name != part and not name.startswith(f"{part}/"):
            continue
        if problem := _problem(folder / name, wanted, sizes_only):
            return f"{name} {problem}"
    return ""


def _stored(file: Path) -> dict[str, FileChecksum]:
    """Read the checksums of a run; unchanged files are read once."""
    try:
        found = file.stat()
    except PermissionError:
        raise not_permitted(file) from None
    return _parsed(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=65536)
def _parsed(file: Path, size: int, changed: int) -> dict[str, FileChecksum]:
    return read_record(file, Checksums).files


def _problem(file: Path, wanted: FileChecksum, sizes_only: bool) -> str:
    """Say how a file differs from its checksum; "" where it does not."""
    try:
        if file.stat().st_size != wanted.size:
            return f"has {file.stat().st_size:,} of {wanted.size:,} bytes"
        return "" if sizes_only or digest_of(file) == wanted.sha256 else "has other bytes than were written"
    except PermissionError:
        raise not_permitted(file) from None
    except OSError:
        return "is missing"


def _files_in(place: Path) -> Iterator[Path]:
    """Yield a file, or all files of a folder."""
    if place.is_dir():
        yield from (file for file in sorted(place.rglob("*")) if file.is_file())
    elif place.is_file():
        yield place


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file; unchanged files are read once."""
    found = file.stat()
    return _digest(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=65536)
def _digest(file: Path, size: int, changed: int) -> str:
    return sha256_of(file)
