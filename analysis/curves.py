"""Turn the series of runs into the curves of a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kdbench.analysis.published import row_title
from kdbench.core.formatting import count_range
from kdbench.data.task_registry import TASKS
from kdbench.reporting import fairness, missing_runs, notes, provenance
from kdbench.reporting.figures import Curve, Lacking, LineStyle
from kdbench.results import series
from kdbench.results.data_origin import describe_train_rows
from kdbench.results.selection import SelectedRow, best_grid_point, newest_version, select_row
from kdbench.results.study import CellResult, StudyResults, task_title

SeriesPoints = dict[int, tuple[float, Any]]  # step -> (epoch, value)
SeriesReader = Callable[[CellResult], SeriesPoints]


def method_lines(study: StudyResults, task: str, rows: Iterable[str]) -> list[SelectedRow]:
    """Return each row at the grid point that tables show.

    Raises:
        Lacking: a row has no finished run on the task.
    """
    lines = (select_row(study, row, title=row_title(study, row)).on([task]) for row in rows)
    return _all_there(list(lines), task)


def setting_lines(
    study: StudyResults, task: str, row: str, settings: Mapping[str, Mapping[str, Any]]
) -> list[SelectedRow]:
    """Return one method in several settings, all else equal.

    The other settings are those that most lines have, then most seeds, then the best mean on the selection split.

    Args:
        settings: title -> the settings of a line.

    Raises:
        Lacking: a line has no finished run on the task.
    """
    keys = {key for values in settings.values() for key in values}
    every = newest_version(cell for each in study.tasks for cell in study.of(row, each))
    cells = [cell for cell in every if cell.cell.task == task]
    asked = {title: [c for c in cells if c.has(values)] for title, values in settings.items()}
    common = _common(asked.values(), keys, TASKS.get(task).metrics[0])
    found = []
    for title, group in asked.items():
        shown = best_grid_point([c for c in group if _rest(c, keys) == common], TASKS.get(task).metrics[0])
        found.append(SelectedRow(row, f"{row_title(study, row)}: {title}", {task: group}, {task: shown}))
    return _all_there(found, task)


def _rest(cell: CellResult, keys: Iterable[str]) -> str:
    """Return all settings of the run itself but `keys`, as JSON."""
    own = {key: value for key, value in cell.settings.items() if "'s " not in key and key not in keys}
    return json.dumps(own, sort_keys=True)


def _common(groups: Iterable[list[CellResult]], keys: Iterable[str], metric: str) -> str | None:
    """Return the settings at which the lines are compared."""
    places: dict[str, list[tuple[int, float]]] = {}  # settings -> line and score of each finished run
    for i, group in enumerate(groups):
        for cell in group:
            if cell.run.result is not None:
                places.setdefault(_rest(cell, keys), []).append((i, cell.selection(metric)))

    def worth(rest: str) -> tuple[int, int, float]:
        runs = places[rest]
        return len({i for i, _ in runs}), len(runs), sum(score for _, score in runs) / len(runs)

    return max(sorted(places), key=worth, default=None)


def _all_there(found: list[SelectedRow], task: str) -> list[SelectedRow]:
    """Check that every line has finished runs.

    Raises:
        Lacking: a line has none.
    """
    lacking = [line.title for line in found if not line.shown[task]]
    if lacking:
        raise Lacking(f"{' and '.join(lacking)} on {task_title(task)}")
    return found


def series_reader(split: str, key: str) -> SeriesReader:
    """Return a function that reads one key of a run's series."""

    def read(cell: CellResult) -> SeriesPoints:
        found = series.read_series(cell.run.folder.series)
        return {r["step"]: (r["epoch"], r["value"]) for r in found if (r["split"], r["key"]) == (split, key)}

    return read


def selection_reader(metric: str) -> SeriesReader:
    """Return a reader of a metric on the selection split, without step 0: an untrained network would set the scale."""
    whole = series_reader("selection", metric)

    def read(cell: CellResult) -> SeriesPoints:
        return {step: row for step, row in whole(cell).items() if step}

    return read


