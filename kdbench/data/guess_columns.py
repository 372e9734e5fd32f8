"""Guess from names and values which columns of a file are texts and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.column_names import LABELS, PAIRS, SCORES, SPLITS, TEXTS
from kdbench.data.column_sample import Column, sample_columns
from kdbench.data.declaration import TRAIN
from kdbench.data.declared_rows import SHOWN
from kdbench.data.files.open_source import Source, open_source
from kdbench.data.files.source import EQUALS, PART, FileFormat, RowSource, plain_value
from kdbench.data.guess_form import guess_form
from kdbench.data.split_names import SPLIT_OF
from kdbench.data.task import Kind


@dataclass(frozen=True)
class Guess:
    """Say how a file is to be read: its format, the column or columns of texts, that of labels, and their kind.

    Attributes:
        split_column: a column that names the split of each row, or "".
        classes: labels that were seen.
        columns: the names of all columns.
    """

    form: FileFormat
    text: tuple[str, ...]
    label: str
    kind: Kind = "classification"
    split_column: str = ""
    classes: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()


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
    found.require(named)
    if twice := [name for name in named if named.count(name) > 1]:
        raise UserError(f"The column '{twice[0]}' is named twice; --text and --label name different columns.")
    if len(found.columns) < 2:
        raise UserError(
            f"{found.place} has one column ({found.columns[0] if found.columns else 'none'}), but a text and a label "
            "are needed; if its fields are separated otherwise, set delimiter in a declaration, tasks/NAME.toml."
        )
    if len(text) > 2:
        raise UserError(f"--text names {len(text)} columns; a row has one text, or a pair of texts.")
    # a column that names splits is no label
    splits = [column for name, column in columns.items() if name not in named and _names_splits(column)]
    split_column = splits[0].name if splits else ""
    rest = {name: column for name, column in columns.items() if name != split_column}
    chosen = label or _guess_label(found, rest, text)
    kind: Kind = "regression" if columns[chosen].is_number else "classification"
    texts = tuple(text) or _guess_text(found, rest, chosen)
    return Guess(form, texts, chosen, kind, split_column, frozenset(columns[chosen].values), found.columns)


def _names_splits(column: Column) -> bool:
    """Return whether a column is called as columns of splits are, and some value is a word for train."""
    words = {value.strip().lower() for value in column.values}
    return column.name.lower() in SPLITS and any(SPLIT_OF.get(word) == TRAIN for word in words)


def find_column_splits(sources: Sequence[Source], folder: Path, guess: Guess) -> tuple[dict[str, list[Source]], str]:
    """Divide sources by the column that names the split of each row.

    Returns:
        split -> sources, and a sentence on the rows that belong to none of them, or "".
    """
    column = guess.split_column
    values: Counter[str] = Counter()
    for source in sources:
        rows = open_source(source, folder, guess.form)
        words = (row.get(column) for _, row in rows)
        values.update("" if word is None else str(plain_value(word)).strip() for word in words)
    found: dict[str, list[Source]] = {}
    for value in sorted(values):
        if split := SPLIT_OF.get(value.lower()):
            found.setdefault(split, []).extend(f"{source}{PART}{column}{EQUALS}{value}" for source in sources)
    others = [f"'{value}' ({count(rows, 'row')})" for value, rows in values.items() if value.lower() not in SPLIT_OF]
    return found, f"Left out, as no split is called so: {column} {', '.join(others[:SHOWN])}." if others else ""


def _guess_label(found: RowSource, columns: Mapping[str, Column], text: Sequence[str]) -> str:
    candidates = {name: column for name, column in columns.items() if name not in text}
    some = [name for name, column in candidates.items() if column.is_label]
    called = [name for name in candidates if name.lower() in LABELS]
    named = [name for name in called if candidates[name].could_be_label]
    named = [name for name in named if candidates[name].distinct > 1] or named
    # the file itself says of a column that it holds classes
    listed = [name for name in found.class_names if name in candidates]
    if len(listed) == 1 and set(named) <= {listed[0]}:
        return listed[0]
    # numbers with fractions are the labels of a regression where they are called so
    numbers = [name for name, column in candidates.items() if column.is_number]
    scores = [name for name in numbers if name.lower() in (*LABELS, *SCORES)]
    choice = named or [name for name in scores if name.lower() in LABELS]
    # a column that is called as labels are and does not look like one is not passed over for another
    choice = choice or list(dict.fromkeys((*called, *scores, *some))) or numbers
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
