"""Prepare the table of a study for the report, with a card of runs behind each cell."""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kdbench.core.formatting import sentence, value
from kdbench.planning import reproduce
from kdbench.reporting import provenance
from kdbench.reporting.provenance import TracedCell
from kdbench.reporting.run_status import RunStatuses
from kdbench.reporting.tables import TableCell, TableData
from kdbench.results.study import CellResult, StudyResults, task_title


@dataclass(frozen=True)
class OverviewCell:
    """A cell of the table: `anchor` is the address of its card, `sort` the number that sorts its column."""

    entry: TableCell
    anchor: str
    sort: float | None


@dataclass(frozen=True)
class OverviewRow:
    """A row of the table."""

    title: str
    places: Sequence[OverviewCell]


@dataclass(frozen=True)
class CardRun:
    """A run on a card; `point` holds the settings in which the runs of the card differ."""

    run: str
    seed: int
    point: str
    score: str
    selection: str
    state: str
    reason: str


@dataclass(frozen=True)
class CellCard:
    """The card behind a cell: its runs in groups; for an average, links to the cells that it averages."""

    anchor: str
    title: str
    entry: TableCell | None
    unit: str
    selection: str = ""
    groups: Mapping[str, Sequence[CardRun]] = field(default_factory=dict)
    links: Sequence[tuple[str, OverviewCell]] = ()
    command: str = ""


@dataclass(frozen=True)
class Overview:
    """The table of a study. `groups` are the rows between two rules; each group is sorted by itself."""

    title: str
    head: Sequence[Sequence[str]]
    groups: Sequence[Sequence[OverviewRow]]
    notes: Sequence[str]
    cards: Sequence[CellCard]


def build_overview(number: int, study: StudyResults, sheet: TableData, statuses: RunStatuses) -> Overview:
    """Build the table with an anchor for each cell, and the cards behind the cells.

    Args:
        number: of the study on the page.
    """
    groups: list[list[OverviewRow]] = []
    cards: list[CellCard] = []
    for i, (key, entries) in enumerate(zip(sheet.row_keys, sheet.rows, strict=True)):
        places = [
            OverviewCell(
                entry, card_anchor(number, key, column), statistics.fmean(entry.numbers) if entry.numbers else None
            )
            for entry, column in zip(entries[1:], sheet.column_keys, strict=True)
        ]
        if i == 0 or i in sheet.rules:
            groups.append([])
        groups[-1].append(OverviewRow(entries[0].text, places))
        cards += _cards(study, sheet, key, places, statuses)
    return Overview(sheet.title, [name.split("\n") for name in sheet.head], groups, sheet.notes, cards)


def card_anchor(number: int, row: str, column: str) -> str:
    """Return the address of a card."""
    return "-".join(["cell", str(number), *(re.sub(r"[^\w.]+", "_", part) for part in (row, column))])


def _cards(
    study: StudyResults, sheet: TableData, row: str, places: Sequence[OverviewCell], statuses: RunStatuses
) -> list[CellCard]:  # fmt: skip
    """Build the cards of one row."""
    cards, links = list[CellCard](), list[tuple[str, OverviewCell]]()
    for place, column in zip(places, sheet.column_keys, strict=True):
        if column in study.tasks:
            cards.append(_card(provenance.trace_cell(study, sheet, row, column), place, statuses))
            links.append((task_title(column), place))
        else:
            cards.append(CellCard(place.anchor, f"{study.title(row)}, average", place.entry, "", links=links))
    return cards


def _card(traced: TracedCell, place: OverviewCell, statuses: RunStatuses) -> CellCard:
    """Build the card of one cell, with the command that reproduces it."""
    # runs by their role
    keys = provenance.differing_settings(traced.runs.asked)
    groups = {
        "Behind the numbers": traced.runs.shown,
        "Finished, but not behind the numbers": traced.runs.others,
        "Not done": traced.runs.missing,
    }
    behind = {title: [_behind(cell, keys, traced.study, statuses) for cell in cells] for title, cells in groups.items()}
    title = f"{traced.line.title} on {task_title(traced.task)}"
    unit = traced.heads[-1] if len(traced.heads) > 1 else ""
    # the command that reproduces the cell, or trains it
    if traced.runs.wanted:
        words = reproduce.cell_command(traced.runs.wanted, traced.study)
    else:
        words = reproduce.rows_command(traced.study, [traced.line.row], traced.task)
    selection = sentence(traced.selection)
    return CellCard(place.anchor, title, place.entry, unit, selection, behind, command=shlex.join(words))


def _behind(cell: CellResult, keys: Sequence[str], study: StudyResults, statuses: RunStatuses) -> CardRun:
    """Describe a run on a card."""
    run, point = cell.run, "  ".join(f"{key}={value(cell.settings[key])}" for key in keys if key in cell.settings)
    state, why = statuses.status_of(study, run), provenance.describe_problem(run, study)
    return CardRun(run.id, cell.cell.seed, point, *provenance.score_texts(cell), state, why)
