"""Guess from first lines how a text file is built: delimiter, pattern of the lines, and whether names come first."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.data.column_names import KNOWN
from kdbench.data.column_sample import FRACTION, ROWS, Column, first_columns
from kdbench.data.files.open_source import Source, open_source
from kdbench.data.files.source import HUB, SUFFIXES, FileFormat, RowSource, split_part, suffix_of
from kdbench.data.files.text_lines import open_lines

FASTTEXT = r"__label__(?P<label>\S+)(?:\s+(?!\s|__label__)(?P<text>.*))?\s*"
FASTTEXT_LAST = r"(?!__label__)(?P<text>.*?)\s+__label__(?P<label>\S+)\s*"
LABEL_FIRST = r"(?P<label>\S+) (?P<text>.*)"  # of lines whose first words are few
MARK = "__label__"
FEW = 10  # rows to a different first word
MOST_ELSEWHERE = 0.2  # first words within the lines, a line; labels are no words of the texts
DELIMITERS = "\t;|,"
MOST_EVEN = 0.95  # of the lines have equally many delimiters; the others are faults, which reading names
LONG_NAME = 4  # words from which a first field is a text and no name of texts


def guess_form(source: Source, folder: Path, form: FileFormat) -> FileFormat:
    """Find out whether a CSV's first line names its columns, and how lines of other text files are built.

    Raises:
        UserError: the file is empty or cannot be read, or its lines have several labels.
    """
    if not isinstance(source, str) or source.startswith(HUB):
        return form
    path, _ = split_part(source, folder)
    suffix = suffix_of(path)
    if not path.is_file():
        return form
    if suffix not in SUFFIXES or suffix == ".txt":
        with open_lines(path, form.encoding) as lines:
            head = [line.rstrip("\r\n") for line in itertools.islice(lines, ROWS) if line.strip()]
        if not head:
            raise UserError(f"{source} is empty; give a file with a row an example.")
        if pattern := _pattern(source, head):
            return replace(form, pattern=pattern)
        form = replace(form, delimiter=_delimiter(head))
    if suffix in (".csv", ".tsv", ".tab") or form.delimiter:
        return replace(form, header=not _lacks_header(open_source(source, folder, replace(form, header=False))))
    return form


def _pattern(source: str, head: Sequence[str]) -> str:
    """Return the pattern of lines with a label before or after the text; "" of other lines."""
    marks = [line.count(MARK) for line in head]
    if all(marks):
        if several := next((line for line, number in zip(head, marks, strict=True) if number > 1), ""):
            raise UserError(
                f"{source}: {several[:60]!r} has several labels; a row has one class here. Leave such lines out, or "
                "write one of their labels."
            )
        return FASTTEXT if all(line.startswith(MARK) for line in head) else FASTTEXT_LAST
    if _delimiter(head):
        return ""
    first, *rest = zip(*(line.partition(" ")[::2] for line in head), strict=True)
    within = Counter(" ".join(*rest).split())
    elsewhere = sum(within[word] for word in set(first)) / len(head)
    is_few = 1 < len(set(first)) <= max(2, len(head) / FEW)
    return LABEL_FIRST if is_few and elsewhere <= MOST_ELSEWHERE and all(rest[0]) else ""


def _delimiter(head: Sequence[str]) -> str:
    """Return the delimiter of which nearly all lines have equally many; "" where there is none."""
    for mark in DELIMITERS:
        number, lines = Counter(line.count(mark) for line in head).most_common(1)[0]
        if number and lines >= MOST_EVEN * len(head):
            return mark
    return ""


def _lacks_header(found: RowSource) -> bool:
    """Return whether the first line is an example.

    Args:
        found: the rows, the first line among them.
    """
    first, *rest = zip(*(column.values for column in first_columns(found).values()), strict=True)
    columns = [Column(name.strip(), values) for name, *values in zip(first, *rest, strict=True)]
    if not rest:
        return False
    # names: those that are known, the numbers of pandas, and fields unlike all that stand below them
    if any(column.name.lower() in KNOWN and column.name not in column.values for column in columns):
        return False
    names = [column.name for column in columns]
    names = names[1:] if names[0] == "" else names  # the first column may be an index
    if names == list(map(str, range(len(names)))) and any(column.is_text for column in columns):
        return False
    numeric = [column for column in columns if column.is_numeric and column.name]
    if any(not Column("", [column.name]).is_numeric for column in numeric):
        return False
    if any(FRACTION.fullmatch(column.name) for column in numeric):
        return True
    words = [column for column in columns if len(column.name.split()) == 1 and not Column("", [column.name]).is_numeric]
    if any(column.is_text and column.fewest_words > 1 for column in words):
        return False
    # an example: a label that occurs again, or a text
    if any(column.name and column.could_be_label and column.name in column.values for column in columns):
        return True
    return any(column.is_text and len(column.name.split()) >= LONG_NAME for column in columns)
