"""Open a source of rows by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.data.files.class_folders import class_folder_rows, class_folders
from kdbench.data.files.delimited import delimited_rows, line_pairs, pattern_rows
from kdbench.data.files.json_files import json_line_rows, json_rows
from kdbench.data.files.source import (
    EQUALS,
    HUB,
    PART,
    SUFFIXES,
    FileFormat,
    Row,
    RowSource,
    plain_value,
    split_part,
    suffix_of,
)
from kdbench.data.files.structured import folder_rows, hub_rows, parquet_rows

Source = str | Mapping[str, str]  # a file, or column -> file of lines


def open_source(source: Source, folder: Path, form: FileFormat) -> RowSource:
    """Return the rows of a source.

    Args:
        source: a file, `FILE#PART`, `FILE#COLUMN=VALUE` for the rows with that value, a folder saved by `datasets`, a
            folder with a subfolder of text files for each class, `hf:OWNER/NAME@REVISION:CONFIGURATION#SPLIT`, or a
            file of lines for each column.
        folder: where relative paths begin.

    Raises:
        UserError: there is no such file, its format is not known, or it cannot be read.
    """
    if not isinstance(source, str):
        return line_pairs({column: _existing(folder / name) for column, name in source.items()}, form)
    if source.startswith(HUB):
        name, _, part = source.partition(PART)
        return hub_rows(name, part)
    path, part = split_part(source, folder)
    if EQUALS in part:
        return _rows_with(open_source(source.removesuffix(f"{PART}{part}"), folder, form), *part.split(EQUALS, 1))
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path  # shorter in messages
    if path.is_dir():
        return class_folder_rows(path, form) if not part and class_folders(path) else folder_rows(path, part)
    _existing(path)
    if form.pattern:
        return pattern_rows(path, form)
    suffix = suffix_of(path)
    if suffix == ".json":
        return json_rows(path, part, form)
    if part:
        raise UserError(f"{path} has no parts, so none is called '{part}'.")
    if suffix in (".jsonl", ".ndjson"):
        return json_line_rows(path, form)
    if suffix == ".parquet":
        return parquet_rows(path)
    if suffix in (".csv", ".tsv", ".tab") or form.delimiter:
        return delimited_rows(path, form)
    raise UserError(
        f"{path} has no format that is known; give a file that ends in {', '.join(SUFFIXES)}, or say how its lines are "
        "built: delimiter, or pattern, in a declaration, tasks/NAME.toml."
    )


def _rows_with(found: RowSource, column: str, wanted: str) -> RowSource:
    """Return the rows that have a value in a column."""
    found.require([column])

    def read() -> Iterator[Row]:
        return (row for row in found if str(plain_value(row[1].get(column))).strip() == wanted)

    return replace(found, place=f"{found.place}{PART}{column}{EQUALS}{wanted}", read=read)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"There is no file '{path}'; check the path.")
    return path
