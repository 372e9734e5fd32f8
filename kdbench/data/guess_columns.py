"""Guess from names and values which columns of a file are texts and labels, and how its lines are built."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.data.files.open_source import SUFFIXES, Source, open_source
from kdbench.data.files.source import HUB, PART, FileFormat, RowSource, suffix_of
from kdbench.data.files.text_lines import open_lines
from kdbench.data.task import Kind

ROWS = 2000  # that are looked at
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text_a", "text_b"),
    ("text1", "text2"), ("question", "sentence"), ("question", "passage"), ("query", "document"), ("query", "passage"),
    ("#1 string", "#2 string"), ("sentence_a", "sentence_b"),
)  # fmt: skip
TEXTS = (
    "text", "sentence", "review", "content", "utterance", "question", "body", "comment", "tweet", "message", "document",
    "description", "query", "headline", "title", "phrase", "abstract",
)  # fmt: skip
LABELS = (
    "label", "labels", "label_text", "label_name", "category", "class", "target", "intent", "sentiment", "emotion",
    "topic", "gold_label", "stars", "rating", "overall", "y", "polarity",
)  # fmt: skip
SCORES = ("score", "similarity", "similarity_score", "value", "relatedness", "relatedness_score")
LABEL_FIRST = r"(?P<label>\S+) (?P<text>.*)"  # of lines whose first words are few
FRACTION = re.compile(r"-?\d*\.\d*[1-9]\d*")
FEW = 10  # rows to a different first word
FASTTEXT = r"__label__(?P<label>\S+)\s+(?P<text>.*)"


@dataclass(frozen=True)
class Guess:
    """Say how a file is to be read: its format, the column or columns of texts, that of labels, and their kind."""

    form: FileFormat
    text: tuple[str, ...]
    label: str
    kind: Kind = "classification"


@dataclass(frozen=True)
class _Column:
    """Hold the first values of a column."""

    name: str
    values: Sequence[str]

    @property
    def distinct(self) -> int:
        return len(set(self.values))

    @property
    def words(self) -> float:
        return sum(len(value.split()) for value in self.values) / max(1, len(self.values))

    @property
    def is_text(self) -> bool:
        return self.words >= 2 and self.distinct > len(self.values) / 3

    @property
    def is_label(self) -> bool:
        """Tell whether values repeat, are short, mostly there, and no fractions; 4.0 is a whole number."""
        rows = len(self.values)
        if 2 * self.values.count("") > rows:
            return False
        fractions = any(FRACTION.fullmatch(value) for value in self.values)
        return 1 < self.distinct <= max(2, rows / 2, 20 if rows < 60 else 0) and self.words < 6 and not fractions

    @property
    def is_number(self) -> bool:
        """Tell whether all values are numbers, and some are no whole ones, so that they cannot be classes."""
        try:
            numbers = [float(value) for value in self.values]
        except ValueError:
            return False
        return all(map(math.isfinite, numbers)) and any(number % 1 for number in numbers)


def guess_columns(
    source: Source, folder: Path, encoding: str = "utf-8", text: Sequence[str] = (), label: str = ""
) -> Guess:
    """Guess how to read a source, from its first rows.

    Args:
        folder: where a relative path begins.
        text, label: columns that the user has named.

    Raises:
        UserError: the source cannot be read, a named column is not there, or several columns could be meant.
    """
    form = _guess_form(source, folder, FileFormat(encoding=encoding))
    found = open_source(source, folder, form)
    columns = _look(found)
    for name in (*text, *([label] if label else [])):
        if name not in found.columns:
            raise UserError(f"{found.place} has no column '{name}' (found: {', '.join(found.columns)}).")
    if len(found.columns) < 2:
        raise UserError(
            f"{found.place} has one column ({found.columns[0] if found.columns else 'none'}), but a text and a label "
            "are needed; if its fields are separated otherwise, declare the delimiter (kdbench new-task FILE)."
        )
    chosen = label or _guess_label(found, columns, text)
    kind: Kind = "regression" if columns[chosen].is_number else "classification"
    return Guess(form, tuple(text) or _guess_text(found, columns, chosen), chosen, kind)


def _guess_form(source: Source, folder: Path, form: FileFormat) -> FileFormat:
    """Find out whether a CSV's first line names its columns, and how lines of other text files are built."""
    if not isinstance(source, str) or source.startswith(HUB) or PART in source or not (folder / source).is_file():
        return form
    path = folder / source
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or suffix == ".txt":
        with open_lines(path, form.encoding) as lines:
            head = [line.rstrip("\r\n") for line in itertools.islice(lines, ROWS) if line.strip()]
        if head and all(line.startswith("__label__") for line in head):
            return replace(form, pattern=FASTTEXT)
        if head and len({line.count("\t") for line in head}) == 1 and "\t" in head[0]:
            form = replace(form, delimiter="\t")
        elif 1 < len({line.split(" ")[0] for line in head}) <= max(2, len(head) / FEW):
            return replace(form, pattern=LABEL_FIRST)
    if suffix in (".csv", ".tsv", ".tab") or form.delimiter:
        return replace(form, header=not _lacks_header(open_source(source, folder, replace(form, header=False))))
    return form


