"""Compress series, predictions and logits, the large parts of a study. The same content gives the same bytes."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

Classes = NDArray[Any]
PRESET = 6  # of xz
INDEX = "index"  # one key only: safetensors keeps several in no order


@dataclass(frozen=True)
class RunPredictions:
    """The classes, or numbers, that a run predicted on a report split, and the true ones; both arrays are [items]."""

    run: str
    split: str
    classes: Classes
    labels: Classes


def write_series(file: Path, series: Iterable[tuple[str, list[str]]]) -> None:
    """Write, for each run, a line {run, rows} and then the lines of its series.jsonl."""
    with lzma.open(file, "wt", preset=PRESET, encoding="utf-8", newline="\n") as out:
        for run, rows in series:
            out.write(json.dumps({"run": run, "rows": len(rows)}) + "\n")
            out.writelines(rows)


def read_series(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the runs and the lines of their series.

    Raises:
        KeyError, ValueError, EOFError, LZMAError: the file is not valid.
    """
    lines = _unpacked_lines(file)
    for line in lines:
        head = json.loads(line)
        rows = list(islice(lines, head["rows"]))
        if len(rows) != head["rows"]:
            raise EOFError
        yield head["run"], rows


def _most_bytes(file: Path) -> int:
    """Return the largest size to decompress a file to: far above any study, far below a machine's memory."""
    return max(64 * 2**20, 200 * file.stat().st_size)


def _unpacked_lines(file: Path) -> Iterator[str]:
    """Yield the lines of a compressed file.

    Raises:
        ValueError: the content is larger than `_most_bytes`.
    """
    left = _most_bytes(file)
    with lzma.open(file, "rb") as packed:
        while line := packed.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise ValueError(f"{file} unpacks to more than {_most_bytes(file):,} bytes")
            yield line.decode()


def _unpacked(file: Path) -> bytes:
    """Decompress a file.

    Raises:
        ValueError: the content is cut off or larger than `_most_bytes`.
    """
    decompressor = lzma.LZMADecompressor()
    content = decompressor.decompress(file.read_bytes(), _most_bytes(file))
    if not decompressor.eof:
        raise ValueError(f"{file} is cut off, or unpacks to more than {_most_bytes(file):,} bytes")
    return content


def write_predictions(file: Path, answers: Iterable[RunPredictions]) -> None:
    """Write predictions; runs that answered the same items become columns of one matrix [items, runs]."""
    groups: dict[tuple[str, bytes], list[RunPredictions]] = {}
    for one in answers:
        labels = one.labels.astype(np.int64) if one.labels.dtype.kind in "iu" else one.labels
        groups.setdefault((one.split, labels.tobytes()), []).append(one)
    index, tensors = [], {}
    for i, group in enumerate(groups.values()):
        index.append({"split": group[0].split, "runs": [one.run for one in group]})
        tensors[f"{i}/labels"] = _small(group[0].labels)
        tensors[f"{i}/classes"] = _small(np.stack([one.classes for one in group], axis=1))
    file.write_bytes(lzma.compress(save(tensors, {INDEX: json.dumps(index)}), preset=PRESET))


def write_logits(file: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write tensors by name; of logits [items, classes] the low and the high bytes of each class stand together."""
    planes = {
        name: np.ascontiguousarray(values.view(np.uint8).reshape(*values.shape, 2).transpose(2, 1, 0))
        if values.dtype == np.float16 else values
        for name, values in tensors.items()
    }  # fmt: skip
    file.write_bytes(lzma.compress(save(planes), preset=PRESET))


def read_logits(file: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors by name.

    Raises:
        ValueError, LZMAError: the file is not valid.
    """
    stored = _tensors(_unpacked(file))
    return {
        name: np.ascontiguousarray(values.transpose(2, 1, 0)).view(np.float16)[..., 0]
        if values.dtype == np.uint8 else values
        for name, values in stored.items()
    }  # fmt: skip


def _tensors(raw: bytes) -> dict[str, NDArray[Any]]:
    """Read safetensors; raises ValueError where they are not valid."""
    try:
        found: dict[str, NDArray[Any]] = load(raw)
        return found
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _small(values: Classes) -> Classes:
    """Convert integers to the smallest type that holds them; other numbers stay as they are."""
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    packed: Classes = np.ascontiguousarray(
        values.astype(np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high)))
    )
    return packed


def _large(values: Classes) -> Classes:
    """Undo `_small`."""
    return values if values.dtype.kind == "f" else values.astype("int64")


def read_predictions(file: Path) -> Mapping[str, list[RunPredictions]]:
    """Return the predictions by run.

    Raises:
        KeyError, ValueError, EOFError, LZMAError: the file is not valid.
    """
    raw = _unpacked(file)
    tensors = _tensors(raw)
    # the header holds the index: the runs of each matrix
    size = int.from_bytes(raw[:8], "little")
    found: dict[str, list[RunPredictions]] = {}
    for i, group in enumerate(json.loads(json.loads(raw[8 : 8 + size])["__metadata__"][INDEX])):
        labels, classes = (_large(tensors[f"{i}/{kind}"]) for kind in ("labels", "classes"))
        for run, column in zip(group["runs"], classes.T, strict=True):
            found.setdefault(run, []).append(RunPredictions(run, group["split"], np.ascontiguousarray(column), labels))
    return found
