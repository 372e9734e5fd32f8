"""Build the shortest `kdbench run` command that reproduces a run or cell, or fills a table's gaps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from kdbench.core.settings import Invocation, Study
from kdbench.core.toml_files import read_toml
from kdbench.distill.method_registry import EVERYTHING, METHODS, in_group, methods_of_group
from kdbench.models.outputs_reference import outputs_arguments
from kdbench.planning.config import Config, preset_files
from kdbench.planning.exhibits import Exhibit
from kdbench.planning.make_plan import reads_network
from kdbench.planning.run_settings import (
    settings_arguments,
    settings_of,
    typed_value,
    unpurposed_settings,
    usual_of_rows,
    usual_settings,
)
from kdbench.results.selection import newest_version
from kdbench.results.study import TEACHER, CellResult, Run, StudyResults, closure
from kdbench.results.sweep_files import Sweep

# options of `kdbench run`; the other fields are keys of --set
STUDY_FLAGS = ("glue_dir", "data_dir", "feedback", "selection")
TEACHER_KEYS = {"teacher", "teacher_is_finetuned"}
USUAL_SEEDS = (0, 1, 2)  # for comparisons of a study that has fewer than two


def cell_command(cells: Sequence[CellResult], study: StudyResults) -> list[str]:
    """Build the command for cells that differ only in their seed. It plans their runs and no other cell.

    The teacher is reproduced through a row that needs it, because a table shows it with that row.
    """
    if cells[0].cell.row == TEACHER and TEACHER not in study.titles:
        cells = dependent_cells(study, [cell.run.id for cell in cells])
    first = cells[0]
    seeds = sorted({cell.cell.seed for cell in cells})
    words = ["kdbench", "run", "--methods", _row(first), "--tasks", first.cell.task]
    words += ["--seeds", ",".join(map(str, seeds)), "--preset", study.preset, *_places(study)]
    usual = usual_settings(first, study)
    wanted = settings_of(first, study.runs, usual)
    for key, item in wanted.items():
        if item is not None and item != "" and (key not in usual or usual[key] != item):
            words += ["--set", f"{key}={typed_value(item)}"]
    return words


def _row(cell: CellResult) -> str:
    """Return the argument of --methods for the cell's row; see `method_files.row_of`."""
    spec = cell.run.spec
    if spec.method_file is None:
        return cell.cell.row
    variant = f":{cell.cell.row}" if cell.cell.row != spec.method else ""
    return f"{spec.method_file.path}{variant}"


