"""Offer what a notebook imports from kdbench: run a study, and get results, tables and figures as objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.core.atomic_files import user_path
from kdbench.core.console import make_console
from kdbench.core.errors import UserError
from kdbench.reporting.data_frames import results_frame
from kdbench.reporting.tables import TableData
from kdbench.results.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from kdbench.reporting.study_choice import StudyChoice

Names = str | Sequence[str]


def load_results(results: str | Path = "results", preset: str | None = None) -> DataFrame:
    """Return the runs of a results folder, or of a collected study, as a data frame with a row a run.

    Columns are those of `kdbench.reporting.data_frames.results_frame`: what a run is, its settings, its scores in per
    cent, its cost.

    Args:
        preset: only runs of this preset.

    Raises:
        UserError: there is no such folder.
    """
    return results_frame(_open_store(results), preset)


def run_study(
    methods: Names | None = None,
    tasks: Names | None = None,
    seeds: str | int | Iterable[int] | None = None,
    *,
    data: str | Path = "",
    preset: str | None = None,
    results: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> DataFrame:
    """Train methods on tasks on this machine, as `kdbench run` does, and return their runs as `load_results` does.

    Done runs are skipped and interrupted ones go on. What is left out is taken from kdbench.toml in the working folder,
    or else from the command's defaults: all methods, tasks glue, seed 0, preset tiny, folder results.

    Args:
        data: a file or folder, or `hf:OWNER/NAME`, that becomes a task, beside `tasks`, as by `--data`.
        settings: any key of `--set`, such as `{"student_lr": 1e-4, "kd.temperature": [2, 4], "jobs": 2}`; a list is a
            grid.

    Raises:
        UserError: a name or value is not valid, no run reads a setting, or a run failed; those that are done are kept.
    """
    from kdbench.core.settings import Invocation
    from kdbench.data import new_declaration
    from kdbench.planning import config
    from kdbench.planning.make_plan import check_all_read, data_ref, make_plan, model_ref
    from kdbench.training.executors import sweep_record

    for cached in (data_ref, model_ref):  # a notebook may have changed data and networks since
        cached.cache_clear()
    if data:
        made = new_declaration.declare(new_declaration.Wishes(str(data)))
        made.write()
        tasks = f"{_joined(tasks)},{made.name}" if tasks else made.name
    pairs = [f"{key}={_joined(value)}" for key, value in (settings or {}).items()]
    names = {"methods": methods, "tasks": tasks, "seeds": seeds, "preset": preset, "results": results}
    layer = config.parse_sets(pairs, {key: _joined(value) for key, value in names.items() if value is not None})
    merged = config.assemble_config(layer, Path.cwd())
    asked, own = make_plan(merged), merged.group(Invocation)
    check_all_read(layer, [asked], own.executor)
    store = Store(user_path(own.results), create=False)
    store.check_raw()
    request = sweep_record.build_request(merged, asked, store, make_console(), tables=())
    sweep_record.start_requests([request], lambda _: None)
    frame = results_frame(store)
    ours = frame[frame["run"].isin(asked.runs)].reset_index(drop=True)
    if lost := list(ours.loc[ours["status"] != "done", "run"]):
        raise UserError(
            f"{len(lost)} of {len(ours)} runs are not done: {', '.join(lost[:5])}; kdbench show RUN says why."
        )
    return ours


def make_table(
    number: str | int = 1, results: str | Path = "results", preset: str | None = None, *,
    tasks: Names | None = None, methods: Names | None = None, student: str | None = None,
) -> TableData:  # fmt: skip
    """Return a table: `.frame` has its cells, `.numbers` the unrounded values, `.notes` the sentences.

    Args:
        number: `1` to `7`, or a name such as `cost` or `fidelity`.
        tasks, methods, student: what to show, as the options of `kdbench table` take it.

    Raises:
        UserError: no such table, nothing that was chosen, nothing to show, or several tables, of studies (give a preset
            or a student) or of tasks.
    """
    found = make_tables(number, results, preset, tasks=tasks, methods=methods, student=student)
    if len(found) > 1:
        titles = "; ".join(table.title for table in found)
        raise UserError(
            f"{results} holds {len(found)} such tables ({titles}); give preset, student or tasks, or use make_tables."
        )
    return found[0]


def make_tables(
    number: str | int = 1, results: str | Path = "results", preset: str | None = None, *,
    tasks: Names | None = None, methods: Names | None = None, student: str | None = None,
) -> list[TableData]:  # fmt: skip
    """Return a table of the paper for each study in a results folder; see `make_table`."""
    from kdbench.reporting.show_table import find_tables

    return find_tables(str(number), _open_store(results), _choice(preset, tasks, methods, student))[0]


def make_figure(
    name: str | int,
    results: str | Path = "results",
    preset: str | None = None,
    *,
    tasks: Names | None = None,
    methods: Names | None = None,
    student: str | None = None,
    width: str | float = "column",
) -> Figure:
    """Return a figure as a matplotlib object, for the study that was asked for last.

    Args:
        name: `2` to `6`, `scores`, `curves`; see `kdbench figure --help`.
        tasks, methods, student: what to draw, as the options of `kdbench figure` take it.
        width: `column`, `page`, or inches.

    Raises:
        UserError: no such figure, nothing that was chosen, or a run that it needs is not done.
    """
    from kdbench.reporting.formats.matplotlib_figure import draw
    from kdbench.reporting.show_figure import FigureChoice, find_figures

    wish = FigureChoice(**vars(_choice(preset, tasks, methods, student)), width=str(width))
    return draw(find_figures(str(name), _open_store(results), wish)[-1], wish.inches)


def _choice(preset: str | None, tasks: Names | None, methods: Names | None, student: str | None) -> StudyChoice:
    from kdbench.reporting.study_choice import StudyChoice

    return StudyChoice(
        preset, None if tasks is None else _joined(tasks), None if methods is None else _joined(methods), student
    )


def _open_store(results: str | Path) -> Store:
    path = user_path(str(results))
    if not path.is_dir():
        raise UserError(f"There is no results folder '{path}'; give the one that kdbench run wrote.")
    return Store(path, create=False)


def _joined(values: Any) -> str:
    """Write one value, or several, as the command line takes them."""
    several = isinstance(values, Iterable) and not isinstance(values, str | Path)
    return ",".join(map(str, values)) if several else str(values)
