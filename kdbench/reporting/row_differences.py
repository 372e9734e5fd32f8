"""Say in which settings and seeds the rows of a table differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from kdbench.core.formatting import seed_list, value
from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER, CellResult, task_title

Found = Mapping[str, Sequence[set[str]]]  # task -> of each row the distinct texts of its cells


def difference_notes(lines: Sequence[SelectedRow], keys: Iterable[str]) -> list[str]:
    """Say on which tasks rows differ in a setting, whether the other tasks differ in it, and whose seeds are others.

    Args:
        lines: rows with cells; the teacher's, which has settings of its own, is compared by its seeds alone.
        keys: the settings to look at.
    """
    notes: list[str] = []
    students = [line for line in lines if line.row != TEACHER]
    for key in keys:
        found = _by_task(students, partial(_texts, key=key))
        notes += [*_rows_differ(students, key, found), *_tasks_differ(key, found)]
    return [*notes, *_rows_differ(lines, "seeds", _by_task(lines, _seeds))]


def _by_task(lines: Sequence[SelectedRow], read: Callable[[Sequence[CellResult]], set[str]]) -> Found:
    """Return for each task, row by row, what `read` makes of the cells shown."""
    tasks = dict.fromkeys(task for line in lines for task, cells in line.shown.items() if cells)
    return {task: [read(line.shown.get(task, ())) for line in lines] for task in tasks}


def _texts(cells: Iterable[CellResult], key: str) -> set[str]:
    """Return the values of a setting that cells have, as texts."""
    return {value(cell.settings[key]) or "none" for cell in cells if cell.settings[key] is not None}


def _seeds(cells: Sequence[CellResult]) -> set[str]:
    """Return the seeds of cells as one text; nothing without cells."""
    return {seed_list(cell.cell.seed for cell in cells)} if cells else set()


def _rows_differ(lines: Sequence[SelectedRow], key: str, found: Found) -> list[str]:
    """Return a sentence for all tasks on which rows differ in the same way."""
    unequal: dict[str, list[str]] = {}  # what is said of the rows -> the tasks of which it is said
    for task, by_line in found.items():
        if len(set[str]().union(*by_line)) > 1:
            named = {line.title: "/".join(sorted(texts)) for line, texts in zip(lines, by_line, strict=True) if texts}
            unequal.setdefault(_by_row(named), []).append(task_title(task))
    where = {words: f" on {', '.join(some)}" if len(some) < len(found) else "" for words, some in unequal.items()}
    return [f"Rows differ in {key}{place}: {words}." for words, place in where.items()]


def _by_row(named: Mapping[str, str]) -> str:
    """List the values of rows; a value of many rows is said once, and that of most rows without their names."""
    usual, number = Counter(named.values()).most_common(1)[0]
    if number <= 2:
        return ", ".join(map(" ".join, named.items()))
    by_text: dict[str, list[str]] = {}
    for title, text in named.items():
        by_text.setdefault(text, []).append(title)
    rest = [f"{text} for {', '.join(titles)}" for text, titles in by_text.items() if text != usual]
    return f"{usual}, but {'; '.join(rest)}"


def _tasks_differ(key: str, found: Found) -> list[str]:
    """Return a sentence where tasks differ, of those on which all rows agree."""
    alike: dict[str, list[str]] = {}  # the one text of all rows -> the tasks that have it
    for task, by_line in found.items():
        texts = set[str]().union(*by_line)
        for text in texts if len(texts) == 1 else ():
            alike.setdefault(text, []).append(task_title(task))
    words = [f"{text} on {', '.join(titles)}" for text, titles in alike.items()]
    return [f"Tasks differ in {key}: {'; '.join(words)}."] if len(words) > 1 else []
