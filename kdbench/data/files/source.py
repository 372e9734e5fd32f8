"""Say where rows are read from, and how: a file or a part of one, a folder saved by `datasets`, or the hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError

HUB = "hf:"  # begins the name of a data set on the hub
PART = "#"  # between a file and the part of it that is read
EQUALS = "="  # in a part, between a column and the value of its rows
TABLES = (".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".parquet")  # suffixes of files that hold rows
SUFFIXES = (*TABLES, ".txt")
SHOWN = 20  # columns that a message names
Row = tuple[int, Mapping[str, Any]]  # the line or row number, counted from 1, and the values by column


@dataclass(frozen=True)
class FileFormat:
    """Describe how text files are read; None and "" leave a choice to the file itself.

    Attributes:
        encoding: of text files.
        delimiter: between the fields of a line.
        header: whether the first line names the columns; without names they are called 1, 2, 3.
        quotes: whether fields may stand in double quotes and then hold line breaks and delimiters.
        pattern: a regular expression for each line, whose named groups are the columns.
    """

    encoding: str = "utf-8"
    delimiter: str = ""
    header: bool = True
    quotes: bool | None = None
    pattern: str = ""

    @property
    def changed(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as keys of a declaration."""
        usual = FileFormat()
        return {key: item for key, item in vars(self).items() if item != getattr(usual, key)}


@dataclass(frozen=True)
class RowSource:
    """Rows of named columns, which are read anew at each iteration.

    Attributes:
        place: the file's name for messages.
        unit: what the numbers of rows count, `line` or `row`.
        columns: the names, in the order of the file.
        read: begins to read.
        class_names: columns whose numbers stand for classes -> the names of the classes.
    """

    place: str
    unit: str
    columns: tuple[str, ...]
    read: Any = field(repr=False)
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        rows: Iterator[Row] = self.read()
        return rows

    def require(self, columns: Iterable[str], way_out: str = "") -> None:
        """Check that there are such columns.

        Args:
            way_out: what the user can do, for the message.

        Raises:
            UserError: the first that is missing, with those that were found.
        """
        for column in columns:
            if column not in self.columns:
                found = ", ".join(self.columns[:SHOWN]) + ", ..." * (len(self.columns) > SHOWN)
                raise UserError(f"{self.place} has no column '{column}' (found: {found}){way_out}.")

    def at(self, number: int) -> str:
        """Name a row for a message: `reviews.csv, line 12`."""
        return f"{self.place}, {self.unit} {number:,}"


def file_names(source: str | Mapping[str, str]) -> list[str]:
    """Return the names in a source: one, or one for each column."""
    return [source] if isinstance(source, str) else list(source.values())


def files_of(source: str | Mapping[str, str], folder: Path) -> list[Path]:
    """Return the files of a source that are there; none of a folder, or of the hub."""
    return [path for name in file_names(source) if (path := split_part(name, folder)[0]).is_file()]


def is_gzip(path: Path) -> bool:
    """Return whether a file is compressed, by its name."""
    return path.suffix.lower() == ".gz"


def suffix_of(path: Path) -> str:
    """Return the suffix that tells a file's format, in small letters; that of a compressed file stands before `.gz`."""
    return Path(path.stem if is_gzip(path) else path.name).suffix.lower()


def plain_value(value: Any) -> Any:
    """Return a label as a word or number: bytes of UTF-8 as text, a list of one value as that, decimals as numbers."""
    while isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def split_part(text: str, folder: Path) -> tuple[Path, str]:
    """Split `data.json#train` into the file and its part; a file whose own name contains `#` wins."""
    if (folder / text).exists():
        return folder / text, ""
    name, mark, part = text.rpartition(PART)
    return (folder / name, part) if mark and name else (folder / text, "")