def _lacks_header(found: RowSource) -> bool:
    """Return whether the first line is an example: one of its fields occurs again as a value of a label column.

    Args:
        found: the rows, the first line among them.
    """
    first, *rest = zip(*(column.values for column in _look(found).values()), strict=True)
    columns = [_Column(name, values) for name, *values in zip(first, *rest, strict=True)]
    return any(column.name and column.is_label and column.name in column.values for column in columns)


def _look(found: RowSource) -> dict[str, _Column]:
    rows: list[Mapping[str, Any]] = [row for _, row in itertools.islice(found, ROWS)]
    if not rows:
        raise UserError(f"{found.place} holds no rows; give a file with a row an example.")
    values = {name: ["" if row.get(name) is None else str(row[name]) for row in rows] for name in found.columns}
    return {name: _Column(name, some) for name, some in values.items()}


def _guess_label(found: RowSource, columns: Mapping[str, _Column], text: Sequence[str]) -> str:
    if len(found.class_names) == 1:
        return next(iter(found.class_names))
    some = [name for name, column in columns.items() if column.is_label and name not in text]
    named = [name for name in some if name.lower() in LABELS]
    # numbers with fractions are the labels of a regression, where they are called so or nothing else can be a label
    numbers = [name for name, column in columns.items() if column.is_number and name not in text]
    scores = [name for name in numbers if name.lower() in (LABELS if some else (*LABELS, *SCORES))]
    choice = named or scores or some or numbers
    if len(choice) == 1:
        return choice[0]
    # of columns that say the same, such as label and label_text, the one with words
    together = set(zip(*(columns[name].values for name in choice), strict=True))
    if named and all(columns[name].distinct == len(together) for name in choice):
        return max(choice, key=lambda name: sum(map(str.isalpha, "".join(columns[name].values[:100]))))
    others = [name for name in numbers if name not in choice]
    raise _unclear(found, "label", "--label COLUMN", [*choice, *others])


def _guess_text(found: RowSource, columns: Mapping[str, _Column], label: str) -> tuple[str, ...]:
    lower = {name.lower(): name for name in columns if name != label}
    for pair in PAIRS:
        if all(name in lower for name in pair):
            return tuple(lower[name] for name in pair)
    named = [lower[name] for name in TEXTS if name in lower and columns[lower[name]].words >= 1]
    some = [name for name, column in columns.items() if column.is_text and name != label]
    # a name decides, unless another column could as well hold the text
    if named and set(some) <= {named[0]}:
        return (named[0],)
    if len(some) == 1:
        return (some[0],)
    raise _unclear(found, "text", "--text COLUMN, or --text COLUMN,COLUMN for pairs of texts", some or named)


def _unclear(found: RowSource, what: str, way: str, choice: Sequence[str]) -> UserError:
    listed = ", ".join(choice) if choice else f"none of {', '.join(found.columns)} looks like one"
    problem = "several columns could be" if choice else "no column is clearly"
    return UserError(f"{found.place}: {problem} the {what} ({listed}); name it by {way}.")