def drop_incomplete_seeds(
    found: Sequence[SelectedRow], task: str, reads: Mapping[str, SeriesReader]
) -> tuple[list[SelectedRow], list[str]]:
    """Return the lines without the seeds whose series lack something, and a note about these seeds.

    Args:
        reads: name in sentences -> reader.

    Raises:
        Lacking: a line has no complete seed.
    """
    kept, lost, empty = list[SelectedRow](), list[str](), list[str]()
    for line in found:
        whole = [cell for cell in line.shown[task] if all(read(cell) for read in reads.values())]
        lost += [cell.run.id for cell in line.shown[task] if cell not in whole]
        empty += [] if whole else [line.title]
        kept.append(replace(line, shown={task: whole}))
    remedy = f"no {' or '.join(reads)} in the series of {', '.join(lost)}: delete the folders of these runs first"
    if empty and TASKS.get(task).kind == "regression":
        some = f"{task_title(task)} is a regression, of which no {' or '.join(reads)} is recorded"
        raise Lacking(f"{' and '.join(empty)} on a task of classes ({some})")
    if empty:
        raise Lacking(f"{' and '.join(empty)} on {task_title(task)} with whole series ({remedy})")
    return kept, [f"Left out: {remedy}, to train them again."] if lost else []


def make_curve(
    line: SelectedRow,
    task: str,
    look: LineStyle,
    read: SeriesReader,
    *,
    label: str = "",
    factor: float = 1.0,
    **about: Any,
) -> Curve:
    """Build a curve over training, at the steps that all seeds have.

    Args:
        factor: multiplies every value, such as 100 for per cent.
        about: further columns for CSV.

    Raises:
        Lacking: the series have no such numbers.
    """
    by_seed = {cell.cell.seed: read(cell) for cell in line.shown[task]}
    steps = sorted(set.intersection(*map(set, by_seed.values())))
    if not steps:
        raise Lacking(f"{line.title} on {task_title(task)} with such numbers in its series")
    values = {seed: tuple(factor * stored_number(rows[step][1]) for step in steps) for seed, rows in by_seed.items()}
    epochs = tuple(float(next(iter(by_seed.values()))[step][0]) for step in steps)
    columns = {"row": line.row, "runs": " ".join(cell.run.id for cell in line.shown[task]), **about}
    return Curve(label or line.title, look, tuple(steps), epochs, values, columns)


def stored_number(value: Any) -> float:
    """Convert a stored number; null stands for a number that was not finite."""
    return math.nan if value is None else float(value)


def figure_origin(study: StudyResults, task: str) -> dict[str, Any]:
    """Return what tells the pictures of a figure apart, and where their data come from."""
    drawn = describe_train_rows(study.on(task.split(",")))
    data = study.other_data.removeprefix(", data of ")
    return {**provenance.study_origin(study), "data": data, "train_rows": drawn, "task": task}


def figure_notes(
    study: StudyResults, shown: Sequence[SelectedRow], first: str = "", *, band: bool = True, equal: bool = False
) -> list[str]:
    """Return the notes of a figure: what it shows, then the notes that a table has about these lines.

    Args:
        first: what the figure shows; "" where other notes say it.
        band: the figure shows means over seeds.
        equal: the lines come from `setting_lines`.
    """
    spread = band_notes(shown) if band else []
    points = notes.grid_notes(study, shown)
    if equal and points:
        points = ["All lines at the same other settings: those with the most lines and seeds, then the best mean first "
                  "metric on the selection split.", *points[1:]]  # fmt: skip
    told = [*notes.protocol_notes(study, shown), *notes.training_notes(shown), *points]
    told += [*fairness.option_notes(study, shown), *notes.class_use_notes(shown)]
    return [*([first] if first else []), *spread, *told, *missing_runs.unfinished_notes(study, shown)]


def band_notes(shown: Sequence[SelectedRow]) -> list[str]:
    """Explain lines and bands."""
    counts = {len(cells) for line in shown for cells in line.shown.values() if cells}
    if max(counts) == 1:
        return ["One seed a line."]
    return [f"Lines: mean over {count_range(counts, 'seed')}; bands: one sample standard deviation to each side."]
