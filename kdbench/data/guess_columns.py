"""Guess from names and values which columns of a file are texts and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.data.column_names import LABELS, PAIRS, SCORES, SPLITS, TEXTS
from kdbench.data.column_sample import Column, sample_columns
from kdbench.data.declaration import TRAIN
from kdbench.data.files.open_source import Source, open_source
from kdbench.data.files.source import FileFormat, RowSource
from kdbench.data.find_splits import SPLIT_OF
from kdbench.data.guess_form import guess_form
from kdbench.data.task import Kind


@dataclass(frozen=True)
class Guess:
    """Say how a file is to be read: its format, the column or columns of texts, that of labels, and their kind.

    Attributes:
        split_column: a column that names the split of each row, or "".
        split_values: what it holds for each split.
    """

    form: FileFormat
    text: tuple[str, ...]
    label: str
    kind: Kind = "classification"
    split_column: str = ""
    split_values: tuple[tuple[str, str], ...] = ()


def guess_columns(
    source: Source, folder: Path, encoding: str = "utf-8", text: Sequence[str] = (), label: str = ""
) -> Guess:
    """Guess how to read a source, from rows of all its parts.

    Args:
        folder: where a relative path begins.
        text, label: columns that the user has named.

    Raises:
        UserError: the source cannot be read, a named column is not there or named twice, or several columns could be
            meant.
    """
    form = guess_form(source, folder, FileFormat(encoding=encoding))
    found = open_source(source, folder, form)
    columns = sample_columns(found)
    named = [*text, *([label] if label else [])]
    for name in named:
        if name not in found.columns:
            raise UserError(f"{found.place} has no column '{name}' (found: {', '.join(found.columns)}).")
        if named.count(name) > 1:
            raise UserError(f"The column '{name}' is named twice; --text and --label name different columns.")
    if len(found.columns) < 2:
        raise UserError(
            f"{found.place} has one column ({found.columns[0] if found.columns else 'none'}), but a text and a label "
            "are needed; if its fields are separated otherwise, declare the delimiter (kdbench new-task FILE)."
        )
    split_column, split_values = _find_split_column({k: v for k, v in columns.items() if k not in named})
    rest = {name: column for name, column in columns.items() if name != split_column}
    chosen = label or _guess_label(found, rest, text)
    kind: Kind = "regression" if columns[chosen].is_number else "classification"
    return Guess(form, tuple(text) or _guess_text(found, rest, chosen), chosen, kind, split_column, split_values)


def _find_split_column(columns: Mapping[str, Column]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Find the column that names the split of each row, and its value for each split; "" and () if there is none."""
    for column in columns.values():
        values = sorted(set(column.values))
        splits = [SPLIT_OF.get(value.strip().lower(), "") for value in values]
        if column.name.lower() in SPLITS and TRAIN in splits and all(splits) and len(set(splits)) == len(splits) > 1:
            return column.name, tuple(zip(splits, (value.strip() for value in values), strict=True))
    return "", ()


def _guess_label(found: RowSource, columns: Mapping[str, Column], text: Sequence[str]) -> str:
    if len(found.class_names) == 1:
        return next(iter(found.class_names))
    candidates = {name: column for name, column in columns.items() if name not in text}
    some = [name for name, column in candidates.items() if column.is_label]
    called = [name for name in candidates if name.lower() in LABELS]
    named = [name for name in called if candidates[name].could_be_label]
    named = [name for name in named if candidates[name].distinct > 1] or named
    # numbers with fractions are the labels of a regression, where they are called so or nothing else can be a label
    numbers = [name for name, column in candidates.items() if column.is_number]
    scores = [name for name in numbers if name.lower() in (LABELS if some else (*LABELS, *SCORES))]
    choice = named or scores or some or numbers or (called if len(called) == 1 else [])
    if len(choice) == 1:
        return choice[0]
    # of columns that say the same, such as label and label_text, the one with words
    together = set(zip(*(columns[name].values for name in choice), strict=True))
    if named and all(columns[name].distinct == len(together) for name in choice):
        return max(choice, key=lambda name: sum(map(str.isalpha, "".join(columns[name].values[:100]))))
    others = [name for name in numbers if name not in choice]
    raise _unclear(found, "label", "--label COLUMN", [*choice, *others])


def _guess_text(found: RowSource, columns: Mapping[str, Column], label: str) -> tuple[str, ...]:
    lower = {name.lower(): name for name in columns if name != label}
    for pair in PAIRS:
        if all(name in lower for name in pair):
            return tuple(lower[name] for name in pair)
    named = [lower[name] for name in TEXTS if name in lower and columns[lower[name]].words > 0]
    some = [name for name, column in columns.items() if column.is_text and name != label]
    # a name decides, unless another column could as well hold the text
    if named and set(some) <= {named[0]}:
        return (named[0],)
    some = some or [name for name, column in columns.items() if column.could_be_text and name != label]
    if len(some) == 1:
        return (some[0],)
    raise _unclear(found, "text", "--text COLUMN, or --text COLUMN,COLUMN for pairs of texts", some or named)


def _unclear(found: RowSource, what: str, way: str, choice: Sequence[str]) -> UserError:
    listed = ", ".join(choice) if choice else f"none of {', '.join(found.columns)} looks like one"
    problem = "several columns could be" if choice else "no column is clearly"
    return UserError(f"{found.place}: {problem} the {what} ({listed}); name it by {way}.")
