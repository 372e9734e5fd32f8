"""Read CSV and TSV files, and lines that a pattern takes apart."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.files.source import FileFormat, Row, RowSource, suffix_of
from kdbench.data.files.text_lines import open_lines

LONGEST_FIELD = 4_000_000  # characters; longer ones come of a quote that is never closed
SEPARATORS = ",;\t|"
SAMPLE_LINES = 500
MOST_LINES = 2_000_000  # of a TSV, that are looked at for quotes
EXCEL = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # a first line that only names the delimiter
QUOTED = re.compile(r'"(?:[^"]|"")*"')  # a field as csv writers quote it


@dataclass(frozen=True)
class _Dialect:
    """Say how a line is divided into fields."""

    delimiter: str
    quotes: bool
    skip_blank: bool = False  # after a delimiter

    def reader(self, lines: Iterator[str], strict: bool = False) -> Any:
        csv.field_size_limit(LONGEST_FIELD)
        return csv.reader(
            lines, delimiter=self.delimiter, quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            skipinitialspace=self.skip_blank, strict=strict,
        )  # fmt: skip


def delimited_rows(path: Path, form: FileFormat) -> RowSource:
    """Return the rows of a CSV or TSV file.

    Raises:
        UserError: the file is missing, empty, not decodable, or its first row is no row of names. While rows are read:
            a row has more or fewer fields than there are columns, or a quote is left open.
    """
    with open_lines(path, form.encoding) as lines:
        head = [line for line, _ in zip(lines, range(SAMPLE_LINES), strict=False)]
    marked = EXCEL.fullmatch(head[0]) if head else None
    head = [line for line in head[1 if marked else 0 :] if line.strip()]
    if not head:
        raise UserError(f"{path} is empty; give a file with a row of column names, and a row an example.")
    delimiter = form.delimiter or (marked[1] if marked else likely_delimiter(head, suffix_of(path) in (".tsv", ".tab")))
    quotes = (
        form.quotes
        if form.quotes is not None
        else delimiter != "\t" or _needs_quotes(path, form.encoding, head, delimiter)
    )
    dialect = _Dialect(delimiter, quotes, _has_blanks(head, _Dialect(delimiter, quotes)))

    def records() -> Iterator[tuple[int, list[str]]]:
        with open_lines(path, form.encoding) as lines:
            if marked:
                next(lines)
            yield from _records(path, lines, dialect, 2 if marked else 1)

    _, first = next(records())
    names = [name.strip() if form.header else "" for name in first]
    # one without a name has its number
    numbers = [str(number) if str(number) not in names else f"column {number}" for number in range(1, len(names) + 1)]
    columns = tuple(name or number for name, number in zip(names, numbers, strict=True))
    if repeated := {name for name in columns if columns.count(name) > 1}:
        raise UserError(f"{path}, line 1: the column '{min(repeated)}' is there twice; rename one.")

    def read() -> Iterator[Row]:
        found = records()
        if form.header:
            next(found)
        for number, fields in found:
            if len(fields) != len(columns):
                raise _ragged(path, number, fields, columns, quotes)
            yield number, dict(zip(columns, fields, strict=True))

    return RowSource(str(path), "line", columns, read)


def _records(path: Path, lines: Iterator[str], dialect: _Dialect, start: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each record, with the line on which it begins; blank lines are no records."""
    reader = dialect.reader(lines, strict=True)
    begin = start
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(_broken_quote(path, begin, str(error))) from None
        if fields:
            yield begin, fields
        begin = start + reader.line_num


def _broken_quote(path: Path, line: int, error: str) -> str:
    if "unexpected end of data" in error or "field larger" in error:
        what = f"a field begins with a double quote that is never closed, or has more than {LONGEST_FIELD:,} characters"
    elif "expected after" in error:
        what = "text follows a closing double quote"
    else:
        what = error
    return (
        f"{path}, line {line:,}: {what}; close the quote, write a quote within a field twice, or read the file without "
        "quoting (quotes = false in the task's declaration)."
    )


def _ragged(path: Path, line: int, fields: Sequence[str], columns: Sequence[str], quotes: bool) -> UserError:
    way = "put texts that hold the delimiter into double quotes" if quotes else "set quotes = true if fields are quoted"
    found = count(len(fields), "field")
    return UserError(
        f"{path}, line {line:,}: {found} where there are {len(columns)} columns ({', '.join(columns)}); "
        f"correct the line, or {way}."
    )


