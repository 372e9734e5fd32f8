"""Find the splits of a data set by the names of files and folders, or of the parts of one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.data.declaration import TEST, TRAIN, VALIDATION
from kdbench.data.files.class_folders import class_folders
from kdbench.data.files.json_files import json_parts
from kdbench.data.files.open_source import Source
from kdbench.data.files.source import HUB, PART, SUFFIXES, split_part, suffix_of
from kdbench.data.files.structured import dataset_parts, is_saved, load_from_hub
from kdbench.data.split_names import NAMES, NUMBER, SHARD, SPLIT_OF, files_of_split, holds_rows, rest_of, split_of

TEXTS, LABELS = ("text", "texts", "sentences", "seq.in"), ("labels", "label")  # in names of files with a line a row
MOST_READ = 1 << 28  # bytes of a JSON file that is read for the names of its parts
Sources = Source | list[Source]


def find_splits(data: str, folder: Path, encoding: str = "utf-8") -> dict[str, Sources]:
    """Find the sources of train, and of validation and test where there are such.

    Args:
        data: a file, FILE#PART, a folder, or a data set of the hub (`hf:OWNER/NAME@REVISION:CONFIG`).
        folder: where a relative path begins.

    Returns:
        split -> source, or several sources that are read one after the other. One file without a split in its name is
        `train`.

    Raises:
        UserError: there is no such file, nothing in it is called train, or several files could be.
    """
    if data.startswith(HUB):
        return {TRAIN: data} if PART in data else _of_parts(data, list(load_from_hub(data)))
    path, part = split_part(data, folder)
    if part and path.exists():
        return {TRAIN: data}
    if path.is_dir():
        parts = dataset_parts(path)
        return _of_parts(data, parts) if parts else _of_folder(data.rstrip("/"), folder, encoding)
    if not path.is_file():
        reads = "; give a file of this machine, or hf:OWNER/NAME for a data set of the hub" if "://" in data else ""
        raise UserError(f"There is no file or folder '{data}'{reads or '; check the path'}.")
    is_json = suffix_of(path) == ".json" and path.stat().st_size < MOST_READ
    parts = json_parts(path, encoding) if is_json else []
    return _of_parts(data, parts) if any(part.lower() in SPLIT_OF for part in parts) else _beside(data, path)


def _of_parts(data: str, parts: Sequence[str]) -> dict[str, Sources]:
    """Choose among named parts; other parts are not read."""
    found: dict[str, Sources] = {}
    for part in parts:
        split = SPLIT_OF.get(part.lower())
        if split and split not in found:
            found[split] = f"{data}{PART}{part}"
    if TRAIN not in found:
        raise UserError(
            f"{data} has no part called train (found: {', '.join(parts) or 'none'}); name one: {data}{PART}PART."
        )
    return found


def _of_folder(data: str, folder: Path, encoding: str) -> dict[str, Sources]:
    """Find the splits in a folder: files, or subfolders of splits or of classes."""
    path = folder / data
    inside = sorted(each for each in path.iterdir() if not each.name.startswith((".", "__")))
    folders = [each for each in inside if each.is_dir()]
    of_splits = {SPLIT_OF[each.name.lower()]: each for each in folders if each.name.lower() in SPLIT_OF}
    if TRAIN in of_splits:
        return {split: _of_split(_join(data, each.name), each) for split, each in of_splits.items()}
    files = [each for each in inside if each.is_file()]
    known = [each for each in files if holds_rows(each)]
    if files_of_split(known, TRAIN):
        return _of_files(data, known)
    if is_saved(path) or class_folders(path) or (split_of(path.name) == TRAIN and known):
        return _beside(data, path)
    if others := [file.name for file in known if split_of(file.name)]:
        names = ", ".join(others)
        raise UserError(f"{data} holds no file with train in its name (found: {names}); give a file by --data.")
    if len(known or files) == 1:
        return find_splits(_join(data, (known or files)[0].name), folder, encoding)
    if known:
        return {TRAIN: _sources(data, _one_table(data, known))}
    if len(folders) == 1 and not files:  # an archive often has a folder of its own within that of its name
        return find_splits(_join(data, folders[0].name), folder, encoding)
    names = ", ".join(each.name for each in inside[:8]) or "nothing"
    raise UserError(
        f"{data} holds no file with train in its name (found: {names}), and no subfolder of text files for each class; "
        "give a file by --data."
    )


def _of_files(data: str, known: Sequence[Path]) -> dict[str, Sources]:
    """Find the splits among files, of which some have train in their names."""
    train = _one_table(data, files_of_split(known, TRAIN))
    rest = NUMBER.sub("", rest_of(train[0])) if len(train) > 1 else rest_of(train[0])
    found = {TRAIN: _sources(data, train)}
    for split in (VALIDATION, TEST):
        some = files_of_split(known, split)
        alike = [file for file in some if NUMBER.sub("", rest_of(file)) == rest or rest_of(file) == rest]
        # two names for one split, such as dev_matched and dev_mismatched, are read one after the other
        some = _in_order(alike or some)
        if len(train) > 1 and len(some) > 1 and not all(SHARD.search(file.name) for file in (*train, *some)):
            names = ", ".join(file.name for file in (*train, *some)[:8])
            raise UserError(
                f"{data}: files may be parts or folds ({names}); give those of one fold by --data and --test, or name "
                "the parts in a declaration (kdbench new-task FILE writes one)."
            )
        if some:
            found[split] = _sources(data, some)
    return found


def _of_split(data: str, path: Path) -> Sources:
    """Return what a folder of one split holds: classes, a saved data set, texts with labels, or files of rows."""
    if class_folders(path) or is_saved(path):
        return data
    inside = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    names = {each.name for each in inside}
    for text, label in ((text, label) for text in TEXTS for label in LABELS):
        if {text, label} <= names:
            return {"text": f"{data}/{text}", "label": f"{data}/{label}"}
    known = [each for each in inside if holds_rows(each)]
    if not known:
        raise UserError(f"{data} holds no file of rows; give files that end in {', '.join(SUFFIXES)} by --data.")
    return _sources(data, _one_table(data, known))


def _beside(data: str, path: Path) -> dict[str, Sources]:
    """Find what lies beside a file or folder and differs from it in the word for the split, or in the format too."""
    if split_of(path.name) != TRAIN or not data.endswith(path.name):
        return {TRAIN: _of_split(data, path) if path.is_dir() else _with_labels(data, path)}
    parent = data[: len(data) - len(path.name)].rstrip("/") or ("/" if data.startswith("/") else "")
    alike = [each for each in sorted(path.parent.iterdir()) if each.is_dir() == path.is_dir()]
    alike = [each for each in alike if rest_of(each) == rest_of(path) and (each.is_dir() or holds_rows(each))]
    found: dict[str, Sources] = {}
    for split in NAMES:
        some = files_of_split(alike, split)
        some = [each for each in some if suffix_of(each) == suffix_of(path)] or some
        # validation and dev may both be there, and so may train and training
        some = [path] if split == TRAIN and not SHARD.search(path.name) else some
        some = some if all(SHARD.search(each.name) for each in some) else some[:1]
        if some and path.is_dir():
            found[split] = _of_split(_join(parent, some[0].name), some[0])
        elif some:
            found[split] = _sources(parent, some)
    return found


def _one_table(data: str, files: Sequence[Path]) -> list[Path]:
    """Return the one file that is meant, or the parts of one, whose names differ in numbers alone, in their order.

    Raises:
        UserError: several files could be meant.
    """
    found = _in_order(files)
    if len({NUMBER.sub("0", file.name) for file in found}) > 1:
        names = ", ".join(file.name for file in found[:8])
        raise UserError(f"{data}: several files could be read ({names}); give one of them by --data.")
    return found


def _in_order(files: Sequence[Path]) -> list[Path]:
    """Return the file that has no other word in its name than that of the split, else all in the order of numbers."""
    plain = [file for file in files if rest_of(file) == "" and not SHARD.search(file.name)]
    return plain[:1] if plain else sorted(files, key=lambda file: [int(one) for one in NUMBER.findall(file.name)])


def _join(parent: str, name: str) -> str:
    return name if parent in ("", ".") else f"{parent.rstrip('/')}/{name}"


def _sources(parent: str, files: Sequence[Path]) -> Sources:
    found = [_with_labels(_join(parent, file.name) if parent != "/" else f"/{file.name}", file) for file in files]
    return found if len(found) > 1 else found[0]


def _with_labels(data: str, path: Path) -> Source:
    """Return a file of texts together with the file of its labels, if such a file is beside it."""
    for text in TEXTS:
        for label in LABELS:
            other = path.name.replace(text, label)
            if other != path.name and path.suffix == ".txt" and path.with_name(other).is_file():
                return {"text": data, "label": f"{data[: len(data) - len(path.name)]}{other}"}
    return data
