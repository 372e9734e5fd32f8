"""Find the splits of a data set by the names of files, of a folder's parts, or of a JSON file's lists."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.data.declaration import TEST, TRAIN, VALIDATION
from kdbench.data.files.class_folders import class_folders
from kdbench.data.files.open_source import SUFFIXES, Source
from kdbench.data.files.source import HUB, PART, suffix_of
from kdbench.data.files.structured import dataset_parts, load_from_hub

NAMES = {
    TRAIN: ("train", "training", "trn"),
    VALIDATION: ("validation", "valid", "val", "dev", "development"),
    TEST: ("test", "testing", "tst"),
}
SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(SPLIT_OF)})(?![A-Za-z])", re.IGNORECASE)
TEXTS, LABELS = ("text", "texts", "sentences"), ("labels", "label")  # in names of files with a line a row
MOST_READ = 1 << 28  # bytes of a JSON file that is read for the names of its lists


def find_splits(data: str, folder: Path) -> dict[str, Source]:
    """Find the sources of train, and of validation and test where there are such.

    Args:
        data: a file, a folder, or a data set of the hub (`hf:OWNER/NAME@REVISION:CONFIG`).
        folder: where a relative path begins.

    Returns:
        split -> source. One file without a split in its name is `train`.

    Raises:
        UserError: there is no such file, or nothing in it is called train.
    """
    if data.startswith(HUB):
        return _of_parts(data, list(load_from_hub(data)))
    path = folder / data
    if path.is_dir():
        parts = dataset_parts(path)
        return _of_parts(data, parts) if parts else _of_files(data, path)
    if not path.is_file():
        raise UserError(f"There is no file or folder '{data}'; check the path.")
    if path.suffix.lower() == ".json" and path.stat().st_size < MOST_READ and (parts := _json_parts(path)):
        return _of_parts(data, parts)
    return _beside(data, path)


def _of_parts(data: str, parts: Sequence[str]) -> dict[str, Source]:
    """Choose among named parts; other parts are not read."""
    found: dict[str, Source] = {}
    for part in parts:
        split = SPLIT_OF.get(part.lower())
        if split and split not in found:
            found[split] = f"{data}{PART}{part}"
    if TRAIN not in found:
        raise UserError(
            f"{data} has no part called train (found: {', '.join(parts) or 'none'}); name one: {data}{PART}PART."
        )
    return found


def _json_parts(path: Path) -> list[str]:
    """Return the names of the lists of rows in a JSON file; [] where it is one list or a table of columns."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):  # whoever reads the rows says so
        return []
    if not isinstance(value, Mapping) or not any(str(key).lower() in SPLIT_OF for key in value):
        return []
    return [str(key) for key, rows in value.items() if isinstance(rows, list)]


def _of_files(data: str, path: Path) -> dict[str, Source]:
    """Find the files of splits in a folder, or its subfolders of splits or of classes."""
    of_classes = {
        SPLIT_OF[folder.name.lower()]: f"{data.rstrip('/')}/{folder.name}"
        for folder in sorted(path.iterdir()) if folder.name.lower() in SPLIT_OF and class_folders(folder)
    }  # fmt: skip
    if TRAIN in of_classes:
        return dict(of_classes)
    known = [file for file in sorted(path.iterdir()) if file.is_file() and suffix_of(file) in SUFFIXES]
    for file in known:
        is_labels = file.suffix == ".txt" and any(label in file.name for label in LABELS)  # those of another file
        if _split_in(file.name) == TRAIN and not is_labels:
            return _beside(f"{data.rstrip('/')}/{file.name}", file)
    if class_folders(path):
        return {TRAIN: data}
    if len(known) == 1:
        return _beside(f"{data.rstrip('/')}/{known[0].name}", known[0])
    names = ", ".join(file.name for file in known[:8])
    raise UserError(
        f"{data} holds no file with train in its name (found: {names or 'no data'}), and no subfolder of text files "
        "for each class; give a file by --data."
    )


def _beside(data: str, path: Path) -> dict[str, Source]:
    """Find the files beside one whose names differ from it in the word for the split."""
    if _split_in(path.name) != TRAIN:
        return {TRAIN: _with_labels(data, path)}
    found: dict[str, Source] = {}
    for split, names in NAMES.items():
        for name in names:
            other = path.with_name(WORD.sub(_like(name), path.name, count=1))
            if other.is_file() and split not in found:
                found[split] = _with_labels(f"{data[: len(data) - len(path.name)]}{other.name}", other)
    return found


def _like(name: str) -> Any:
    """Return a substitution that keeps capitals: TRAIN becomes TEST."""
    return lambda match: name.upper() if match[0].isupper() else name.title() if match[0][0].isupper() else name


def _split_in(name: str) -> str:
    match = WORD.search(name)
    return SPLIT_OF[match[1].lower()] if match else ""


def _with_labels(data: str, path: Path) -> Source:
    """Return a file of texts together with the file of its labels, if such a file is beside it."""
    for text in TEXTS:
        for label in LABELS:
            other = path.name.replace(text, label)
            if other != path.name and path.suffix == ".txt" and path.with_name(other).is_file():
                return {"text": data, "label": f"{data[: len(data) - len(path.name)]}{other}"}
    return data