def likely_delimiter(head: Sequence[str], tabs: bool = False) -> str:
    """Return the separator that divides all lines into equally many fields; in doubt the first line's most frequent.

    Args:
        head: the first lines.
        tabs: the file's name says that tabs divide its fields.
    """
    if tabs and "\t" in head[0]:
        return "\t"
    inside = [mark for mark in SEPARATORS if any(mark in line for line in head)]
    counts = {mark: head[0].count(mark) for mark in inside}
    even = [mark for mark in counts if len(_widths(head, _Dialect(mark, mark != "\t"))) == 1]
    # a mark before a blank is one of the text, where another divides the lines as evenly
    plain = [mark for mark in even if f"{mark} " not in head[0]]
    return max(
        plain or even or counts or SEPARATORS[:1], key=lambda mark: (counts.get(mark, 0), -SEPARATORS.index(mark))
    )


def _widths(head: Sequence[str], dialect: _Dialect) -> set[int]:
    """Return the numbers of fields that records have; several where a quote is never closed."""
    try:
        found = [len(fields) for fields in dialect.reader(iter(head)) if fields]
    except csv.Error:
        return {0, 1}
    return set(found[:-1] if len(head) > SAMPLE_LINES - 100 else found)  # the sample may end within the last record


def _has_blanks(head: Sequence[str], dialect: _Dialect) -> bool:
    """Return whether a blank follows every delimiter, as in `"good, ok", "pos"`; it is of neither field."""
    try:
        others = [field for fields in dialect.reader(iter(head)) for field in fields[1:]]
    except csv.Error:
        return False
    return bool(others) and all(field.startswith(" ") for field in others)


def _needs_quotes(path: Path, encoding: str, head: Sequence[str], delimiter: str) -> bool:
    """Return whether fields of a TSV are quoted.

    They are where lines have equally many fields only if quoted fields are joined. They are also where every field that
    begins with a quote is one that a csv writer has quoted, and some have a doubled quote within, or every line has
    such a field.
    """
    if any('"' in line for line in head) and len(_widths(head, _Dialect(delimiter, False))) > 1:
        return len(_widths(head, _Dialect(delimiter, True))) == 1
    has_doubled, in_all = False, True
    with open_lines(path, encoding) as lines:
        for line in itertools.islice((line for line in lines if line.strip()), MOST_LINES):
            begun = (
                [field for field in line.rstrip("\r\n").split(delimiter) if field.startswith('"')]
                if '"' in line
                else []
            )
            if not all(QUOTED.fullmatch(field) for field in begun):
                return False
            has_doubled = has_doubled or any('""' in field[1:-1] for field in begun)
            in_all = in_all and bool(begun)
    return has_doubled or in_all


def pattern_rows(path: Path, form: FileFormat) -> RowSource:
    """Return the lines of a text file as rows, whose columns are the named groups of `form.pattern`.

    Raises:
        UserError: the pattern is not valid or names no group; while rows are read, a line does not match.
    """
    try:
        pattern = re.compile(form.pattern)
    except re.error as error:
        raise UserError(f"The pattern {form.pattern!r} is no regular expression: {error}.") from None
    columns = tuple(pattern.groupindex)
    if not columns:
        raise UserError(
            f"The pattern {form.pattern!r} names no column; write groups such as (?P<label>\\w+) (?P<text>.*)."
        )

    def read() -> Iterator[Row]:
        with open_lines(path, form.encoding) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                match = pattern.fullmatch(line.rstrip("\r\n"))
                if match is None:
                    raise UserError(
                        f"{path}, line {number:,}: {line.strip()[:60]!r} does not match the pattern {form.pattern!r}; "
                        "correct the line or the pattern."
                    )
                yield number, match.groupdict(default="")

    return RowSource(str(path), "line", columns, read)


def line_pairs(files: dict[str, Path], form: FileFormat) -> RowSource:
    """Return rows from several files of equally many lines, such as one of texts and one of labels.

    Args:
        files: column -> file.

    Raises:
        UserError: while rows are read, a file ends before the others.
    """

    def read() -> Iterator[Row]:
        columns = [_stripped(path, form.encoding) for path in files.values()]
        number = 0
        while True:
            number += 1
            values = [next(lines, None) for lines in columns]
            if None in values:
                _check_ended(list(files.values()), values, columns, number)
                return
            yield number, dict(zip(files, values, strict=True))

    return RowSource(" and ".join(map(str, files.values())), "line", tuple(files), read)


def _check_ended(files: Sequence[Path], last: Sequence[str | None], rest: Sequence[Iterator[str]], number: int) -> None:
    """Refuse files of which one has a line with text after another has ended."""
    for path, value, lines in zip(files, last, rest, strict=True):
        if value is not None and any(line.strip() for line in (value, *lines)):
            ended = files[last.index(None)]
            raise UserError(
                f"{ended} ends after {number - 1:,} lines, but {path} has more; a line of one belongs to the same line "
                "of the other, so both need equally many."
            )


def _stripped(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a file without their ends, and without an empty last line."""
    with open_lines(path, encoding) as lines:
        for line in lines:
            yield line.rstrip("\r\n")
