"""Read a folder that has a subfolder for each class, and in it a text file for each example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdbench.data.files.source import FileFormat, Row, RowSource
from kdbench.data.files.text_lines import open_lines

COLUMNS = ("text", "label")
TEXTS = ("", ".txt", ".text")  # suffixes


def class_folders(path: Path) -> list[Path]:
    """Return the subfolders that hold files, in order; [] unless there are two or more."""
    if not path.is_dir():
        return []
    inside = (each for each in sorted(path.iterdir()) if each.is_dir() and not each.name.startswith((".", "__")))
    found = [each for each in inside if next(_texts(each), None)]
    return found if len(found) > 1 else []


def class_folder_rows(path: Path, form: FileFormat) -> RowSource:
    """Return a row for each file: its whole text, and the name of its folder as the label.

    Rows are in the order of the files' names and then of their classes, so that the first rows have several classes.

    Raises:
        UserError: while rows are read, a file is not in the expected encoding.
    """
    files = sorted((file.name, folder.name) for folder in class_folders(path) for file in _texts(folder))

    def read() -> Iterator[Row]:
        for number, (name, label) in enumerate(files, 1):
            with open_lines(path / label / name, form.encoding) as lines:
                yield number, dict(zip(COLUMNS, ("".join(lines), label), strict=True))

    return RowSource(str(path), "file", COLUMNS, read)


def _texts(folder: Path) -> Iterator[Path]:
    """Yield the files of a class, which end in .txt or in nothing; hidden ones are not of the data."""
    return (
        file for file in folder.iterdir()
        if file.is_file() and not file.name.startswith(".") and file.suffix.lower() in TEXTS
    )  # fmt: skip
