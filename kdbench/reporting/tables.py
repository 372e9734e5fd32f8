"""Tables as plugins: each knows how to build its data from stored results, and nothing about how they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from kdbench.core.registry import Registry
from kdbench.planning.exhibits import Exhibit
from kdbench.reporting.data_frames import records_frame
from kdbench.results.study import StudyResults
from kdbench.results.submission_records import ServerAnswer

if TYPE_CHECKING:
    from pandas import DataFrame

Place = tuple[str, str]  # the keys of a row and of a column


class Detail(str):
    """A note that short notes leave out. Every other note is needed to read the numbers, or warns of them."""

    __slots__ = ()


@dataclass(frozen=True)
class TableCell:
    """A printed cell: numbers (or a label), each perhaps with a spread, joined by slashes.

    `numbers` are unrounded; `sign` stands behind the last and is explained in a note.
    """

    values: tuple[str, ...]
    spreads: tuple[str, ...] = ()
    best: bool = False
    numbers: tuple[float, ...] = ()
    sign: str = ""

    @property
    def text(self) -> str:
        """Return `79.5±0.4/66.0±0.5`."""
        if not self.spreads:
            return self.short
        pairs = zip(self.values, self.spreads, strict=True)
        return "/".join(f"{value}±{spread}" for value, spread in pairs) + self.sign

    @property
    def short(self) -> str:
        """Return `79.5/66.0`."""
        return "/".join(self.values) + self.sign

    @property
    def below(self) -> str:
        """Return `±0.4/0.5`, for a line of its own where `text` is too long."""
        return f"±{'/'.join(self.spreads)}" if self.spreads else ""


NO_NUMBER = "–"
EMPTY_CELL = TableCell((NO_NUMBER,))


@dataclass(frozen=True)
class Published:
    """The paper's numbers as printed, by the keys of the sheets; `note` is the sentence that says what they are.

    `preset` is the one with the paper's networks.
    """

    cells: Mapping[Place, str]
    note: str
    preset: str


@dataclass
class TableData:
    """A table, ready to be printed.

    `head` names the columns, a line break in a name is one in the head; every row starts with its label. A row of
    `rules` is preceded by a line. `records` hold the numbers of the table unrounded, each in one record, for CSV.
    Short notes leave out each `Detail`. `row_keys` and `column_keys` (of all columns but the first) say which published
    number belongs where.
    """

    title: str
    head: list[str]
    rows: list[list[TableCell]] = field(default_factory=list)
    rules: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    row_keys: list[str] = field(default_factory=list)
    column_keys: list[str] = field(default_factory=list)

    @property
    def frame(self) -> DataFrame:
        """Return the printed cells as a data frame of strings: index the row labels, columns the heads."""
        import pandas as pd

        heads = [" ".join(name.split()) for name in self.head[1:]]
        cells = [[cell.text for cell in row[1:]] for row in self.rows]
        return pd.DataFrame(cells, index=[row[0].text.strip() for row in self.rows], columns=heads)

    @property
    def numbers(self) -> DataFrame:
        """Return the unrounded numbers behind the table, a row a number, as `table --format csv` writes them."""
        return records_frame(self.marked_records)

    @property
    def marked_records(self) -> list[dict[str, Any]]:
        """Return `records`, with `best` and `sign` of the cell of the record's row and task, if there is one."""
        cells: dict[Place, TableCell] = {}
        for key, row in zip(self.row_keys, self.rows, strict=False):
            for column, cell in zip(self.column_keys, row[1:], strict=False):
                cells.setdefault((key, column), cell)  # the paper's row of the same key stands below
        out = []
        for record in self.records:
            place = str(record.get("row")), str(record.get("task"))
            marks = {"best": cells[place].best, "sign": cells[place].sign} if place in cells else {}
            out.append({**record, **marks})
        return out

    def _repr_html_(self) -> str:
        """Show the table, and its notes, in a notebook."""
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<p><b>{escape(self.title)}</b></p>{self.frame.to_html()}<ul>{notes}</ul>"

    def is_text(self, column: int) -> bool:
        """Tell whether a column has words, which are aligned left; numbers are aligned right."""
        return any(row[column].values[0][:1].isalpha() for row in self.rows)


class Table(Exhibit):
    """A table, of the paper or any other. Subclass it in a file of its own in `analysis/`, or in a package of yours.

    Class attributes:
        preset: the one whose results it shows where no other is asked for; "" is every one.
        needs_results: whether it shows results at all.
    """

    preset: ClassVar[str] = ""
    needs_results: ClassVar[bool] = True

    @classmethod
    def short_title(cls) -> str:
        """Return the title without what the table shows, such as `Table 1`."""
        return cls.title.partition(":")[0]

    def sheets(self, studies: Sequence[StudyResults]) -> list[TableData]:
        """Build one table for each study that has something to show, unless a subclass joins studies."""
        return [sheet for study in studies if (sheet := self.build(study)) is not None]

    def build(self, study: StudyResults) -> TableData | None:
        """Build the table of one study; None where nothing of it was asked for."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither sheets nor build")

    def adds_to_all(self, study: StudyResults) -> bool:
        """Return whether the table is among `all` of a study's; not where another table shows the same."""
        return True

    def tested(self, study: StudyResults, answers: Mapping[str, ServerAnswer]) -> TableData | None:
        """Build the table of a test server's scores (run -> answer); None where there are none to show."""
        return None

    def published(self) -> Published | None:
        """Return the numbers that the paper prints in these places."""
        return None


TABLES: Registry[Table] = Registry("table", "kdbench.tables", Table)
