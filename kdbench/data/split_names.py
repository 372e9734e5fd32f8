"""Words for splits in the names of files, folders and columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kdbench.data.declaration import TEST, TRAIN, VALIDATION
from kdbench.data.files.source import SUFFIXES, is_gzip, suffix_of

NAMES = {
    TRAIN: ("train", "training", "trn"),
    VALIDATION: ("validation", "valid", "val", "dev", "devel", "development", "eval", "evaluation"),
    TEST: ("test", "testing", "tst"),
}
SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(SPLIT_OF)})(?![A-Za-z])", re.IGNORECASE)
LABELS = re.compile(r"(?<![A-Za-z])labels?(?![A-Za-z])", re.IGNORECASE)  # in names of files with a label a line
SHARD = re.compile(r"-\d+-of-\d+")  # of a table that was written as several files
NUMBER = re.compile(r"(?<![A-Za-z])\d+")  # of a part, and no version as in v2


def word_of(name: str) -> str:
    """Return the word for a split in a name, in small letters; "" where there is none."""
    match = WORD.search(name)
    return match[1].lower() if match else ""


def split_of(name: str) -> str:
    """Return the split that a name speaks of; "" where it speaks of none."""
    return SPLIT_OF.get(word_of(name), "")


def rest_of(path: Path) -> str:
    """Return what is left of a name without the word for the split, the format and the number of a shard."""
    suffix = "" if path.is_dir() else "".join(path.suffixes[-2:] if is_gzip(path) else path.suffixes[-1:])
    return WORD.sub("", SHARD.sub("", path.name.removesuffix(suffix)), count=1).lower().strip("._- ")


def holds_rows(path: Path) -> bool:
    """Return whether a file's name says that it holds rows: by its format, or a split in its place as in TREC.train."""
    return suffix_of(path) in SUFFIXES or suffix_of(path)[1:] in SPLIT_OF


def files_of_split(files: Sequence[Path], split: str) -> list[Path]:
    """Return the files whose names speak of a split, in the order of its words; no labels of other files."""
    texts = [file for file in files if file.suffix != ".txt" or not LABELS.search(file.name)]
    some = [file for file in texts if split_of(file.name) == split]
    return sorted(some, key=lambda file: (NAMES[split].index(word_of(file.name)), file.name))
