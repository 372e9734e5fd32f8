"""Read the rows of a declared task: its columns, labels and splits, with file and line in every message."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.column_sample import DECIMAL_COMMA
from kdbench.data.data_checks import plain_name
from kdbench.data.declaration import HELD_OUT, TRAIN, Declaration
from kdbench.data.files.open_source import open_source
from kdbench.data.files.source import RowSource, file_names, files_of, plain_value
from kdbench.data.task import Examples

LARGEST = 2 << 30  # bytes of a split's files that are read whole
MOST_CLASSES = 1000
SHOWN = 8  # classes that a message names
SAME_COLUMNS = "; every split has the same columns: rename those of this file, or choose others as text and label"
HOLD_OUT, SUBSET = "hold out", "subset"  # what a hash decides; each has hashes of its own


@dataclass(frozen=True)
class LabelledRow:
    """A row of a split: its texts (the second is None without pairs), its label as a word, and its place."""

    texts: tuple[str, str | None]
    label: str
    place: str


@dataclass(frozen=True)
class DeclaredData:
    """Hold the content of a declared task's sources.

    Attributes:
        labels: the names of the classes; of a regression, that of its number.
        splits: all splits, with the one that is held out for the report where none is declared.
    """

    labels: tuple[str, ...]
    splits: Mapping[str, Examples]


def read_declared(declaration: Declaration, folder: Path) -> DeclaredData:
    """Read all splits of a declared task.

    Args:
        folder: where relative paths begin.

    Raises:
        UserError: a source cannot be read, a row has no text or label, train lacks a class, or there is one class only.
    """
    # rows of every split
    rows = {split: read_split_rows(declaration, split, folder) for split in declaration.splits}
    if not rows[TRAIN]:
        files = ", ".join(name for source in declaration.train for name in file_names(source))
        dropped = " that drop_labels leaves" if declaration.drop_labels else ""
        raise UserError(f"{files}: train has no row{dropped}; give a file with a row an example.")
    labels = declaration.class_names
    if declaration.kind == "regression":
        if HELD_OUT in declaration.report_splits:
            rows[TRAIN], rows[HELD_OUT] = _hold_out(rows[TRAIN], declaration.holdout, lambda row: "")
        if len({row.label for row in rows[TRAIN]}) < 2:
            raise UserError(
                f"All rows of train have the same '{declaration.label}', so that there is nothing to learn."
            )
        return DeclaredData(labels, {split: as_examples(some, float) for split, some in rows.items()})
    # their classes
    written = declaration.written
    if not labels:
        found = open_source(declaration.train[0], folder, declaration.form)
        written = _classes_of_train(declaration, rows[TRAIN], found.class_names.get(declaration.label, ()))
        labels = tuple(written)
    # a share of train for the report, where no split is declared for that
    if HELD_OUT in declaration.report_splits:
        rows[TRAIN], rows[HELD_OUT] = _hold_out(rows[TRAIN], declaration.holdout)
    _check_classes(declaration, labels, written, rows)
    return DeclaredData(labels, {split: as_examples(some, written.__getitem__) for split, some in rows.items()})


def hash_share(row: LabelledRow, purpose: str) -> float:
    """Return a number between 0 and 1 that depends on the texts and the purpose alone, uniform over texts."""
    digest = hashlib.sha256("\0".join([purpose, row.texts[0], row.texts[1] or ""]).encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big") / 2**64


def read_split_rows(declaration: Declaration, split: str, folder: Path) -> list[LabelledRow]:
    """Read a split, or, with max_rows, those of its rows whose hashes are smallest, in their order."""
    if not declaration.max_rows:
        _check_size(declaration, split, folder)
        return list(_rows(declaration, split, folder))
    numbered = enumerate(_rows(declaration, split, folder))
    kept = heapq.nsmallest(declaration.max_rows, numbered, key=lambda item: (hash_share(item[1], SUBSET), item[0]))
    return [row for _, row in sorted(kept, key=lambda item: item[0])]


def _check_size(declaration: Declaration, split: str, folder: Path) -> None:
    files = [path for source in declaration.sources(split) for path in files_of(source, folder)]
    size = sum(path.stat().st_size for path in files)
    if size > LARGEST:
        raise UserError(
            f"{', '.join(map(str, files))}: {size / 2**30:.1f} GB, too much to be read as a whole; set max_rows in the "
            "task's declaration, such as max_rows = 1000000: the file is read as a stream, and so many rows are kept."
        )


def _rows(declaration: Declaration, split: str, folder: Path) -> Iterator[LabelledRow]:
    """Yield the rows of a split, source by source."""
    dropped = _dropped_labels(declaration)
    for source in declaration.sources(split):
        found = open_source(source, folder, declaration.form)
        found.require([*declaration.text, declaration.label], SAME_COLUMNS)
        names = found.class_names.get(declaration.label, ())
        kinds: dict[bool, int] = {}  # whether a label is a number -> the first row in which it is
        for number, values in found:
            value = plain_value(values.get(declaration.label))
            if str(value) in dropped:
                continue
            if declaration.kind == "regression":
                label = _number(found, number, value)
            else:
                label = _label(found, number, declaration.label, value, names, kinds)
            if label in dropped:
                continue
            texts = [_text(found, number, column, values.get(column)) for column in declaration.text]
            yield LabelledRow((texts[0], texts[1] if len(texts) > 1 else None), label, found.at(number))


def _dropped_labels(declaration: Declaration) -> set[str]:
    """Return the labels whose rows are left out, as they are declared and, of a regression, as `_number` writes them.

    So -1 leaves out the rows in which a file has -1.0, too.
    """
    dropped = set(declaration.drop_labels)
    if declaration.kind == "regression":
        for word in declaration.drop_labels:
            with suppress(ValueError):  # a word such as n/a stands as it is
                dropped.add(repr(float(word)))
    return dropped


def _label(
    found: RowSource, number: int, column: str, value: Any, names: Sequence[str], kinds: dict[bool, int]
) -> str:  # fmt: skip
    """Return a label as a word: whole numbers without a fraction, class numbers by the names that the file gives."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, list | tuple | Mapping | bytes):
        what = "several labels" if isinstance(value, list | tuple) else "no word and no number"
        raise UserError(
            f"{found.at(number)}: the column '{column}' holds {what} ({str(value)[:60]}), and a row has one class "
            "here; write one label, leave such rows out, or choose another column as label."
        )
    # a number that a list of classes does not name stands for no label, as on the hub's test splits
    is_lacking = (isinstance(value, float) and math.isnan(value)) or (is_number and value == -1 and bool(names))
    if value is None or str(value).strip() == "" or is_lacking:
        raise UserError(
            f"{found.at(number)}: no label; training and reported splits need one in every row. Leave the row out, or "
            "name a split whose rows are labelled."
        )
    other = kinds.get(not is_number)
    if other is not None:
        here, there = ("a number", "a word") if is_number else ("a word", "a number")
        raise UserError(
            f"{found.at(number)}: the label is {here} ({value!r}), but {there} in {found.unit} {other:,}; write all "
            "labels in one way."
        )
    kinds.setdefault(is_number, number)
    if not str(value).isascii() and any("\ud800" <= letter <= "\udfff" for letter in str(value)):
        raise UserError(f"{found.at(number)}: the label {value!r} holds half a character; correct it.")
    if not is_number:
        return str(value).lower() if isinstance(value, bool) else str(value).strip()
    if isinstance(value, float) and not value.is_integer():
        raise UserError(
            f"{found.at(number)}: the label {value} is no whole number, so it is no class; declare kind = "
            '"regression" to predict numbers, or choose another column as label.'
        )
    return names[int(value)] if 0 <= int(value) < len(names) else str(int(value))


