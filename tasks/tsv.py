"""Read the tab-separated files of the classic GLUE layout, with all text unchanged.

The files have no quoting rule and no missing values: a quotation mark is text, and so is "n/a".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.data.task import Examples

Columns = tuple[str, str | None, str]  # header names of the first text, the second text (None: one text), the label

_WAY_OUT = "download the file again, or try made data with --preset tiny"


def folder(root: Path, name: str) -> Path:
    """Return the task folder `name` in the GLUE folder `root`.

    Raises:
        UserError: either folder does not exist.
    """
    if not root.is_dir():
        raise UserError(f"The GLUE folder {root} does not exist: name an existing one with --glue-dir DIR.")
    if not (root / name).is_dir():
        found = ", ".join(sorted(entry.name for entry in root.iterdir() if entry.is_dir())) or "no folders"
        raise UserError(
            f"{root} holds no folder {name} (it holds {found}): put the task's files there in the classic layout, "
            "or name another folder with --glue-dir DIR."
        )
    return root / name


def read(
    path: Path, columns: Columns, label_words: Sequence[str], broken_rows: int = 0, header: Sequence[str] = (),
    limits: tuple[float, float] = (0.0, 0.0),
) -> Examples:  # fmt: skip
    """Read a labelled split.

    Args:
        path: a UTF-8 file (a byte-order mark is skipped) whose first line names the columns.
        columns: the columns to read.
        label_words: the classes as written in the file, in class order; () for numbers within `limits`.
        broken_rows: largest number of rows with too few columns that are skipped.
        header: the names of the columns, where the first line is a row.

    Raises:
        UserError: the file is missing, empty or malformed; names the file, the line and what was expected.
    """
    classes = {word: index for index, word in enumerate(label_words)}
    valid = ", ".join(label_words) or f"a number from {limits[0]:g} to {limits[1]:g}"
    rows: list[tuple[list[str], Any]] = []
    for number, cells in _cells(path, columns, broken_rows, header):
        label = classes.get(cells[-1]) if classes else _number(cells[-1], limits)
        if label is None:
            raise UserError(
                f"{path}, line {number}: '{cells[-1]}' is no label of column '{columns[2]}' "
                f"(valid: {valid}); {_WAY_OUT}."
            )
        rows.append((cells, label))
    second = None if columns[1] is None else [cells[1] for cells, _ in rows]
    return Examples([cells[0] for cells, _ in rows], second, [label for _, label in rows])


def _number(text: str, limits: tuple[float, float]) -> float | None:
    """Return the number within `limits` that a text is; None where it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if limits[0] <= value <= limits[1] else None


def read_unlabelled(path: Path, columns: Columns, index: str) -> Examples:
    """Read a test split. Its column `index`, by which a server finds predictions, must count the rows from 0.

    Raises:
        UserError: as `read`, or the rows are not in order.
    """
    rows: list[list[str]] = []
    for number, cells in _cells(path, (*columns[:2], index)):
        if cells[-1] != str(len(rows)):
            raise UserError(
                f"{path}, line {number}: expected {len(rows)} in column '{index}', found '{cells[-1]}'; {_WAY_OUT}."
            )
        rows.append(cells)
    second = None if columns[1] is None else [cells[1] for cells in rows]
    return Examples([cells[0] for cells in rows], second, [-1] * len(rows))


def _cells(
    path: Path, columns: Columns, broken_rows: int = 0, names: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:  # fmt: skip
    """Yield the line number (from 1) and the cells of `columns` of every row.

    Raises:
        UserError: the file is malformed or has no rows.
    """
    lines = _lines(path)
    header = list(names) or lines[0].split("\t")
    places = [_place(path, header, column) for column in columns if column is not None]
    empty = True
    for number, row in _rows(path, lines, len(header), broken_rows, first=0 if names else 1):
        empty = False
        yield number, [row[place] for place in places]
    if empty:
        raise UserError(f"{path} holds a header but no rows; {_WAY_OUT}.")


def _lines(path: Path) -> list[str]:
    """Read the lines of a file without their ends (line feed, or carriage return and line feed)."""
    if not path.is_file():
        raise UserError(f"{path} is missing: put the task's file there, or name another folder with --glue-dir DIR.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: expected UTF-8 text; convert the file to UTF-8.") from error
    if not text.strip():
        raise UserError(f"{path} is empty: expected a header line and rows; {_WAY_OUT}.")
    # str.splitlines would also split at rarer separators, which occur within texts
    return [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]


def _place(path: Path, header: list[str], column: str) -> int:
    if column not in header:
        raise UserError(
            f"{path}, line 1: expected a column '{column}' in the header (found: {', '.join(header)}); {_WAY_OUT}."
        )
    return header.index(column)


def _rows(
    path: Path, lines: list[str], width: int, broken_rows: int, *, first: int
) -> Iterator[tuple[int, list[str]]]:  # fmt: skip
    """Yield the line number (from 1) and the cells of every row from the line `first` (from 0) on."""
    for number, line in enumerate(lines[first:], start=first + 1):
        cells = line.split("\t")
        if len(cells) < width and broken_rows > 0:
            broken_rows -= 1
        elif len(cells) != width:
            raise UserError(
                f"{path}, line {number}: expected {width} tab-separated columns as in the header, "
                f"found {len(cells)}; {_WAY_OUT}."
            )
        else:
            yield number, cells