def exhibit_command(
    exhibits: Sequence[Exhibit], root: Path, study: StudyResults | None, *, preset: str | None = None,
    tasks: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """Build `kdbench run --for ...`: the runs of tables and figures, with the settings of an existing study.

    Args:
        root: the results folder.
        study: None where there are no results; then only `preset`, if given, sets anything. A file of outputs as
            teacher is left out where `needs_network`: the preset's teacher takes its place.
        tasks: for --tasks; () leaves them to the tables and figures.
    """
    preset = study.preset if study else preset
    # a file of outputs teaches only some methods of a group: name the rows that the study has
    is_group = any(methods_of_group(name) for name in asked_rows(exhibits))
    by_rows = _has_file_teacher(study) and not needs_network(exhibits, study) and is_group
    names = "" if by_rows else ",".join(one.name for one in exhibits if one.requests)
    # a table of whatever rows there are names them
    rows = "" if names else ",".join(study.rows) if study else EVERYTHING
    asked = {"--for": names, "--methods": rows, "--preset": preset, "--tasks": ",".join(tasks)}
    words = ["kdbench", "run", *(part for key, value in asked.items() if value for part in (key, value))]
    words += _as_in(study, () if by_rows else exhibits) if study else []
    return words + results_argument(root)


def results_argument(root: Path) -> list[str]:
    """Return the argument for a results folder, which the usual one does not need."""
    return [] if root == Path(Invocation().results) else ["--results", str(root)]


def needs_network(exhibits: Sequence[Exhibit], study: StudyResults | None) -> bool:
    """Return whether exhibits name a method that cannot learn from the study's teacher, a file of outputs."""
    methods = METHODS.all()
    owners = {METHODS.owner(name) or "" for name in asked_rows(exhibits)}
    return _has_file_teacher(study) and any(reads_network(methods[name]) for name in owners & methods.keys())


def _has_file_teacher(study: StudyResults | None) -> bool:
    """Return whether the study's teacher is a file of outputs."""
    return study is not None and "teacher" in study.networks and study.networks["teacher"].is_outputs


def asked_rows(exhibits: Sequence[Exhibit]) -> set[str]:
    """Return the methods, variants and groups that exhibits name."""
    return {name.strip() for one in exhibits for request in one.requests for name in request.methods.split(",")}


def exhibit_commands(
    exhibits: Sequence[Exhibit], root: Path, study: StudyResults | None, *, preset: str | None = None,
    tasks: Sequence[str] = (),
) -> list[list[str]]:  # fmt: skip
    """Build `exhibit_command` once for each group of tasks on which the study's rows have equal settings.

    One command would train every task with the settings of all. Tasks that the study does not have get the settings of
    the group with the most cells.
    """
    if study is None:
        return [exhibit_command(exhibits, root, study, preset=preset, tasks=tasks)]
    groups = _alike_tasks(study, exhibits)
    known = [task for group in groups for task in group]
    largest = max(groups, key=lambda group: sum(cell.cell.task in group for cell in study.cells), default=[])
    found = []
    for group in groups:
        names = [task for task in tasks if task in group or (group == largest and task not in known)]
        if names or (group == largest and not tasks):
            found.append(exhibit_command(exhibits, root, study.on(group), preset=preset, tasks=names))
    return found or [exhibit_command(exhibits, root, study, preset=preset, tasks=tasks)]


def _alike_tasks(study: StudyResults, exhibits: Sequence[Exhibit]) -> list[list[str]]:
    """Group the tasks of a study: in a group no row has other seeds or settings on one task than on another."""
    cells, own = _cells_of(study, exhibits), _varied_keys(exhibits)
    values: dict[str, dict[tuple[str, str], set[str]]] = {task: {} for task in study.tasks}
    for cell, key, item in unpurposed_settings(cells, study, own, usual_of_rows(cells, study)):
        if cell.cell.task in values:  # else its plugin is gone
            values[cell.cell.task].setdefault((cell.cell.row, key), set()).add(typed_value(item))
            values[cell.cell.task].setdefault((cell.cell.row, "seed"), set()).add(str(cell.cell.seed))
    groups: list[tuple[list[str], dict[tuple[str, str], set[str]]]] = []
    for task, mine in values.items():
        for tasks, theirs in groups:
            if all(theirs.get(place, some) == some for place, some in mine.items()):
                tasks.append(task)
                theirs |= mine
                break
        else:
            groups.append(([task], dict(mine)))
    return [tasks for tasks, _ in groups]


def rows_command(study: StudyResults, rows: Sequence[str], task: str, *, least_seeds: int = 1) -> list[str]:
    """Build the command that trains rows on a task with the settings and seeds that the study's rows have there.

    Args:
        rows: may include rows that the study lacks.
        least_seeds: where the study has fewer, the command has `USUAL_SEEDS`.
    """
    seeds = sorted({cell.cell.seed for cell in study.cells if cell.cell.task == task})
    seeds = seeds or sorted({cell.cell.seed for cell in study.cells})  # a task that the study lacks
    seeds = seeds if len(seeds) >= least_seeds else list(USUAL_SEEDS)
    words = ["kdbench", "run", "--methods", ",".join(rows), "--tasks", task, "--seeds", ",".join(map(str, seeds))]
    asked = [cell for cell in study.cells if cell.cell.task == task and {} in cell.varied]
    words += ["--preset", study.preset, *_places(study)]
    return words + settings_arguments(_newest(asked), study, (), _sections_read(rows))


def _newest(cells: Sequence[CellResult]) -> list[CellResult]:
    """Return the cells of each row's newest version, row by row."""
    rows = dict.fromkeys(cell.cell.row for cell in cells)
    return [cell for row in rows for cell in newest_version(c for c in cells if c.cell.row == row)]


def _as_in(study: StudyResults, exhibits: Sequence[Exhibit]) -> list[str]:
    """Return the arguments for seeds, networks, data and settings of the exhibits' cells.

    The keys that the exhibits vary themselves are left out.
    """
    own, cells = _varied_keys(exhibits), _cells_of(study, exhibits)
    seeds, read = sorted({cell.cell.seed for cell in cells}), _sections_read(_rows_of(study, exhibits))
    places = _places(study, {*own, *TEACHER_KEYS} if needs_network(exhibits, study) else own)
    return ["--seeds", ",".join(map(str, seeds)), *places, *settings_arguments(cells, study, own, read)]


def _varied_keys(exhibits: Sequence[Exhibit]) -> set[str]:
    """Return the keys that exhibits vary themselves."""
    return {key for one in exhibits for request in one.requests for key in request.varies}


def _rows_of(study: StudyResults, exhibits: Sequence[Exhibit]) -> set[str]:
    """Return the rows, or groups of methods, that exhibits ask for; of those that ask for none, those of the study."""
    return asked_rows(exhibits) or set(study.rows)


def _cells_of(study: StudyResults, exhibits: Sequence[Exhibit]) -> list[CellResult]:
    """Return the study's cells of the exhibits, or all where it has none of them; of each row the newest version."""
    own, rows = _varied_keys(exhibits), _rows_of(study, exhibits)
    cells = [
        cell for cell in study.cells
        if (cell.cell.row in rows or any(in_group(cell.cell.row, name) for name in rows))
        and any(set(varies) <= own for varies in cell.varied)
    ]  # fmt: skip
    return _newest(cells or study.cells)


def _sections_read(rows: Collection[str]) -> set[str]:
    """Return the sections of settings that are read when these rows are asked for."""
    methods = METHODS.all()
    several = {name for group in rows for name in methods_of_group(group)}
    return {*rows, *several, *(name for name, method in methods.items() if method.variants.keys() & set(rows))}


def dependent_cells(study: StudyResults, runs: Sequence[str]) -> list[CellResult]:
    """Return the cells of the row and grid point that need most of the runs, directly or not."""
    study = study.whole or study  # a teacher of a part may be needed by other rows alone
    found: dict[tuple[str, str, str], list[tuple[CellResult, set[str]]]] = {}
    for cell in study.cells:
        if here := (closure(cell.run.id, study.runs).keys() - {cell.run.id}) & set(runs):
            found.setdefault((cell.cell.row, cell.cell.task, cell.point), []).append((cell, here))
    best = max(found.values(), key=lambda some: len(set[str]().union(*(here for _, here in some))))
    return [cell for cell, _ in best]


def run_command(run: Run, study: StudyResults) -> list[str]:
    """Build the command for one run: that of its cell, or of a cell that needs it."""
    own = study.by_run.get(run.id, [])
    return cell_command(own[:1] or dependent_cells(study, [run.id])[:1], study)


def stored_commands(run: str, sweeps: Iterable[Sweep]) -> tuple[list[list[str]], bool]:
    """Return the commands, as typed, that asked for a run, and True; else those whose runs needed it, and False."""
    sweeps = list(sweeps)
    asked = [sweep.command for sweep in sweeps if run in {cell.run for cell in sweep.cells}]
    found = asked or [sweep.command for sweep in sweeps if run in sweep.runs]
    return [words for i, words in enumerate(found) if words not in found[:i]], bool(asked)


def _places(study: StudyResults, own: Collection[str] = ()) -> list[str]:
    """Return the arguments for networks, data and splits, as far as neither the preset nor `own` sets them."""
    known = Config(files=[read_toml(preset_files()[study.preset])]) if study.preset in preset_files() else Config()
    usual: Study = known.group(Study)
    teacher = study.networks["teacher"].argument if "teacher" in study.networks else ""
    words = [] if "teacher" in own else outputs_arguments(teacher)
    of_file = TEACHER_KEYS if words else set[str]()
    for key in Study.model_fields:
        item = study.networks[key].argument if key in study.networks else study.study.get(key)
        is_usual = item in (None, "", getattr(usual, key)) or (key == "source" and study.study["glue_dir"])
        if key in {*own, *of_file} or is_usual or (key in ("source", "glue_dir") and not study.sources):
            continue
        flag = f"--{key.replace('_', '-')}"
        if item is True:
            words += [flag]
        else:
            words += [flag, str(item)] if key in STUDY_FLAGS else ["--set", f"{key}={item}"]
    return words