def _number(found: RowSource, number: int, value: Any) -> str:
    """Return the label of a regression as a word, from which float() gives the same number."""
    try:
        read = float(value)
    except (TypeError, ValueError):
        read = math.nan
    # float() reads 1_5 as 15
    if isinstance(value, bool) or "_" in str(value) or not math.isfinite(read):
        comma = ", with a point for a decimal comma" if DECIMAL_COMMA.fullmatch(str(value)) else ""
        raise UserError(
            f"{found.at(number)}: the label {value!r} is no finite number, and the kind is regression; correct the "
            f"row{comma}, or leave it out with drop_labels in a declaration, tasks/NAME.toml."
        )
    return repr(read)


def _text(found: RowSource, number: int, column: str, value: Any) -> str:
    value = plain_value(value) if isinstance(value, bytes) else value
    is_lacking = value is None or (isinstance(value, float) and math.isnan(value))  # NaN is how pandas says None
    if is_lacking or isinstance(value, list | tuple | Mapping | bytes):
        bytes_or_list = "bytes that are no UTF-8" if isinstance(value, bytes) else "a list or an object"
        what = "nothing" if is_lacking else bytes_or_list
        raise UserError(
            f"{found.at(number)}: the column '{column}' holds {what} where a text is expected; correct the row, or "
            "choose another column as text."
        )
    return str(value)


