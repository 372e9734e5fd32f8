"""Find the splits of a data set by the names of files and folders, or of the parts of one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.data.declaration import TEST, TRAIN, VALIDATION
from kdbench.data.files.class_folders import class_folders
from kdbench.data.files.json_files import json_parts
from kdbench.data.files.open_source import Source
from kdbench.data.files.source import HUB, PART, SUFFIXES, is_gzip, split_part, suffix_of
from kdbench.data.files.structured import dataset_parts, is_saved, load_from_hub

NAMES = {
    TRAIN: ("train", "training", "trn"),
    VALIDATION: ("validation", "valid", "val", "dev", "devel", "development", "eval", "evaluation"),
    TEST: ("test", "testing", "tst"),
}
SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(SPLIT_OF)})(?![A-Za-z])", re.IGNORECASE)
TEXTS, LABELS = ("text", "texts", "sentences", "seq.in"), ("labels", "label")  # in names of files with a line a row
SHARD = re.compile(r"-\d+-of-\d+")  # of a table that was written as several files
NUMBER = re.compile(r"\d+")
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
    inside = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    folders = {SPLIT_OF.get(each.name.lower(), ""): each for each in inside if each.is_dir()}
    if is_saved(path):
        return _beside(data, path)
    if TRAIN in folders:
        return {split: _of_split(f"{data}/{each.name}", each) for split, each in folders.items() if split}
    known = [each for each in inside if each.is_file() and suffix_of(each) in SUFFIXES]
    of_train = _of_name(known, TRAIN)
    if of_train:
        train = _one_table(data, of_train)
        found = {TRAIN: train}
        for split in (VALIDATION, TEST):
            some = _of_name(known, split)
            some = [file for file in some if _key(file) == _key(train[0])] or some
            if some and _are_one(plain := _plain(some)):
                found[split] = plain
        return {split: _sources(data, files) for split, files in found.items()}
    if class_folders(path):
        return _beside(data, path)
    if known:
        return {TRAIN: _sources(data, _one_table(data, known))}
    if len(folders) == 1:  # an archive often has a folder of its own within the one that it was unpacked in
        return find_splits(f"{data}/{next(iter(folders.values())).name}", folder, encoding)
    raise UserError(
        f"{data} holds no file with train in its name (found: no data), and no subfolder of text files for each class; "
        "give a file by --data."
    )


def _of_split(data: str, path: Path) -> Sources:
    """Return what a folder of one split holds: classes, a saved data set, texts with labels, or files of rows."""
    if class_folders(path) or is_saved(path):
        return data
    inside = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    names = {each.name for each in inside}
    for text, label in ((text, label) for text in TEXTS for label in LABELS):
        if {text, label} <= names:
            return {"text": f"{data}/{text}", "label": f"{data}/{label}"}
    known = [each for each in inside if suffix_of(each) in SUFFIXES]
    if not known:
        raise UserError(f"{data} holds no file of rows; give files that end in {', '.join(SUFFIXES)} by --data.")
    return _sources(data, _one_table(data, known))


def _beside(data: str, path: Path) -> dict[str, Sources]:
    """Find what lies beside a file or folder and differs from it in the word for the split, or in the format too."""
    if _split_in(path.name) != TRAIN or not data.endswith(path.name):
        return {TRAIN: _with_labels(data, path)}
    parent = data[: len(data) - len(path.name)].rstrip("/") or ("/" if data.startswith("/") else "")
    alike = [
        each for each in sorted(path.parent.iterdir()) if each.is_dir() == path.is_dir() and _key(each) == _key(path)
    ]
    found: dict[str, Sources] = {}
    for split in NAMES:
        some = _of_name(alike, split)
        some = [each for each in some if suffix_of(each) == suffix_of(path)] or some
        # validation and dev may both be there, and so may train and training
        some = [path] if split == TRAIN and not SHARD.search(path.name) else some
        some = some if all(SHARD.search(each.name) for each in some) else some[:1]
        if some:
            found[split] = _sources(parent, some)
    return found


def _of_name(files: Sequence[Path], split: str) -> list[Path]:
    """Return the files whose names have a word for a split, in the order of these words; no labels of other files."""
    texts = [file for file in files if file.suffix != ".txt" or not any(label in file.name for label in LABELS)]
    some = [file for file in texts if _split_in(file.name) == split]
    return sorted(some, key=lambda file: (NAMES[split].index(_word(file.name)), file.name))


def _one_table(data: str, files: Sequence[Path]) -> list[Path]:
    """Return the one file that is meant, or the parts of one, whose names differ in numbers alone, in their order.

    Raises:
        UserError: several files could be meant.
    """
    found = _plain(files)
    if not _are_one(found):
        names = ", ".join(file.name for file in found[:8])
        raise UserError(f"{data}: several files could be read ({names}); give one of them by --data.")
    return found


def _plain(files: Sequence[Path]) -> list[Path]:
    """Return the file that has no other word in its name than that of the split, else all in the order of numbers."""
    plain = [file for file in files if _key(file) == "" and not SHARD.search(file.name)]
    return plain[:1] if plain else sorted(files, key=lambda file: [int(one) for one in NUMBER.findall(file.name)])


def _are_one(files: Sequence[Path]) -> bool:
    return len({NUMBER.sub("0", file.name) for file in files}) == 1


def _key(path: Path) -> str:
    """Return what is left of a name without the word for the split, the format and the number of a shard."""
    name = (
        path.name
        if path.is_dir()
        else path.name[: -len("".join(path.suffixes[-2:] if is_gzip(path) else [path.suffix]))]
    )
    return WORD.sub("", SHARD.sub("", name or path.name), count=1).lower().strip("._- ")


def _word(name: str) -> str:
    match = WORD.search(name)
    return match[1].lower() if match else ""


def _split_in(name: str) -> str:
    return SPLIT_OF.get(_word(name), "")


def _sources(parent: str, files: Sequence[Path]) -> Sources:
    start = parent if parent in ("", "/") else f"{parent}/"
    found = [_with_labels(f"{start}{file.name}", file) for file in files]
    return found if len(found) > 1 else found[0]


def _with_labels(data: str, path: Path) -> Source:
    """Return a file of texts together with the file of its labels, if such a file is beside it."""
    for text in TEXTS:
        for label in LABELS:
            other = path.name.replace(text, label)
            if other != path.name and path.suffix == ".txt" and path.with_name(other).is_file():
                return {"text": data, "label": f"{data[: len(data) - len(path.name)]}{other}"}
    return data
