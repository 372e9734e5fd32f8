"""Write files atomically: under a temporary name first, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` if the block succeeds (file or folder).

    Raises:
        UserError: a file would replace a folder; the folder is left unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, previous = (path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp") for _ in range(2))
    try:
        yield temporary
        _finish(temporary)
        if path.is_dir():
            if not temporary.is_dir():  # a mistyped name must not delete a folder
                raise folder_instead(path)
            path.replace(previous)
        try:
            temporary.replace(path)
        except OSError:
            if previous.is_dir():
                previous.replace(path)
            raise
    except OSError as error:
        if error.filename == str(temporary):  # of which no user has heard
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # what cannot be cleaned up must not hide the reason
            for folder in (temporary, previous):
                if folder.is_dir():
                    shutil.rmtree(folder)
            temporary.unlink(missing_ok=True)


def user_path(text: str) -> Path:
    """Convert a user's input to a path, with `~` expanded.

    Raises:
        UserError: no such user, a NUL byte, or a cycle of links.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except FileNotFoundError:  # may be an output
        return path
    except (RuntimeError, ValueError, OSError) as error:
        why = "a part of it is a file" if isinstance(error, NotADirectoryError) else str(error)
        raise UserError(f"{text!r} cannot be used as a path ({why}); give another.") from None
    return path


def folder_instead(path: Path) -> UserError:
    """Build the error for a folder where a file is expected."""
    return UserError(f"{path} is a folder; give the name of a file.")


LEFTOVERS = (".*.tmp", ".tmp??????")  # temporary names of `replacing` and of safetensors


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of killed processes, in the folder and those in it; only for the holder of its lock."""
    for path in [path for pattern in LEFTOVERS for path in folder.rglob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)  # gone with a folder before


UMASK = os.umask(0o077)
os.umask(UMASK)  # it can only be read by setting it


def _finish(path: Path) -> None:
    """Flush files to disk and set their permissions by the umask, before the rename makes them visible."""
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        file.chmod(0o666 & ~UMASK)  # safetensors creates private files
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
    """Read a JSON file.

    Raises:
        UserError: the file is not JSON.
    """
    try:
        return json.loads(path.read_bytes().decode())
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run the same command again.") from None
