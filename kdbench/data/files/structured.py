"""Read JSON, JSON lines, Parquet, folders saved by `datasets`, and data sets of the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.core import hub
from kdbench.core.errors import UserError
from kdbench.data.files.source import HUB, PART, FileFormat, Row, RowSource
from kdbench.data.files.text_lines import open_lines

LARGEST_JSON = 1 << 30  # bytes; a JSON file is read as a whole
BLOCK = 4096  # rows at once


def json_rows(path: Path, part: str, form: FileFormat) -> RowSource:
    """Return the rows of a JSON file: a list of rows, a table of columns, or parts by name that are such lists.

    A row is an object, or a list whose values are called 1, 2, 3.

    Raises:
        UserError: the file is too large, is no JSON, or holds no rows, or parts of which none is named.
    """
    if path.is_file() and path.stat().st_size > LARGEST_JSON:
        raise UserError(f"{path} has more than 1 GB and would be read as a whole; convert it to JSON lines or Parquet.")
    with open_lines(path, form.encoding) as lines:
        text = "".join(lines)
    value = _find_rows(path, part, _parse(path, 0, text))
    rows = [_as_row(path, number, item) for number, item in enumerate(value, 1)]
    return RowSource(_named(path, part), "row", _columns_of(rows), lambda: iter(list(enumerate(rows, 1))))


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


def _find_rows(path: Path, part: str, value: Any) -> list[Any]:
    """Find the list of rows in what a JSON file holds."""
    if part:
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(map(str, value)) if isinstance(value, Mapping) else "none"
            raise UserError(f"{path} has no part '{part}' (found: {known}).")
        value = value[part]
    if isinstance(value, Mapping):
        lists = {key: item for key, item in value.items() if isinstance(item, list)}
        plain = all(not isinstance(item, list | Mapping) for some in lists.values() for item in some[:1])
        if lists and len(lists) == len(value) and plain and len({len(some) for some in lists.values()}) == 1:
            return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        if len(lists) == 1:
            return next(iter(lists.values()))
        if lists:
            raise UserError(
                f"{path} holds several lists ({', '.join(lists)}); name one as {path.name}{PART}{next(iter(lists))}."
            )
    if not isinstance(value, list):
        raise UserError(f"{_named(path, part)} holds no list of rows; write a list of objects, one an example.")
    return value


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

    head = [row for (_, row), _ in zip(read(), range(200), strict=False)]
    return RowSource(str(path), "line", _columns_of(head), read)


def _as_row(path: Path, number: int, item: Any) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return item
    if isinstance(item, list):
        return {str(place): part for place, part in enumerate(item, 1)}
    raise UserError(f"{path}, row {number:,}: expected an object or a list of values, found {str(item)[:40]!r}.")


def _columns_of(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(key) for row in rows for key in row))


def parquet_rows(path: Path) -> RowSource:
    """Return the rows of a Parquet file, which is read in blocks.

    Raises:
        UserError: the file is missing or no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).partition(chr(10))[0][:120]}).") from None

    def read() -> Iterator[Row]:
        number = 0
        try:
            for block in pq.ParquetFile(path).iter_batches(BLOCK):
                for row in block.to_pylist():
                    number += 1
                    yield number, row
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}, row {number + 1:,}: damaged ({str(error)[:120]}); copy the file again.") from None

    return RowSource(str(path), "row", tuple(file.schema_arrow.names), read, _arrow_classes(file.schema_arrow))


def _arrow_classes(schema: Any) -> dict[str, list[str]]:
    """Return the class names that the `datasets` library stores beside a schema."""
    stored = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(stored)["info"]["features"] if stored else {}
        return {name: some["names"] for name, some in features.items() if some.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def folder_rows(path: Path, part: str) -> RowSource:
    """Return the rows of a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Raises:
        UserError: the folder is not such a one, or has parts of which none is named.
    """
    import datasets

    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # errors of many types, with the same meaning for the user
        raise UserError(
            f"{path} is no folder that the datasets library saved ({str(error).partition(chr(10))[0][:120]}), and none "
            "with a subfolder of text files for each class."
        ) from None
    return _dataset_rows(str(path), part, found)


def hub_rows(name: str, part: str) -> RowSource:
    """Return the rows of a data set of the Hugging Face hub, from the local cache if it was loaded before.

    Args:
        name: `hf:OWNER/NAME`, then `@REVISION` and `:CONFIGURATION` if there are such.
        part: the split.

    Raises:
        UserError: the hub cannot be reached and the cache does not hold the data, or there is no such split.
    """
    return _dataset_rows(name, part, load_from_hub(name))


def load_from_hub(name: str) -> Any:
    """Load a data set by its name in a source, such as `hf:OWNER/NAME@REVISION:CONFIGURATION`."""
    repository, _, configuration = name.removeprefix(HUB).partition(":")
    repository, _, revision = repository.partition("@")
    return hub.load_dataset(repository, configuration, revision, "check its name")


def dataset_parts(path: Path) -> list[str]:
    """Return the names of the parts in a folder of a `DatasetDict`; [] for other folders."""
    try:
        named = json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        return [str(name) for name in named]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _dataset_rows(place: str, part: str, found: Any) -> RowSource:
    """Return the rows of a data set, or of a part of a dictionary of data sets."""
    if isinstance(found, Mapping):
        if part not in found:
            what = f"has no part '{part}'" if part else "holds several parts"
            first = next(iter(found), "")
            raise UserError(f"{place} {what} (found: {', '.join(found)}); name one as {place}{PART}{first}.")
        found = found[part]
    elif part:
        raise UserError(f"{place} has no parts, so none is called '{part}'.")

    def read() -> Iterator[Row]:
        number = 0
        for block in found.iter(BLOCK):
            for values in zip(*block.values(), strict=True):
                number += 1
                yield number, dict(zip(block, values, strict=True))

    names = {key: kind.names for key, kind in found.features.items() if hasattr(kind, "names")}
    return RowSource(f"{place}{PART}{part}" if part else place, "row", tuple(found.column_names), read, names)


def _named(path: Path, part: str) -> str:
    return f"{path}{PART}{part}" if part else str(path)
