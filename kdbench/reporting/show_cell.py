"""Print everything about one cell of a table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from kdbench.core.errors import UserError
from kdbench.core.formatting import duration, value
from kdbench.planning import reproduce
from kdbench.reporting import printing, provenance
from kdbench.reporting.provenance import TracedCell
from kdbench.reporting.run_status import RunStatuses
from kdbench.reporting.show_run import print_commands, print_group
from kdbench.reporting.study_choice import StudyChoice, choose_row, choose_task, require_studies
from kdbench.results.data_origin import describe_data
from kdbench.results.store import Store
from kdbench.results.study import CellResult
from kdbench.results.sweep_files import read_sweeps


def show_cell(row: str, task: str, store: Store, choice: StudyChoice, console: Console) -> None:
    """Print a cell for every chosen study that has it: its numbers, runs, settings, and the command that reproduces it.

    Raises:
        UserError: the row or task is not known, nothing was chosen, or no study has the cell.
    """
    found = require_studies(store, choice).studies
    row, task = choose_row(found, row), choose_task(task)
    # trace the cell in each that has a run of it
    having = [study for study in found if row in provenance.traceable_rows(study) and task in study.tasks]
    every = [provenance.trace_cell(one, provenance.build_traced_table(one), row, task) for one in having]
    traced = [one for one in every if one.runs.asked or one.runs.elsewhere]
    if not traced:
        raise UserError(
            f"No run of {row} on {task} was asked for in {store.root}; run: "
            f"{shlex.join(['kdbench', 'run', '--methods', row, '--tasks', task, '--preset', found[-1].preset])}"
        )
    # print them
    statuses = RunStatuses(store)
    for i, one in enumerate(traced):
        if i:
            console.print()
        _cell(one, store, statuses, console)


def _cell(traced: TracedCell, store: Store, statuses: RunStatuses, console: Console) -> None:
    """Print one cell: its number, its runs by their role, their facts, and the commands that produce them."""
    # heading: the number, and the study it is from
    study = traced.study
    number = f"  {traced.entry.text}" if traced.entry and traced.runs.shown else ""
    words = "/".join(traced.heads[1:])
    head = Text.assemble((f"{traced.line.title} on {traced.heads[0]}{number}", "bold"), f"  {words}" if number else "")
    printing.print_line(console, head)
    setup = study.study
    where = f"{provenance.traced_title(study)}, preset {study.preset}: {study.pairing}"
    splits = f"feedback {setup['feedback']}, selection {setup['selection']}"
    printing.print_note(console, f"{where}; data {describe_data(study)}, {splits}")
    # the runs by role, then how they came about
    titles = {
        "Runs behind the numbers": traced.runs.shown,
        "Finished, but not behind the numbers": traced.runs.others,
        "Not done": traced.runs.missing,
        "Not in this table (varied on purpose, or of another version)": traced.runs.elsewhere,
    }
    for title, cells in titles.items():
        _runs(title, cells, traced, statuses, console)
    _facts(traced, console)
    _again(traced, store, console)


def _runs(
    title: str, cells: Sequence[CellResult], traced: TracedCell, statuses: RunStatuses, console: Console
) -> None:  # fmt: skip
    """Print a group of runs, one a line, with the settings in which the runs of the cell differ."""
    if not cells:
        return
    # a column for each setting that differs
    keys = provenance.differing_settings([*traced.runs.asked, *traced.runs.elsewhere])
    table = printing.make_table()
    for name in ("seed", "run", *keys, *traced.heads[1:], traced.selection, "cost", "state"):
        table.add_column(Text(name), no_wrap=True, justify="left" if name in ("run", "state") else "right")
    # numbers of finished runs, the status of all
    for cell in cells:
        run, (numbers, selection) = cell.run, provenance.score_texts(cell)
        seconds = provenance.cost_numbers(run).get("train_seconds")
        spent = duration(seconds) if seconds is not None else "–"
        state = statuses.status_of(traced.study, run)
        why = provenance.describe_problem(run, traced.study)
        settings = (value(cell.settings.get(key, "–")) for key in keys)
        parts = [str(cell.cell.seed), run.id, *settings, *([numbers] if traced.heads[1:] else []), selection, spent]
        style = printing.STATUS_STYLES.get(state, "")
        table.add_row(*map(Text, parts), Text(f"{state}  {why}".rstrip(), style=style))
    printing.print_heading(console, title)
    printing.print_table(console, table)


def _facts(traced: TracedCell, console: Console) -> None:
    """Print the facts of the runs behind the numbers (else of those asked for); where runs differ, every value."""
    runs = [cell.run for cell in traced.runs.shown or traced.runs.wanted or traced.runs.elsewhere]
    each = [provenance.run_facts(run) for run in runs]
    for title in dict.fromkeys(title for facts in each for title in facts):
        print_group(title, provenance.merge_values([facts.get(title, {}) for facts in each]), console)
    needs = [{f"needs, as {role}": parent for role, parent in run.spec.needs.items()} for run in runs]
    print_group("Needs", provenance.merge_values(needs), console)
    machines = [provenance.machine_facts(run) for run in runs]
    print_group("Machine and versions", provenance.merge_values(machines), console)


def _again(traced: TracedCell, store: Store, console: Console) -> None:
    """Print the command that reproduces the cell, and the commands that produced its runs."""
    cells = traced.runs.wanted or traced.runs.elsewhere[:1]
    printing.print_heading(console, "Make it again")
    printing.print_line(console, f"  {shlex.join(reproduce.cell_command(cells, traced.study))}")
    known = read_sweeps(store)
    commands = {shlex.join(words): None for cell in cells for words in reproduce.stored_commands(cell.run.id, known)[0]}
    if commands:
        print_commands("Made by", commands, console)
