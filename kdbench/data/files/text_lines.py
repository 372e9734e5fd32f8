"""Read text files as lines, with an encoding that is checked; what does not fit is named with its line."""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from charset_normalizer import from_bytes

from kdbench.core.errors import UserError
from kdbench.data.files.source import is_gzip

# tried where the expected encoding does not fit; the last one fits any file
OTHERS = ("utf-8-sig", "utf-16", "cp1252", "latin-1")
NO_GUESS = (
    "utf_(16|32).*",
    "ascii",
    "cp125[0247]",
    "iso8859_(1|2|9|15|16)?",
    "latin_.*",
    "mac_roman",
    "cp(437|775|85.|86.)",
    "hp_roman8",
)
LEAST_READ, MOST_READ = 100, 1 << 16  # bytes from which an encoding is guessed
BINARY = {
    b"PK\x03\x04": "a zip archive, as Excel's workbooks are",
    b"\x1f\x8b": "compressed by gzip, and its name does not end in .gz",
    b"BZh": "compressed by bzip2", b"\xfd7zXZ": "compressed by xz", b"%PDF": "a PDF",
    b"ARROW1": "an Arrow or Feather file", b"PAR1": "a Parquet file, and its name does not end in .parquet",
    b"\xd0\xcf\x11\xe0": "a workbook of old Excel", b"SQLite f": "a database of SQLite",
    b"\x93NUMPY": "an array of NumPy",
    **{bytes((0x80, version)): "a pickle of Python" for version in range(2, 6)},
}  # fmt: skip
MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"))


def encoding_name(encoding: str) -> str:
    """Return the name that Python has for an encoding, whatever its spelling.

    Raises:
        UserError: no encoding of texts is called so.
    """
    try:
        "".encode(encoding)
        return codecs.lookup(encoding).name
    except LookupError:
        raise UserError(
            f"encoding '{encoding}' is not known; use utf-8, utf-16, latin-1 or another of Python's."
        ) from None


@contextmanager
def open_lines(path: Path, encoding: str) -> Iterator[Iterator[str]]:
    """Open a text file, `.gz` or not, and give its lines with their ends as they are.

    Raises:
        UserError: the file is missing or unreadable, is not in `encoding` (the message names one that fits), or holds
            a NUL byte.
    """
    known = encoding_name(encoding)
    known = "utf-8-sig" if known == "utf-8" else encoding  # an encoding mark at the start of a file is no text
    try:
        with _open_binary(path) as raw, io.TextIOWrapper(raw, known, newline="") as text:
            _check_text(path)
            yield _checked(path, text)
    except UnicodeError:
        raise _wrong_encoding(path, encoding) from None
    except (EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is no whole gzip file ({error}); copy it again.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the path.") from None


def _open_binary(path: Path) -> IO[bytes]:
    return gzip.open(path) if is_gzip(path) else path.open("rb")  # type: ignore[return-value]


def _check_text(path: Path) -> None:
    """Refuse files of other kinds, which some encoding would read without an error."""
    with _open_binary(path) as raw:
        start = raw.read(8)
    if kind := next((kind for mark, kind in BINARY.items() if start.startswith(mark)), ""):
        raise UserError(f"{path} is no text: it is {kind}; unpack it, or save it as CSV, JSON lines or Parquet.")


def _checked(path: Path, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise _binary(path, number)
        yield line


def _binary(path: Path, line: int) -> UserError:
    return UserError(
        f"{path}, line {line:,}: a NUL byte; the file is binary, cut off or of another encoding, such as utf-16. Save "
        "it again as UTF-8 text."
    )


def _line_of_nul(path: Path) -> int:
    """Return the number of the first line with a NUL byte, which only UTF-16 and UTF-32 may have; else 0."""
    with _open_binary(path) as raw:
        return next((number for number, line in enumerate(raw, 1) if b"\0" in line), 0)


def _wrong_encoding(path: Path, encoding: str) -> UserError:
    """Say which line is not of an encoding, and which other encoding fits the whole file."""
    line, byte = _first_misfit(path, encoding)
    fitting = next((other for other in _candidates(path) if _fits(path, other)), "latin-1")
    if not fitting.startswith("utf") and (binary := _line_of_nul(path)):
        return _binary(path, binary)
    return UserError(
        f"{path}, line {line:,}: not {encoding} (byte 0x{byte:02X}); {fitting} fits the whole file: give it as the "
        f"encoding (--encoding {fitting}, or encoding in the task's declaration), or save the file as UTF-8."
    )


def _candidates(path: Path) -> list[str]:
    """Return the other encodings to try, first that of a mark at the file's start."""
    with _open_binary(path) as raw:
        start = raw.read(MOST_READ)
    marked = [name for mark, name in MARKS if start.startswith(mark)]
    best = from_bytes(start).best() if len(start) >= LEAST_READ else None
    # Latin encodings differ by few characters, so that no guess tells them apart; utf-16 begins with a mark
    name = best.encoding.replace("mac_cyrillic", "cp1251") if best else ""  # these differ in capitals alone
    other = [name] if best and not re.fullmatch("|".join(NO_GUESS), name) else []
    return [*marked, *other, *(name for name in OTHERS if name != "utf-16")]


def _first_misfit(path: Path, encoding: str) -> tuple[int, int]:
    """Return the line number and the byte that cannot be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with _open_binary(path) as raw:
        for number, line in enumerate(raw, 1):
            try:
                decoder.decode(line)
            except UnicodeDecodeError as error:
                return number, error.object[error.start]
    return number, 0


def _fits(path: Path, encoding: str) -> bool:
    """Return whether a file can be decoded; control characters say that it only seems to be text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with _open_binary(path) as raw:
        try:
            while block := raw.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeError:
            return False
    return True
