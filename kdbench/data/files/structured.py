"""Read Parquet, folders saved by `datasets`, and data sets of the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdbench.core import hub
from kdbench.core.errors import UserError
from kdbench.data.files.source import HUB, PART, Row, RowSource

BLOCK = 4096  # rows at once


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

    columns = tuple(file.schema_arrow.names)
    if repeated := {name for name in columns if columns.count(name) > 1}:
        raise UserError(f"{path}: the column '{min(repeated)}' is there twice; rename one.")

    def read() -> Iterator[Row]:
        number = 0
        try:
            for block in pq.ParquetFile(path).iter_batches(BLOCK):
                for row in block.to_pylist():
                    number += 1
                    yield number, row
        except (OSError, pa.ArrowException, OverflowError, ValueError) as error:  # also dates beyond the year 9999
            raise UserError(
                f"{path}, one of the rows from {number + 1:,} on cannot be read ({str(error)[:120]}); correct it, or "
                "write the file again."
            ) from None

    return RowSource(str(path), "row", columns, read, _arrow_classes(file.schema_arrow))


def _arrow_classes(schema: Any) -> dict[str, list[str]]:
    """Return the class names that the `datasets` library stores beside a schema."""
    stored = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(stored)["info"]["features"] if stored else {}
        inner = {name: some.get("feature", some) for name, some in features.items()}  # of lists, what they hold
        return {name: some["names"] for name, some in inner.items() if some.get("_type") == "ClassLabel"}
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


def is_saved(path: Path) -> bool:
    """Return whether `Dataset.save_to_disk` wrote a folder."""
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


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

    inner = {key: getattr(kind, "feature", kind) for key, kind in found.features.items()}  # of lists, what they hold
    names = {key: kind.names for key, kind in inner.items() if hasattr(kind, "names")}
    return RowSource(f"{place}{PART}{part}" if part else place, "row", tuple(found.column_names), read, names)
