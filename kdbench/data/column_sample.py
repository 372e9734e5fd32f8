"""Look at values from the whole of a file, and tell texts, labels and numbers apart."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kdbench.core.errors import UserError
from kdbench.data.files.source import RowSource, plain_value

ROWS = 2000  # at least so many are looked at, of a file that has them; at most twice as many
MOST_ROWS = 2_000_000  # from which they are drawn
FRACTION = re.compile(r"-?\d*\.\d*[1-9]\d*")
DECIMAL_COMMA = re.compile(r"-?\d+,(?!\d{3}$)\d+")  # three digits after it are thousands
NEARLY = 0.9  # of the values of a column of numbers
MANY = 20  # different values
DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b.*")
UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")  # scripts without spaces between words
SHORTEST = 4  # characters of a text in such a script


@dataclass(frozen=True)
class Column:
    """Hold values of a column, as words.

    Attributes:
        are_words: the file has words there, and no dates, numbers or lists.
    """

    name: str
    values: Sequence[str]
    are_words: bool = True

    @cached_property
    def distinct(self) -> int:
        return len(set(self.values))

    @cached_property
    def words(self) -> float:
        return sum(len(value.split()) for value in self.values) / max(1, len(self.values))

    @cached_property
    def fewest_words(self) -> int:
        return min(len(value.split()) for value in self.values)

    @cached_property
    def is_text(self) -> bool:
        unspaced = sum(len(value) >= SHORTEST and bool(UNSPACED.search(value)) for value in self.values)
        is_prose = self.words >= 2 or unspaced > len(self.values) / 2
        return self.could_be_text and is_prose and self.distinct > len(self.values) / 3

    @cached_property
    def could_be_text(self) -> bool:
        """Tell whether the values are different words, and neither numbers nor dates."""
        return self.are_words and self.distinct > 1 and not self.is_numeric and not self._are_dates

    @cached_property
    def could_be_label(self) -> bool:
        """Tell whether values repeat, are mostly there, and no fractions; 4.0 is a whole number."""
        rows = len(self.values)
        if 2 * self.values.count("") > rows:
            return False
        fractions = any(FRACTION.fullmatch(value) for value in self.values)
        return self.distinct <= max(2, rows / 2, 20 if rows < 60 else 0) and not fractions

    @cached_property
    def is_label(self) -> bool:
        """Tell whether the values look like classes whatever their column is called: short, and more than one."""
        return self.could_be_label and self.distinct > 1 and self.words < 6 and not self._are_dates

    @cached_property
    def is_numeric(self) -> bool:
        return bool(_numbers([value for value in self.values if value])) or not any(self.values)

    @cached_property
    def is_number(self) -> bool:
        """Tell whether values are numbers, some with fractions, and nearly all of many different ones.

        Reading refuses the others, with their line. Of few different values all must be numbers: they may be codes.
        """
        found = [number for value in self.values if (number := _number(value)) is not None]
        are_nearly = len(found) >= NEARLY * len(self.values) and len(set(found)) > max(MANY, len(self.values) / 10)
        return are_fractions(self.values) or (are_nearly and any(number % 1 for number in found))

    @cached_property
    def _are_dates(self) -> bool:
        return any(self.values) and all(DATE.fullmatch(value) for value in self.values if value)


def are_fractions(values: Sequence[str]) -> bool:
    """Tell whether all values are numbers, and some are no whole ones, so that they cannot be classes."""
    return any(number % 1 for number in _numbers(values))


def _numbers(values: Sequence[str]) -> list[float]:
    """Return values as finite numbers; [] unless all are."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _number(value: str) -> float | None:
    """Return a value as a finite number, also one with a decimal comma; None where it is none."""
    text = value.replace(",", ".") if DECIMAL_COMMA.fullmatch(value) else value
    return next(iter(_numbers([text])), None)


def first_columns(found: RowSource) -> dict[str, Column]:
    """Return the columns with the values of the first rows."""
    return _columns(found, [row for _, row in itertools.islice(found, ROWS)])


def sample_columns(found: RowSource) -> dict[str, Column]:
    """Return the columns with the values of rows at equal distances, since a file may be sorted by class.

    Raises:
        UserError: there are no rows, or one cannot be read.
    """
    rows = []
    step = 1
    for place, (_, row) in enumerate(itertools.islice(found, MOST_ROWS)):
        if place % step == 0:
            rows.append(row)
        if len(rows) > 2 * ROWS:
            rows, step = rows[::2], 2 * step
    return _columns(found, rows)


def _columns(found: RowSource, rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    if not rows:
        raise UserError(f"{found.place} holds no rows; give a file with a row an example.")
    columns = {}
    for name in found.columns:
        values = [plain_value(row.get(name)) for row in rows]
        words = ["" if value is None else str(value) for value in values]
        columns[name] = Column(name, words, any(isinstance(value, str) for value in values))
    return columns
