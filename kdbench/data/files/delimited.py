"""Read CSV and TSV files, and lines that a pattern takes apart."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from kdbench.core.errors import UserError
from kdbench.data.files.source import FileFormat, Row, RowSource
from kdbench.data.files.text_lines import open_lines

LONGEST_FIELD = 4_000_000  # characters; longer ones come of a quote that is never closed
SEPARATORS = ",;\t|"
SAMPLE_LINES = 200


def delimited_rows(path: Path, form: FileFormat) -> RowSource:
    """Return the rows of a CSV or TSV file.

    Raises:
        UserError: the file is missing, empty, not decodable, or its first row is no row of names. While rows are read:
            a row has more or fewer fields than there are columns, or a quote is left open.
    """
    tabs = ".tsv" in path.suffixes or ".tab" in path.suffixes
    with open_lines(path, form.encoding) as lines:
        head = [line for line, _ in zip(lines, range(SAMPLE_LINES), strict=False)]
    if not any(line.strip() for line in head):
        raise UserError(f"{path} is empty; give a file with a row of column names, and a row an example.")
    delimiter = form.delimiter or ("\t" if tabs else _likely_delimiter(head[0]))
    quotes = form.quotes if form.quotes is not None else delimiter != "\t" or _needs_quotes(head, delimiter)

    def records() -> Iterator[tuple[int, list[str]]]:
        with open_lines(path, form.encoding) as lines:
            yield from _records(path, lines, delimiter, quotes)

    _, first = next(records())
    names = [name.strip() if form.header else "" for name in first]
    columns = tuple(name or str(number) for number, name in enumerate(names, 1))  # one without a name has its number
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


def _records(path: Path, lines: Iterator[str], delimiter: str, quotes: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each record, with the line on which it begins; blank lines are no records."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(lines, delimiter=delimiter, quoting=_quoting(quotes), strict=True)
    begin = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(_broken_quote(path, begin, str(error))) from None
        if fields:
            yield begin, fields
        begin = reader.line_num + 1


def _broken_quote(path: Path, line: int, error: str) -> str:
    if "unexpected end of data" in error or "field larger" in error:
        what = "a field begins with a double quote that is never closed"
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
    return UserError(
        f"{path}, line {line:,}: {len(fields)} fields where there are {len(columns)} columns ({', '.join(columns)}); "
        f"correct the line, or {way}."
    )


def _likely_delimiter(line: str) -> str:
    """Return the separator that occurs most often in the first line, in doubt the comma."""
    return max(SEPARATORS, key=lambda mark: (line.count(mark), -SEPARATORS.index(mark)))


def _needs_quotes(head: Sequence[str], delimiter: str) -> bool:
    """Return whether lines of a TSV have the same number of fields only where quoted fields are joined."""

    def widths(quotes: bool) -> set[int]:
        found = [len(fields) for fields in csv.reader(head, delimiter=delimiter, quoting=_quoting(quotes)) if fields]
        return set(found[:-1] if len(head) == SAMPLE_LINES else found)  # the sample may end within the last record

    return any('"' in line for line in head) and len(widths(False)) > 1 and len(widths(True)) == 1


def _quoting(quotes: bool) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE


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
                ended = [path for path, item in zip(files.values(), values, strict=True) if item is None]
                if len(ended) < len(values):
                    longer = next(path for path in files.values() if path not in ended)
                    raise UserError(
                        f"{ended[0]} ends after {number - 1:,} lines, but {longer} has more; a line of one belongs to "
                        "the same line of the other, so both need equally many."
                    )
                return
            yield number, dict(zip(files, values, strict=True))

    return RowSource(" and ".join(map(str, files.values())), "line", tuple(files), read)


def _stripped(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a file without their ends, and without an empty last line."""
    with open_lines(path, encoding) as lines:
        for line in lines:
            yield line.rstrip("\r\n")
