"""From the series of runs to the curves of a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kdbench.data.task import TASKS
from kdbench.reporting import notes
from kdbench.reporting.figures import Curve, Lacking, LineStyle
from kdbench.results import series
from kdbench.results.selection import SelectedRow, best_grid_point, newest_version
from kdbench.results.study import CellResult, StudyResults, task_title

SeriesPoints = dict[int, tuple[float, Any]]  # step -> (epoch, value)
SeriesReader = Callable[[CellResult], SeriesPoints]


def method_lines(study: StudyResults, task: str, rows: Iterable[str]) -> list[SelectedRow]:
    """Each row at the grid point that tables show.

    Raises:
        Lacking: a row has no finished run on the task.
    """
    found = [_line(study, task, row, newest_version(c for c in study.of(row, task) if c.has({}))) for row in rows]
    return _all_there(found, task)


def setting_lines(
    study: StudyResults, task: str, row: str, settings: Mapping[str, Mapping[str, Any]]
) -> list[SelectedRow]:
    """One method in several settings, all else equal: at the other settings that most lines have, then most seeds.

    Of several such, they are those with the best mean on the selection split.

    Args:
        settings: title -> the settings that make the line.

    Raises:
        Lacking: one of them has no finished run on the task.
    """
    keys = {key for values in settings.values() for key in values}
    cells = newest_version(study.of(row, task))
    asked = {title: [c for c in cells if c.has(values)] for title, values in settings.items()}
    common = _common(asked.values(), keys, TASKS.get(task).metrics[0])
    found = [
        _line(study, task, row, group, title, [c for c in group if _rest(c, keys) == common])
        for title, group in asked.items()
    ]
    return _all_there(found, task)


def _rest(cell: CellResult, keys: Iterable[str]) -> str:
    """All settings of the run itself but `keys`."""
    own = {key: value for key, value in cell.settings.items() if "'s " not in key and key not in keys}
    return json.dumps(own, sort_keys=True)


def _common(groups: Iterable[list[CellResult]], keys: Iterable[str], metric: str) -> str | None:
    """The settings at which the lines are compared."""
    places: dict[str, list[tuple[int, float]]] = {}  # settings -> line and score of each finished run
    for i, group in enumerate(groups):
        for cell in group:
            if cell.run.result is not None:
                places.setdefault(_rest(cell, keys), []).append((i, cell.selection(metric)))

    def worth(rest: str) -> tuple[int, int, float]:
        runs = places[rest]
        return len({i for i, _ in runs}), len(runs), sum(score for _, score in runs) / len(runs)

    return max(sorted(places), key=worth, default=None)


def _line(
    study: StudyResults, task: str, row: str, asked: list[CellResult], title: str = "",
    among: list[CellResult] | None = None,
) -> SelectedRow:  # fmt: skip
    """The cells that were asked for, and what is drawn: the best grid point of them, or `among` some of them."""
    shown = best_grid_point(asked if among is None else among, TASKS.get(task).metrics[0])
    name = study.title(row) if row in study.titles else row
    return SelectedRow(row, f"{name}: {title}" if title else name, {task: asked}, {task: shown})


def _all_there(found: list[SelectedRow], task: str) -> list[SelectedRow]:
    lacking = [line.title for line in found if not line.shown[task]]
    if lacking:
        raise Lacking(f"{' and '.join(lacking)} on {task_title(task)}")
    return found


def series_reader(split: str, key: str) -> SeriesReader:
    """Reads one key of a run's series."""

    def read(cell: CellResult) -> SeriesPoints:
        found = series.read_series(cell.run.folder.series)
        return {r["step"]: (r["epoch"], r["value"]) for r in found if (r["split"], r["key"]) == (split, key)}

    return read


def trained_series_reader(split: str, key: str) -> SeriesReader:
    """Like `recorded`, without step 0: what an untrained network scores says nothing and would set the scale."""
    whole = series_reader(split, key)

    def read(cell: CellResult) -> SeriesPoints:
        return {step: row for step, row in whole(cell).items() if step}

    return read


def drop_incomplete_seeds(
    found: Sequence[SelectedRow], task: str, reads: Mapping[str, SeriesReader]
) -> tuple[list[SelectedRow], list[str]]:
    """The lines without the seeds that wrote down nothing of what is drawn, and the note about these.

    Args:
        reads: by what a sentence calls it.

    Raises:
        Lacking: a line has no seed with all of it.
    """
    kept, lost, empty = list[SelectedRow](), list[str](), list[str]()
    for line in found:
        whole = [cell for cell in line.shown[task] if all(read(cell) for read in reads.values())]
        lost += [cell.run.id for cell in line.shown[task] if cell not in whole]
        empty += [] if whole else [line.title]
        kept.append(replace(line, shown={task: whole}))
    remedy = f"no {' or '.join(reads)} in the series of {', '.join(lost)}: delete the folders of these runs first"
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
    """A line over training, at the steps that all its seeds have.

    Raises:
        Lacking: the runs wrote down nothing of the kind.
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
    """A stored number; what was not finite is stored as null."""
    return math.nan if value is None else float(value)


def figure_origin(study: StudyResults, task: str) -> dict[str, Any]:
    """What tells pictures of one figure apart, and where their data comes from."""
    keys = ("student", "teacher", "source", "feedback", "selection", "split_seed", "train_rows")
    return {"preset": study.preset, **{key: study.study[key] for key in keys}, "task": task}


def figure_notes(
    study: StudyResults, shown: Sequence[SelectedRow], first: str = "", *, band: bool = True, equal: bool = False
) -> list[str]:
    """The notes of a picture: what it shows, then what the notes of a table would say of these lines.

    Args:
        first: what it shows; "" where that is said elsewhere.
        band: the picture shows means over seeds.
        equal: the lines come from `varied`.
    """
    spread = band_notes(shown) if band else []
    points = notes.grid_notes(study, shown)
    if equal and points:
        points = ["All lines at the same other settings: those with the most lines and seeds, then the best mean first "
                  "metric on the selection split.", *points[1:]]  # fmt: skip
    told = [*notes.protocol_notes(study, shown), *notes.training_notes(shown), *points]
    return [*([first] if first else []), *spread, *told, *notes.unfinished_notes(study, shown)]


def band_notes(shown: Sequence[SelectedRow]) -> list[str]:
    """What lines and bands are."""
    counts = {len(cells) for line in shown for cells in line.shown.values() if cells}
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts))
    several = f"Lines: mean over {seeds} seeds; bands: one sample standard deviation to each side."
    return [several if max(counts) > 1 else "One seed a line."]