def _classes_of_train(
    declaration: Declaration, rows: Sequence[LabelledRow], names: Sequence[str]
) -> dict[str, int]:  # fmt: skip
    """Return the classes that occur in train, in the file's own order if it has one, else that of numbers or words.

    Args:
        names: all classes in the order in which the file lists them; () where it does not.
    """
    words = {row.label for row in rows}
    if len(words) > MOST_CLASSES or (len(words) > 50 and len(words) > len(rows) / 2):
        raise UserError(
            f"The column '{declaration.label}' has {count(len(words), 'different value')} in "
            f"{count(len(rows), 'row')}, too many for classes; choose another column as label."
        )
    if words <= set(names):
        return {word: index for index, word in enumerate(name for name in names if name in words)}
    numeric = all(word.removeprefix("-").isdecimal() for word in words)
    # 1 and 01 are one number and two words, whose order must not be that of a set
    in_order = sorted(words, key=(lambda word: (int(word), word)) if numeric else None)
    return {word: index for index, word in enumerate(in_order)}


def _hold_out(
    rows: Sequence[LabelledRow], share: float, group: Callable[[LabelledRow], str] = attrgetter("label")
) -> tuple[list[LabelledRow], list[LabelledRow]]:
    """Divide rows into those of train and those of the report, by a hash of their texts.

    A row's side does not depend on order or on other rows, and equal texts of a class are on one side. Of a class with
    two or more texts, the one with the smallest hash is always held out and the one with the largest is always trained
    on.

    Args:
        group: returns the class of a row; of a regression, all rows are one.
    """
    hashes = {id(row): hash_share(row, HOLD_OUT) for row in rows}
    limit: dict[str, float] = {}  # class -> rows with smaller hashes are held out
    by_label: dict[str, set[float]] = {}
    for row in rows:
        by_label.setdefault(group(row), set()).add(hashes[id(row)])
    for label, own in ((label, sorted(some)) for label, some in by_label.items()):
        limit[label] = min(max(share, own[1]), own[-1]) if len(own) > 1 else 0.0
    held = [row for row in rows if hashes[id(row)] < limit[group(row)]]
    kept = [row for row in rows if hashes[id(row)] >= limit[group(row)]]
    return kept, held


def _check_classes(
    declaration: Declaration, labels: Sequence[str], written: Mapping[str, int],
    rows: Mapping[str, Sequence[LabelledRow]],
) -> None:  # fmt: skip
    """Refuse unknown labels, and classes that train lacks."""
    known = {row.label for row in rows[TRAIN]}
    for split, some in rows.items():
        for row in some:
            if row.label not in written:
                some_classes = ", ".join(labels[:SHOWN]) + (", ..." if len(labels) > SHOWN else "")
                where = "the labels of the declaration" if declaration.labels else "those of train"
                alike = next((label for label in labels if plain_name(label) == plain_name(row.label)), None)
                hint = "" if alike is None else f", where '{alike}' is written almost the same"
                raise UserError(
                    f"{row.place}: the label '{row.label}' is not among {where} ({some_classes}){hint}; correct the "
                    "row, add the class, or leave its rows out with drop_labels in a declaration, tasks/NAME.toml."
                )
            if split != TRAIN and row.label not in known:
                raise UserError(
                    f"{row.place}: train has no row of class '{row.label}'; add some, or leave the class out with "
                    "drop_labels in a declaration, tasks/NAME.toml."
                )
    if lacking := [label for label in written if label not in known]:
        raise UserError(f"train has no row of class '{lacking[0]}'; add some, or take the class out of labels.")
    if len(labels) < 2:
        raise UserError(
            f"All rows of train have the label '{labels[0] if labels else ''}'; a task has two classes or more."
        )


def as_examples(rows: Sequence[LabelledRow], value_of: Callable[[str], float]) -> Examples:
    """Return rows as examples, with labels that `value_of` makes of their words."""
    pairs = bool(rows) and rows[0].texts[1] is not None
    second = [row.texts[1] or "" for row in rows] if pairs else None
    return Examples([row.texts[0] for row in rows], second, [value_of(row.label) for row in rows])
