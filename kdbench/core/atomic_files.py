"""Files that are whole or absent: everything is written to a temporary name and renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a temporary path beside `path`; when the block succeeds it takes `path`'s place (file or folder).

    Raises:
        UserError: a file would take the place of a folder; nothing of that folder is touched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, not_counted = (path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp") for _ in range(2))
    try:
        yield temporary
        _finish(temporary)
        if path.is_dir():
            if not temporary.is_dir():  # a mistyped name must never cost a folder
                raise folder_instead(path)
            path.replace(not_counted)
        try:
            temporary.replace(path)
        except OSError:
            if not_counted.is_dir():
                not_counted.replace(path)
            raise
    finally:
        for folder in (temporary, not_counted):
            if folder.is_dir():
                shutil.rmtree(folder)
        temporary.unlink(missing_ok=True)


def user_path(text: str) -> Path:
    """Turn what a user typed into a path; `~` is a home.

    Raises:
        UserError: no such user, a NUL byte, or links that lead to each other.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except FileNotFoundError:  # it is to be made, perhaps
        return path
    except (RuntimeError, ValueError, OSError) as error:
        why = "a part of it is a file" if isinstance(error, NotADirectoryError) else str(error)
        raise UserError(f"{text!r} cannot be used as a path ({why}); give another.") from None
    return path


def folder_instead(path: Path) -> UserError:
    return UserError(f"{path} is a folder; give the name of a file.")


LEFTOVERS = (".*.tmp", ".tmp??????")  # of `replacing`, and of safetensors, which writes beside the file first


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process was writing; only for who holds the folder's lock."""
    for path in (path for pattern in LEFTOVERS for path in folder.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


UMASK = os.umask(0o077)
os.umask(UMASK)  # the only way to ask is to set it


def _finish(path: Path) -> None:
    """Make the bytes durable, and the files as readable as the umask says, before the rename makes them visible."""
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        file.chmod(0o666 & ~UMASK)  # safetensors makes its files private
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The parsed file.

    Raises:
        UserError: the file is not JSON.
    """
    try:
        return json.loads(path.read_bytes().decode())
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run the same command again.") from None
