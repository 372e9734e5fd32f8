"""The paper's numbers (Tables 1 to 7) as printed, from published.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, model_validator

from kdbench.results.study import TEACHER, StudyResults

PAPER_METHOD = "lgtm"  # the paper's own


class PublishedRow(BaseModel):
    """A printed row; `row` is its key, `group` the rows that it competes with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    title: str
    cells: tuple[str, ...]
    group: str = "student"
    ours: bool = False  # the paper's own method


class PublishedTable(BaseModel):
    """A printed table. `lacks` names the cells that are not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caption: str
    preset: str = ""  # the one with these networks; "" where the table is of none
    columns: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    lacks: str = ""
    measured_on: str = "GLUE's test server"

    @model_validator(mode="after")
    def _is_a_table(self) -> PublishedTable:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"row {row.title} has {len(row.cells)} cells, not {len(self.columns)}")
        if len({row.row for row in self.rows}) != len(self.rows):
            raise ValueError("two rows have one key")
        return self

    @property
    def cells(self) -> dict[tuple[str, str], str]:
        """Return the printed cells by row key and column."""
        pairs = {(row.row, name): text for row in self.rows for name, text in zip(self.columns, row.cells, strict=True)}
        return {place: text for place, text in pairs.items() if text}

    @property
    def note(self) -> str:
        """Return the note that explains the numbers."""
        lacks = f" {self.lacks}." if self.lacks else ""
        return (
            f"Published: as the paper prints it, from {self.measured_on}, with the paper's networks; "
            f"difference: ours minus published, as printed.{lacks}"
        )


@cache
def published_tables() -> dict[str, PublishedTable]:
    """Return the paper's tables by name."""
    raw = tomllib.loads((files("kdbench.analysis") / "published.toml").read_text(encoding="utf-8"))
    return {name: PublishedTable.model_validate(table) for name, table in raw.items()}


def row_title(study: StudyResults, row: str) -> str:
    """Return the name of a row in a table or figure; of one that nobody has asked for yet the paper's."""
    papers = {one.row: one.title for table in published_tables().values() for one in table.rows if one.row != TEACHER}
    return study.title(row) if row in study.titles else papers.get(row, study.title(row))


def cell_numbers(cell: str) -> tuple[float, ...]:
    """Parse a printed cell such as `89.0/85.2`."""
    return tuple(float(part) for part in cell.split("/"))
