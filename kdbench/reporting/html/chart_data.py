"""Compute the numbers of the report's charts from scores, series and costs, for every choice the reader can make."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.core.formatting import sentence
from kdbench.data.task import metric_title
from kdbench.data.task_registry import TASKS
from kdbench.reporting import machines, provenance
from kdbench.reporting.figures import Curve, LineStyle, Panel
from kdbench.reporting.formats import line_styles
from kdbench.reporting.html.run_pages import COST_TITLES
from kdbench.reporting.tables import TableData
from kdbench.results import series
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import TEACHER, Run, StudyResults, task_title

POINTS = 60  # of a curve of training losses, at most
DASHES = {"-": "none", "--": "7 4", "-.": "7 3 2 3", ":": "2 3"}  # as SVG has them
SYMBOLS = {"o": "circle", "^": "triangle-up", "v": "triangle-down", "D": "diamond", "P": "cross", "s": "square"}
AVERAGE = "average"
Chart = dict[str, Any]
Choices = dict[str, dict[str, str]]  # the name of a choice -> key -> words


def make_chart(
    name: str, kind: str, title: str, about: str, choices: Choices, views: Mapping[str, Any]
) -> Chart | None:
    """Build the data of a chart; None where there is nothing to draw.

    Args:
        name: id of the chart in the page.
        kind: which drawing code of the page draws it: strip, panels, or cost.
        about: the sentence below the title.
        choices: name of a menu -> key -> words.
        views: what is drawn, by the keys of the choices, joined by `|`.
    """
    left = {label: words for label, words in choices.items() if words}
    if not views:
        return None
    return {"id": name, "kind": kind, "title": title, "about": about, "choices": left, "views": dict(views)}


def style_data(label: str, look: LineStyle) -> dict[str, Any]:
    """Translate a line style to the names that the page uses (SVG dashes, d3 symbols)."""
    dash = DASHES[look.dash] if isinstance(look.dash, str) else " ".join(f"{2 * part:g}" for part in look.dash[1])
    found = {"label": label, "color": look.color, "dash": dash, "symbol": SYMBOLS[look.marker]}
    return {**found, "dark": line_styles.ON_DARK.get(look.color, look.color), "thin": look.thin}


def panel_data(drawn: Panel) -> dict[str, Any]:
    """Convert axes with curves to plain numbers."""
    curves = [
        {
            **style_data(curve.label, curve.look),
            "x": list(curve.epochs),
            "y": _rounded(curve.mean),
            "sd": _rounded(curve.spread) if curve.spread else None,
        }
        for curve in drawn.curves
    ]
    label = " ".join(drawn.y_label.split())
    return {"y": label, "title": drawn.title, "rule": drawn.rule, "limits": drawn.limits, "curves": curves}


def spread_chart(name: str, study: StudyResults, sheet: TableData, order: Sequence[str]) -> Chart | None:
    """Build the chart of the spread over seeds: one point a seed, the mean over the numbers of its cell.

    Args:
        order: of the tasks.
    """
    # the mean over the numbers of a cell, by task, row and seed
    values: dict[str, dict[str, dict[int, list[float]]]] = {}  # task -> row -> seed -> numbers
    for record in sheet.records:
        row = values.setdefault(record["task"], {}).setdefault(record["row"], {})
        row.setdefault(record["seed"], []).append(record["value"])
    means = {
        task: {row: {seed: statistics.fmean(v) for seed, v in seeds.items()} for row, seeds in by_row.items()}
        for task, by_row in values.items()
    }
    # a view a task, and one for the average
    tasks = {task: task_title(task) for task in order if task in means}
    views = {task: [_strip(study, row, seeds) for row, seeds in means[task].items()] for task in tasks}
    if len(tasks) > 1:
        whole = _whole([means[task] for task in tasks])
        views[AVERAGE] = [_strip(study, row, seeds) for row, seeds in whole.items()]
        tasks[AVERAGE] = "Average"
    about = "Each point is one seed, the bar their mean; numbers of a cell, such as F1 and accuracy, are averaged."
    if len(tasks) > 1 and any(set(seeds) < set(means[t][row]) for row, seeds in whole.items() for t in means):
        about += " The average is over the seeds that all tasks have, so that it may differ from that of the table."
    return make_chart(name, "strip", "Spread over seeds", about, {"Task": tasks}, {k: v for k, v in views.items() if v})


def _whole(by_task: Sequence[Mapping[str, Mapping[int, float]]]) -> dict[str, dict[int, float]]:
    """Average over tasks, for the seeds that all tasks have: row -> seed -> mean."""
    found = {}
    for row in by_task[0]:
        every = [rows.get(row, {}) for rows in by_task]
        seeds = sorted(set.intersection(*(set(one) for one in every)))
        if seeds:
            found[row] = {seed: statistics.fmean(one[seed] for one in every) for seed in seeds}
    return found


def _strip(study: StudyResults, row: str, seeds: Mapping[int, float]) -> dict[str, Any]:
    """Build the points of one row."""
    values = _rounded(seeds.values())
    return {**style_data(study.title(row), line_styles.of_row(study, row)), "seeds": list(seeds), "x": values}


def curves_chart(name: str, study: StudyResults, order: Sequence[str]) -> Chart | None:
    """Build the learning curves of the runs shown: score, losses and entropy gap over epochs.

    Scores and losses start after step 0, because an untrained network would set the scale.

    Args:
        order: of the tasks.
    """
    # the curves that the reader can choose: split, key, factor and label
    shown = [select_row(study, row) for row in provenance.traceable_rows(study)]
    views: dict[str, Any] = {}
    for task in order:
        metric = TASKS.get(task).metrics[0]
        title = f"{sentence(metric_title(metric))} on the selection split (%)"
        wanted = {"score": ("selection", metric, 100.0, title),
                  "loss": ("selection", "loss", 1.0, "Loss on the selection split (nats)"),
                  "train": ("train", "loss", 1.0, "Training loss of the method"),
                  "gap": ("probe", "entropy_gap", 1.0, "H(student) - H(teacher), train (nats)")}  # fmt: skip
        found = {key: list[Curve]() for key in wanted}
        # read each series once for all of them
        for line in shown:
            read = {cell.cell.seed: _series(cell.run) for cell in line.shown[task]}
            for key, (split, of, factor, _) in wanted.items():
                if drawn := _curve(study, line, {s: rows.get((split, of), {}) for s, rows in read.items()}, factor):
                    found[key].append(drawn)
        views |= {
            f"{task}|{key}": {"panels": [panel_data(Panel(wanted[key][3], drawn))]}
            for key, drawn in found.items()
            if drawn
        }
    # only tasks that have curves are offered
    tasks = {task: task_title(task) for task in order if any(key.startswith(f"{task}|") for key in views)}
    shows = {"score": "Selection score", "loss": "Selection loss", "train": "Training loss", "gap": "Entropy gap"}
    about = (
        "The runs of the table: mean over seeds, with a band of one standard deviation where four lines or fewer are "
        "shown. Scores and losses start after step 0. Methods minimise different training losses, which are not to be "
        "compared."
    )
    return make_chart(name, "panels", "Learning curves", about, {"Task": tasks, "Shown": shows}, views)


Points = dict[int, tuple[float, float]]  # step -> epoch and value


def _series(run: Run) -> dict[tuple[str, str], Points]:
    """Read the series of a run: (split, key) -> step -> (epoch, value)."""
    found: dict[tuple[str, str], Points] = {}
    for row in series.read_series(run.folder.series, ("selection", "train", "probe")):
        untrained = row["split"] == "selection" and not row["step"]
        if not untrained and isinstance(row["value"], int | float) and isinstance(row.get("epoch"), int | float):
            found.setdefault((row["split"], row["key"]), {})[row["step"]] = (row["epoch"], row["value"])
    return found


def _curve(study: StudyResults, line: SelectedRow, by_seed: Mapping[int, Points], factor: float) -> Curve | None:
    """Build a curve at the steps that all seeds have; of many steps, neighbours are averaged.

    Args:
        by_seed: seed -> points.
        factor: multiplies every value, such as 100 for per cent.
    """
    steps = sorted(set.intersection(*(set(points) for points in by_seed.values()))) if by_seed else []
    if not steps:
        return None
    width = math.ceil(len(steps) / POINTS)
    bins = [steps[i : i + width] for i in range(0, len(steps), width)]
    first = next(iter(by_seed.values()))
    epochs = tuple(statistics.fmean(first[step][0] for step in part) for part in bins)
    values = {
        seed: tuple(factor * statistics.fmean(points[step][1] for step in part) for part in bins)
        for seed, points in by_seed.items()
    }
    return Curve(line.title, line_styles.of_row(study, line.row), tuple(part[-1] for part in bins), epochs, values)


def cost_chart(name: str, study: StudyResults, order: Sequence[str]) -> Chart | None:
    """Build the chart of score against cost, for every cost that runs counted.

    Args:
        order: of the tasks.
    """
    shown = [select_row(study, row) for row in provenance.traceable_rows(study) if row != TEACHER]
    views: dict[str, list[dict[str, Any]]] = {}
    # a view for each task and kind of cost
    for task in order:
        for line in shown:
            for key, point in _points(study, line, task).items():
                views.setdefault(f"{task}|{key}", []).append(
                    {**style_data(line.title, line_styles.of_row(study, line.row)), **point}
                )
    # menus of what the views show
    kinds = dict.fromkeys(key.split("|")[1] for key in views)
    tasks = {task: task_title(task) for task in order if any(key.startswith(f"{task}|") for key in views)}
    words = {kind: sentence(COST_TITLES.get(kind, kind.replace("_", " "))) for kind in kinds}
    counted = {"all": "With the runs it needs", "own": "The run alone"}
    warning = machines.times_warning([cell for line in shown for cell in line.cells])
    said = warning or "Time depends on the machine."
    about = f"Means over seeds, bars of one standard deviation of the score. {said}"
    return make_chart(
        name, "cost", "Cost against score", about, {"Task": tasks, "Cost": words, "Counted": counted}, views
    )


def _points(study: StudyResults, line: SelectedRow, task: str) -> dict[str, dict[str, Any]]:
    """Return one row's points by `KIND|own` (the run alone) and `KIND|all` (with needed runs): means over seeds."""
    cells = line.shown[task]
    if not cells:
        return {}
    # all kinds of cost share the score
    scores = [provenance.mean_run_score(cell) for cell in cells]
    base = {
        "y": round(statistics.fmean(scores), 3),
        "sd": round(statistics.stdev(scores), 3) if len(scores) > 1 else None,
    }
    found = {}
    # costs that all seeds have, of the run alone and with all runs that it needs
    for scope in ("own", "all"):
        each = [
            provenance.cost_numbers(cell.run) if scope == "own" else provenance.total_cost(cell.run, study.runs)
            for cell in cells
        ]
        for kind in (key for key in each[0] if all(key in one for one in each)):
            found[f"{kind}|{scope}"] = {**base, "x": round(statistics.fmean(one[kind] for one in each), 3)}
    return found


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Round to six digits, more than can be seen; None for values that are not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
