"""Read JSON files, in the shapes in which people write tables as JSON, and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.data.files.source import PART, FileFormat, Row, RowSource
from kdbench.data.files.text_lines import open_lines

LARGEST_JSON = 1 << 30  # bytes; a JSON file is read as a whole
HEAD = 200  # rows that tell the columns of JSON lines


def json_rows(path: Path, part: str, form: FileFormat) -> RowSource:
    """Return the rows of a JSON file: JSON lines, a list of rows, a table as pandas writes one, or a part that is one.

    A row is an object, or a list whose values are called 1, 2, 3.

    Raises:
        UserError: the file is too large, is no JSON, or holds no rows, or parts of which none is named.
    """
    if not part and is_json_lines(path, form.encoding):
        return json_line_rows(path, form)
    if path.is_file() and path.stat().st_size > LARGEST_JSON:
        raise UserError(f"{path} has more than 1 GB and would be read as a whole; convert it to JSON lines or Parquet.")
    with open_lines(path, form.encoding) as lines:
        value = _parse(path, 0, "".join(lines))
    if part:
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(map(str, value)) if isinstance(value, Mapping) else "none"
            raise UserError(f"{path} has no part '{part}' (found: {known}).")
        value = value[part]
    place = f"{path}{PART}{part}" if part else str(path)
    found = _table(value)
    if found is None and isinstance(value, Mapping) and (parts := _parts(value)):
        if len(parts) > 1:
            raise UserError(
                f"{place} holds several lists ({', '.join(parts)}); name one as {path.name}{PART}{parts[0]}."
            )
        found = _table(value[parts[0]])
    if found is None:
        raise UserError(f"{place} holds no list of rows; write a list of objects, one an example.")
    rows = [_as_row(path, number, item) for number, item in enumerate(found, 1)]
    return RowSource(place, "row", _columns_of(rows), lambda: iter(list(enumerate(rows, 1))))


def json_parts(path: Path, encoding: str) -> list[str]:
    """Return the names of the tables in a JSON file; [] where it is one table, or cannot be read."""
    try:
        if is_json_lines(path, encoding):
            return []
        with open_lines(path, encoding) as lines:
            value = json.loads("".join(lines))
    except (UserError, ValueError, RecursionError):  # whoever reads the rows says so
        return []
    return _parts(value) if isinstance(value, Mapping) and _table(value) is None else []


def is_json_lines(path: Path, encoding: str) -> bool:
    """Return whether the first two lines with text are objects of their own."""
    with open_lines(path, encoding) as lines:
        head = [line for line, _ in zip((line for line in lines if line.strip()), range(2), strict=False)]
    try:
        return len(head) == 2 and all(isinstance(json.loads(line), Mapping) for line in head)
    except (ValueError, RecursionError):
        return False


def _parse(path: Path, line: int, text: str) -> Any:
    where = f"{path}, line {line:,}" if line else str(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        here = where if line else f"{path}, line {error.lineno:,}"
        raise UserError(f"{here}: not valid JSON ({error.msg}); correct the file.") from None
    except RecursionError:
        raise UserError(f"{where}: not valid JSON, because its values are nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{where}: not valid JSON ({error}); correct the file.") from None


def _parts(value: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values are tables."""
    return [str(key) for key, item in value.items() if _table(item) is not None]


def _table(value: Any) -> list[Any] | None:
    """Return the rows of a list of rows, or of a table as `DataFrame.to_json` writes it; None of anything else."""
    if isinstance(value, list):
        return value
    if not isinstance(value, Mapping) or not value:
        return None
    shapes = (_columns_and_data, _lists_by_column, _values_by_column_and_row)
    return next((rows for shape in shapes if (rows := shape(value)) is not None), None)


def _columns_and_data(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of {columns: names, data: rows}."""
    columns, data = value.get("columns"), value.get("data")
    if not (isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data)):
        return None
    return [dict(zip(map(str, columns), row, strict=False)) for row in data]


def _lists_by_column(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of {column: list of values}."""
    lists = list(value.values())
    if not all(isinstance(some, list) and some and not isinstance(some[0], list | Mapping) for some in lists):
        return None
    is_even = len({len(some) for some in lists}) == 1
    return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)] if is_even else None


def _values_by_column_and_row(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of {column: {row: value}}, or of {row: {column: value}}: of rows there are more."""
    parts = list(value.values())
    if not all(isinstance(some, Mapping) and some.keys() == parts[0].keys() for some in parts):
        return None
    if any(isinstance(item, list | Mapping) for some in parts for item in some.values()):
        return None
    if len(value) > len(parts[0]):
        return parts
    # by key, because columns may list their rows in different orders
    return [{column: some[row] for column, some in value.items()} for row in parts[0]]


def json_line_rows(path: Path, form: FileFormat) -> RowSource:
    """Return the rows of a file with one JSON object a line; its columns are those of the first 200 rows.

    Raises:
        UserError: the file is missing or empty; while rows are read, a line is no JSON object.
    """

    def read() -> Iterator[Row]:
        with open_lines(path, form.encoding) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _as_row(path, number, _parse(path, number, line))

    head = [row for (_, row), _ in zip(read(), range(HEAD), strict=False)]
    return RowSource(str(path), "line", _columns_of(head), read)


def _as_row(path: Path, number: int, item: Any) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return item
    if isinstance(item, list):
        return {str(place): part for place, part in enumerate(item, 1)}
    raise UserError(f"{path}, row {number:,}: expected an object or a list of values, found {str(item)[:40]!r}.")


def _columns_of(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(key) for row in rows for key in row))
