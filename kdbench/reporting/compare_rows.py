"""Compare two rows of a study task by task: the difference, its interval and p-value, and a conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from kdbench.core.errors import UserError
from kdbench.core.formatting import count, interval_end, p_value, signed
from kdbench.data.shared_texts import shared_text_notes
from kdbench.data.task_registry import TASKS
from kdbench.reporting import missing_runs, notes
from kdbench.reporting.constant_notes import constant_notes
from kdbench.reporting.formats.text import render
from kdbench.reporting.learning_notes import still_learning_notes
from kdbench.reporting.provenance import study_origin, task_origin, traceable_rows
from kdbench.reporting.show_table import check_format
from kdbench.reporting.study_choice import StudyChoice, choose_row, require_studies
from kdbench.reporting.tables import TableCell, TableData
from kdbench.results.class_use import is_collapsed
from kdbench.results.comparison import ERROR_METHOD, Comparison, compare_cells, count_trials
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.significance import (
    ALPHA,
    MOST_SEEDS,
    POWER,
    Difference,
    average_difference,
    holm_correction,
    seeds_needed,
)
from kdbench.results.store import Store
from kdbench.results.study import TEACHER, StudyResults, task_title

HEAD = ("Difference", "95 % interval", "p", "p,\nHolm", "Seeds", "Seeds\nneeded")


@dataclass(frozen=True)
class RowPair:
    """Two rows of a study, with their titles in tables."""

    study: StudyResults
    names: tuple[str, str]
    titles: tuple[str, str]


def show_comparison(
    rows: tuple[str, str], store: Store, choice: StudyChoice, form: str, console: Console
) -> None:  # fmt: skip
    """Print the comparison of two rows for every chosen study that has both.

    Args:
        rows: names of methods, variants, or `teacher`; titles of tables as well.
        form: a format of tables.

    Raises:
        UserError: a name is not known or given twice, or no study has both rows.
    """
    check_format(form)
    chosen = require_studies(store, choice)
    pairs = _pairs(rows, chosen.studies)
    sheets = [sheet for pair in pairs if (sheet := _sheet(pair))]
    if not sheets:
        raise UserError(_nothing(pairs, f" on {choice.tasks}" if choice.tasks else ""))
    for sheet in sheets:
        sheet.notes += chosen.notes
    render(sheets, form, console)


def _nothing(pairs: Sequence[RowPair], on: str) -> str:
    """Return why the rows have nothing that is compared, and what shows their runs."""
    for pair in pairs:
        tasks = pair.study.tasks
        lines = {name: select_row(pair.study, name) for name in pair.names}
        if older := [line.title for line in lines.values() if line.older and not line.cells]:
            return (
                f"The runs of {' and '.join(older)}{on} are of an earlier version of the method or of its file; to "
                "compare it as it is, repeat their kdbench run command"
            )
        outside = {
            name: task
            for name in pair.names for task in tasks
            if pair.study.of(name, task) and not any(lines[name].asked[other] for other in tasks)
        }  # fmt: skip
        if outside:
            names, (name, task) = " and ".join(f"'{name}'" for name in outside), next(iter(outside.items()))
            return (
                f"Every run of {names}{on} was varied on purpose for another table, and is compared with none; "
                f"see: kdbench show {name} {task}"
            )
    first, second = pairs[0].names
    return f"There is no seed that is done of both '{first}' and '{second}'{on}; see: kdbench status"


def _pairs(rows: tuple[str, str], found: Sequence[StudyResults]) -> list[RowPair]:
    """Return the two rows in every study that has both.

    Raises:
        UserError: a name is not known or given twice, or no study has both rows.
    """
    # both names must be known, and different
    first, second = (choose_row(found, row) for row in rows)
    if first == second:
        others = ", ".join(sorted({row for study in found for row in traceable_rows(study)} - {first}))
        raise UserError(f"'{first}' is given twice; compare it with one of: {others or 'none, it is the only row'}.")
    # a study may have only one of them
    both = [study for study in found if {first, second} <= set(traceable_rows(study))]
    if not both:
        raise UserError(f"No study has both '{first}' and '{second}': they were run with other settings or data.")
    return [RowPair(study, (first, second), (study.title(first), study.title(second))) for study in both]


def _sheet(pair: RowPair) -> TableData | None:
    """Build the table of a comparison; None where no task has a seed that both rows have finished."""
    # the tasks on which both rows have a seed in common
    tasks = pair.study.tasks
    lines = [select_row(pair.study, name).on(tasks) for name in pair.names]
    first, second = (line.shown for line in lines)
    shared = {t: {c.cell.seed for c in first[t]} & {c.cell.seed for c in second[t]} for t in tasks}
    found = {t: compare_cells(TASKS.get(t)(), first[t], second[t]) for t in tasks if shared[t]}
    if not found:
        return None
    # a row for each task, then the average
    corrected = dict(zip(found, holm_correction([one.difference.p for one in found.values()]), strict=True))
    titles = [line.title + (notes.DAGGER if line.saw_report else "") for line in lines]
    sheet = TableData(f"{' and '.join(titles)}, preset {pair.study.preset}: {pair.study.pairing}", ["", *titles, *HEAD])
    for task, one in found.items():
        _add(sheet, pair, task, one, corrected[task], ALPHA / len(found))
        for column, line in enumerate(lines, start=1):
            if any(is_collapsed(cell.run.class_use, "best") for cell in line.shown[task]):
                sheet.rows[-1][column] = replace(sheet.rows[-1][column], sign=notes.COLLAPSE_SIGN)
    if len(found) > 1:
        _add(sheet, pair, "average", _mean(list(found.values())), None)
        sheet.rules = {len(found)}
    # notes
    lacking = [task_title(task) for task in tasks if not shared[task]]
    sheet.notes += _notes(found, corrected, lacking)
    sheet.notes += [
        *notes.class_use_notes(lines),
        *constant_notes(lines, list(map(TASKS.get, found))),
        *still_learning_notes(lines),
        *_cautions(pair.study, lines),
    ]
    return sheet


def _cautions(study: StudyResults, lines: Sequence[SelectedRow]) -> list[str]:
    """Return the notes that a table has about its rows, for these two rows."""
    said: dict[str, list[str]] = {}
    for task in lines[0].asked if TEACHER not in (line.row for line in lines) else ():
        tried = [count_trials(line, task) for line in lines]
        if min(tried) not in (0, max(tried)):
            words = ", ".join(f"{line.title} {count(n, 'setting')}" for line, n in zip(lines, tried, strict=True))
            said.setdefault(words, []).append(task_title(task))
    budgets = "; ".join(f"{words} ({', '.join(names)})" for words, names in said.items())
    return [
        *notes.row_notes([(study, lines)]),
        *missing_runs.version_notes(lines),
        *([f"Picked among unequal numbers of settings: {budgets}."] if budgets else []),
        *notes.evidence_notes(study.on(lines[0].asked)),
    ]


def _mean(found: Sequence[Comparison]) -> Comparison:
    """Average comparisons over tasks. The seeds are those of every task; () where tasks have different seeds."""
    seeds = found[0].seeds if len({one.seeds for one in found}) == 1 else ()
    first, second = (sum(values) / len(found) for values in zip(*((o.first, o.second) for o in found), strict=True))
    return Comparison(seeds, first, second, average_difference([one.difference for one in found]))


def _add(
    sheet: TableData, pair: RowPair, task: str, one: Comparison, corrected: float | None, level: float = ALPHA
) -> None:  # fmt: skip
    """Add a row, its record for CSV and its conclusion as a note.

    Args:
        corrected: the Holm-corrected p-value; None in the row of the average.
        level: significance level for the number of seeds needed.
    """
    # numbers
    d, title = one.difference, "Average" if corrected is None else task_title(task)
    low, high = d.interval()
    judged = d.p if corrected is None else corrected
    more = seeds_needed(d, level) if d.seeds > 1 else None
    # the printed row
    cells = [
        f"{one.first:.1f}", f"{one.second:.1f}", signed(d.value), f"{interval_end(low)} to {interval_end(high)}",
        p_value(d.p), "–" if corrected is None else p_value(corrected), str(d.seeds),
        str(more) if more else f">{MOST_SEEDS}" if d.seeds > 1 and d.variance and d.value else "–",
    ]  # fmt: skip
    sheet.rows.append([TableCell((title,)), *(TableCell((text,)) for text in cells)])
    # the conclusion and the unrounded numbers
    sheet.notes.append(f"{title}: {_conclusion(pair.titles, d, judged, more)}.")
    origin = study_origin(pair.study) if corrected is None else task_origin(pair.study, task)
    sheet.records.append({
        **origin, "first": pair.names[0], "second": pair.names[1], "task": task,
        "unit": "per cent", "first_mean": one.first, "second_mean": one.second, "difference": d.value, "low": low,
        "high": high, "p": d.p, "p_holm": "" if corrected is None else corrected,
        "seeds": " ".join(map(str, one.seeds)), "seeds_needed": more or "",
    })  # fmt: skip


def _conclusion(titles: tuple[str, str], d: Difference, p: float, more: int | None) -> str:
    """Say in words which row is higher, or how many seeds would show a true difference of this size.

    Args:
        p: the p-value to judge by, corrected where it can be.
        more: the number of seeds needed; None where it is not known or too large.
    """
    seeds = count(d.seeds, "seed")
    if p < ALPHA:
        return f"{titles[d.value < 0]} is higher{' (one seed: another may differ)' if d.seeds == 1 else ''}"
    if d.variance == 0:
        return "the same predictions"
    if d.p < ALPHA:
        seeds += ", once corrected for the number of tasks"
    if d.seeds == 1 or d.value == 0:
        return f"not separable with {seeds}"
    if more is None:
        return f"not separable with {seeds}; more than {MOST_SEEDS:,} seeds, or more items, are needed"
    return f"not separable with {seeds}; a true difference of this size would take about {more} seeds"


def _notes(found: dict[str, Comparison], corrected: dict[str, float], lacking: Sequence[str]) -> list[str]:
    """Return the notes that explain the columns of a comparison.

    Args:
        lacking: titles of the tasks without a common seed.
    """
    said = [
        "In per cent, over the seeds that both have; the numbers of a task are averaged first.",
        ERROR_METHOD,
    ]
    # p-values and seeds needed
    if len(corrected) > 1:
        said.append(f"p, Holm: corrected for {len(corrected)} tasks; a difference is called one below {ALPHA}.")
    single = [task_title(task) for task, one in found.items() if one.difference.seeds == 1]
    if single:
        where = f" on {', '.join(single)}" if len(single) < len(found) else ""
        said.append(f"One seed{where}: only items are resampled, so nothing is said about other seeds.")
    if len(single) < len(found):
        aim = f"{100 * POWER:g} % power at {100 * ALPHA:g} %"
        parted = f" (on a task at {100 * ALPHA:g} % / {len(found)}, as p is corrected)" if len(found) > 1 else ""
        said.append(
            f"Seeds needed: for {aim}{parted}, a rough guess from these seeds; >{MOST_SEEDS} also where items are too "
            f"few{', – where there is one seed' if single else ''}."
        )
    # what is missing
    if lacking:
        over = f"; the average is over the other {len(found)} tasks" if len(found) > 1 else ""
        said.append(f"No seed in common: {', '.join(lacking)}{over}.")
    if len({one.seeds for one in found.values()}) > 1:
        said.append("Average: tasks have different seeds, and it has the fewest of a task.")
    return [*said, *shared_text_notes(map(TASKS.get, found))]
