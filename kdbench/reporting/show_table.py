"""Tables, found by number or name and printed for every study that has results."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kdbench.core.errors import UserError, check_known, unknown
from kdbench.core.records import read_record
from kdbench.core.registry import ALL
from kdbench.planning import reproduce
from kdbench.planning.executor import ExecutionRequest
from kdbench.reporting.formats.presentation import PLAIN, Presentation
from kdbench.reporting.formats.text import render
from kdbench.reporting.printing import print_line
from kdbench.reporting.published import add_published
from kdbench.reporting.study_choice import ChosenStudies, StudyChoice, choose_studies
from kdbench.reporting.tables import TABLES, Table, TableData
from kdbench.results.store import Store
from kdbench.results.study import StudyResults
from kdbench.results.submission_records import server_answers
from kdbench.results.sweep_files import Sweep

FORMATS = ("terminal", "markdown", "latex", "csv", "json")
ENDINGS = {".txt": "terminal", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}


def show_table(
    number: str, store: Store, choice: StudyChoice, form: str, console: Console, *, published: bool = False,
    test: bool = False, presentation: Presentation = PLAIN,
) -> list[str]:  # fmt: skip
    """Print a table for every chosen study in the results folder.

    Args:
        number: `1`, `table1`, or `all`.
        published: put the paper's numbers beside.
        test: print the scores of a test server.

    Returns:
        Of `all`, what there is nothing of: a sentence a table, with the command that makes its runs.

    Raises:
        UserError: no such table or format, nothing that was chosen, or nothing to show.
    """
    check_format(form)
    presentation.check(form)
    sheets, lacking = list[TableData](), list[str]()
    if test:
        sheets = find_tested_tables(number, store, choice, published=published)
    else:
        sheets, lacking = find_tables(number, store, choice, published=published)
    render(sheets, form, console, presentation)
    return lacking


def find_tables(
    number: str, store: Store, choice: StudyChoice, *, published: bool = False
) -> tuple[list[TableData], list[str]]:
    """Build a table for every chosen study in the results folder; see `show_table`.

    Returns:
        The tables; and, of `all`, a sentence for each table that has nothing to show.

    Raises:
        UserError: no such table, nothing that was chosen, or nothing to show.
    """
    # of all tables those about another preset are left out; the paper's come first
    ordered = sorted(TABLES.all().items(), key=lambda item: (not item[0].startswith("table"), item[0]))
    every_kind = [kind for _, kind in ordered if not choice.preset or kind.preset in ("", choice.preset)]
    tables = [kind() for kind in every_kind] if number == ALL else [TABLES.get(_name(number))()]
    chosen = choose_studies(store, choice) if any(table.needs_results for table in tables) else ChosenStudies([])
    sheets, lacking = list[TableData](), list[str]()
    for table in tables:
        try:
            some = [study for study in chosen.studies if number != ALL or table.adds_to_all(study)]
            wanted = choice.preset or table.preset
            own = table.sheets([study for study in some if wanted in ("", study.preset)])
            found = _with_paper(table, own, published)
            if not found and (some or not chosen.studies):
                lacking.append(nothing_to_show(table, store, chosen, choice.preset))
            sheets += [_with_notes(sheet, chosen.notes if table.needs_results else []) for sheet in found]
        except UserError as error:  # of all tables the others are shown
            if number != ALL:
                raise
            lacking.append(f"{table.short_title()}: {error}")
    if not sheets or (lacking and number != ALL):
        raise UserError(lacking[0])
    return sheets, lacking


def find_tested_tables(
    number: str, store: Store, choice: StudyChoice, *, published: bool = False
) -> list[TableData]:  # fmt: skip
    """Build a table as a test server scored its rows, for every chosen study of which it has scored something.

    Raises:
        UserError: no such table, nothing that was chosen, or no scores.
    """
    chosen, said, sheets = choose_studies(store, choice), server_answers(store), list[TableData]()
    for name in TABLES.all() if number == ALL else [_name(number)]:
        table = TABLES.get(name)()
        wanted = choice.preset or table.preset
        every = [study for study in chosen.studies if wanted in ("", study.preset)]
        some = [study for study in every if number != ALL or table.adds_to_all(study)]
        found = [sheet for study in some if (sheet := table.tested(study, said))]
        sheets += [_with_notes(sheet, chosen.notes) for sheet in _with_paper(table, found, published)]
    if not sheets:
        raise UserError(_untested(number, store))
    return sheets


def _untested(number: str, store: Store) -> str:
    able = [name.removeprefix("table") for name, kind in TABLES.all().items() if kind.tested is not Table.tested]
    asked = number if number == ALL else _name(number).removeprefix("table")
    if asked not in (ALL, *able):
        return f"Table {asked} has no rows that a test server can score; --test is for table {' and '.join(able)}."
    which = "" if asked == ALL else f" for table {asked}"
    return (
        f"No scores of a test server{which} are in {store.root}; hand rows in with kdbench glue export ROW and store "
        "the answers with kdbench glue import FILE --row ROW"
    )


def show_tables(request: ExecutionRequest) -> None:
    """Print the tables that go with a request, of its networks; where one cannot be shown, say why and go on."""
    for number in request.tables:
        try:
            asked = read_record(request.store.sweeps_folder / f"{request.sweep}.json", Sweep)
            choice = StudyChoice(asked.preset, networks=asked.models)
            show_table(number, request.store, choice, FORMATS[0], request.console)
        except UserError as error:
            print_line(request.console, str(error))


def check_format(form: str) -> None:
    """Raise UserError where there is no such format."""
    check_known("format", [form], FORMATS)


def format_of(form: str | None, out: str | None) -> str:
    """Return the format: as given, else by the file's ending, else for the terminal.

    Raises:
        UserError: there is no such format or ending, or the two do not agree.
    """
    ending = Path(out).suffix.lower() if out else ""
    if form is not None:
        check_format(form)
        if ENDINGS.get(ending, form) != form:
            raise UserError(f"--out {out} ends in {ending} and --format is {form}; leave one of them out.")
        return form
    if ending and ending not in ENDINGS:
        raise UserError(f"--out {out}: {ending} is no format; end in {', '.join(ENDINGS)}, or give --format.")
    return ENDINGS[ending] if ending else FORMATS[0]


def _name(number: str) -> str:
    known = TABLES.all()
    name = number.lower()
    name = name if name in known else f"table{name.removeprefix('table')}"
    if name not in known and name not in TABLES.broken:
        raise unknown("table", number, [*(key.removeprefix("table") for key in known), ALL])
    return name


def _with_paper(table: Table, sheets: list[TableData], published: bool) -> list[TableData]:
    paper = table.published()
    return [add_published(sheet, paper) for sheet in sheets] if published and paper is not None else sheets


def _with_notes(sheet: TableData, notes: Sequence[str]) -> TableData:
    """Put the notes on what was chosen before the others, whose numbers are of that."""
    sheet.notes[:0] = notes
    return sheet


def nothing_to_show(table: Table, store: Store, chosen: ChosenStudies, preset: str | None) -> str:
    """Return why a table has nothing to show, and the command that trains its runs."""
    if chosen.note:
        return f"No run that was selected belongs to {table.short_title()}. {chosen.note}"
    every, wanted = chosen.studies, preset or table.preset
    of = f" of preset {wanted}" if wanted else ""
    known = [study for study in every if wanted in ("", study.preset)]
    if not known:
        problem = f"There are no results{of} in {store.root}"
    else:
        problem = f"No run{of} in {store.root} belongs to {table.short_title()}"
    last = known[-1] if known else None
    root = store.root if last is None else last.root  # a collected study takes no runs
    commands = reproduce.exhibit_commands([table], root, last, preset=preset, tasks=_tasks(table, last))
    return f"{problem}; give another folder with --results DIR, or run: {'; '.join(map(shlex.join, commands))}"


def _tasks(table: Table, study: StudyResults | None) -> list[str]:
    """Return the study's tasks that the table is about."""
    own = {name.strip() for request in table.requests for name in request.settings.get("tasks", "").split(",")} - {""}
    return [task for task in study.tasks if not own or task in own] if study else []
