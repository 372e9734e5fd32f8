"""Print the lists of methods, tasks, presets, settings, executors and runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.core.errors import UserError, check_known
from kdbench.core.formatting import ago, count, value
from kdbench.core.plugin_rows import in_table_order
from kdbench.core.settings import GROUPS, Invocation, Study
from kdbench.core.toml_files import read_toml
from kdbench.data.task import Task, selection_title
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS
from kdbench.planning import config
from kdbench.planning.executor import EXECUTORS
from kdbench.reporting import printing
from kdbench.reporting.run_status import STATES, RunStatuses
from kdbench.reporting.show_method import full_sentence, method_needs, options_table, plugin_summary
from kdbench.reporting.study_choice import EVERYTHING, StudyChoice, choose_rows, choose_runs
from kdbench.results.store import Store
from kdbench.results.study import Run, StudyResults

ListedRun = tuple[Run, str, set[str]]  # the run, its status, the names of its method and rows
MAX_LABELS = 6  # of a task that are listed


def list_methods(console: Console) -> None:
    """Print every method, with its variants below it."""
    grid = _name_grid()
    # a block for each method: name and text, then a line for each variant
    for name, method in in_table_order(METHODS.all()).items():
        group = (f"  --methods {method.group}" if method.group else "", "dim")
        title = Text.assemble((method.title, "bold"), f"  {method.paper}", group)
        needs = f"needs {method_needs(method) or 'the labels only'}"
        grid.add_row(
            Text(name, style="bold"), Text("\n").join([title, Text(plugin_summary(method)), Text(needs, "dim")])
        )
        for variant, (title_, values) in method.variants.items():
            changed = " ".join(f"{key}={value(item)}" for key, item in values.items())
            grid.add_row(Text(f"  {variant}"), Text.assemble(title_, (f"  {changed}", "dim")))
        grid.add_row("", "")
    printing.print_table(console, grid, wrap=True)
    _print_broken(METHODS.broken, "method", console)
    printing.print_line(console, "Options of one: kdbench show METHOD. Run some: kdbench run --methods kd,lgtm", "dim")


def list_tasks(console: Console) -> None:
    """Print every task with its labels, metrics and the official number of rows of each split."""
    table = printing.make_table()
    for head in ("name", "title", "labels", "metrics", "official rows", "about"):
        table.add_column(head, no_wrap=head in ("name", "official rows"))
    # labels, metrics and rows have a line each
    for name, task in in_table_order(TASKS.all()).items():
        rows = "\n".join(f"{split} {number}" for split, number in task.official_rows.items())
        labels, metrics = _shortened(task), "\n".join(task.metrics)
        table.add_row(Text(name, style="bold"), *map(Text, (task.title, labels, metrics, rows, plugin_summary(task))))
    printing.print_table(console, table, wrap=True)
    _print_broken(TASKS.broken, "task", console)
    groups = ", ".join(sorted({task.group for task in TASKS.all().values() if task.group}))
    text = (
        f"The first metric selects; f1 is that of the second label. Groups: {groups}. "
        "Run some: kdbench run --tasks mrpc,rte"
    )
    printing.print_line(console, text, "dim")


def _shortened(task: type[Task]) -> str:
    """Return the labels of a task, one a line; of many the first and the number, of a bad file the reason."""
    try:
        labels = task.labels
    except UserError as error:
        return str(error)
    if task.kind == "regression":
        return f"{labels[0]} (a number)"
    many = len(labels) > MAX_LABELS
    return "\n".join([*labels[: MAX_LABELS - 1 if many else None], *([f"... {len(labels)} in all"] if many else [])])


def list_presets(console: Console) -> None:
    """Print every preset with its models."""
    grid = _name_grid()
    for name, path in config.preset_files().items():
        values = read_toml(path)
        study: Study = config.Config(files=[values]).group(Study)
        models = f"{study.teacher} teaches {study.student}, data: {study.source}"
        text = f"{full_sentence(str(values.get('description', '')))}\n"
        grid.add_row(Text(name, style="bold"), Text.assemble(text, (models, "dim")))
    printing.print_table(console, grid, wrap=True)
    printing.print_line(console, "Use one: kdbench run --preset NAME; change a value: --set KEY=VALUE", "dim")


def list_settings(console: Console) -> None:
    """Print the settings that belong to no method, a table for each group, with default, meaning and source.

    What the usual preset sets otherwise stands beside the defaults, because that is what a plain command trains with.
    """
    usual = Invocation().preset
    preset = config.Config(files=[read_toml(config.preset_files()[usual])])
    for kind in GROUPS.values():
        printing.print_line(console, Text(" ".join((inspect.getdoc(kind) or "").split()), style="bold"))
        values = preset.group(kind).model_dump()
        changed = {key: item for key, item in values.items() if item != kind.model_fields[key].default}
        printing.print_table(console, options_table(kind, f"preset {usual}", changed), wrap=True)
        console.print()
    text = (
        f"A preset's values go before the defaults; {usual} is the preset where none is named (kdbench list presets)."
    )
    printing.print_line(console, text, "dim")
    text = "Set one: kdbench run --set KEY=VALUE; for the teacher's own training: --set teacher.KEY=VALUE"
    printing.print_line(console, text, "dim")


def list_executors(console: Console) -> None:
    """Print every executor with its settings and their defaults."""
    grid = _name_grid()
    # a block for each executor: name and text, then a line for each setting
    for name, executor in EXECUTORS.all().items():
        summary = (inspect.getdoc(executor) or "").partition("\n")[0]
        grid.add_row(Text(name, style="bold"), Text.assemble((executor.title, "bold"), f"  {summary}"))
        for key, field in executor.options_type.model_fields.items():
            default = "" if field.default in ("", [], {}) else f"  default {value(field.default)}"
            grid.add_row(Text(f"  {name}.{key}"), Text.assemble(str(field.description), (default, "dim")))
    printing.print_table(console, grid, wrap=True)
    _print_broken(EXECUTORS.broken, "executor", console)
    text = "Use one: kdbench run --executor NAME --set NAME.KEY=VALUE, or a table in kdbench.toml"
    printing.print_line(console, text, "dim")


LISTS: Mapping[str, Callable[[Console], None]] = {
    "methods": list_methods, "tasks": list_tasks, "presets": list_presets, "settings": list_settings,
    "executors": list_executors,
}  # fmt: skip


def list_runs(store: Store, choice: StudyChoice, status: str | None, console: Console) -> None:
    """Print the runs that were chosen, one a line.

    Args:
        status: print only runs with this status; None prints all.

    Raises:
        UserError: the folder holds no runs, no run has such a status, or see `choose_runs`.
    """
    every, statuses = choose_runs([store], EVERYTHING).studies, RunStatuses(store)
    found = _listed_runs(every, statuses)
    if not found:
        raise UserError(f"There are no runs in {store.root}; give another folder with --results DIR.")
    word = None if status is None else printing.status_word(status)
    check_known("status", [] if word is None else [word], STATES)
    # of a method only its own runs, and not those that they need; a method that others need may have no row
    rest = replace(choice, methods=None)
    studies = every if rest == EVERYTHING else choose_runs([store], rest).studies
    listed = _listed_runs(studies, statuses)
    names = set() if choice.methods is None else {name.strip() for name in choice.methods.split(",")}
    needed = names & {item[0].spec.method for item in listed.values()}
    rows = needed | (choose_rows(studies, ",".join(sorted(names - needed))) if names - needed else set())
    shown = [
        item for _, item in sorted(listed.items())
        if (choice.methods is None or rows & item[2]) and word in (None, item[1])
    ]  # fmt: skip
    if shown:
        printing.print_table(console, _run_table(shown))
    printing.print_line(console, f"{count(len(shown), 'run')} of {len(found)}")


def _listed_runs(found: Iterable[StudyResults], statuses: RunStatuses) -> dict[str, ListedRun]:
    """Return the runs of all studies by id; a run that belongs to several studies has the rows of all of them."""
    out: dict[str, ListedRun] = {}
    for study in found:
        rows: dict[str, set[str]] = {}
        for cell in study.cells:
            rows.setdefault(cell.run.id, set()).add(cell.cell.row)
        for run_id, run in study.runs.items():
            names = {run.spec.method} | rows.get(run_id, set()) | (out[run_id][2] if run_id in out else set())
            out[run_id] = (run, statuses.status_of(study, run), names)
    return out


def _run_table(items: Iterable[ListedRun]) -> Table:
    """Build the table of runs: progress in steps, loss, selection score in per cent, and when each was last updated.

    The score is the latest one; of a run that is done that of the checkpoint it kept, as in tables and `kdbench show`.
    """
    table = printing.make_table()
    for name in ("run", "status", "step", "loss", "selection", "student", "last news"):
        table.add_column(name, justify="right" if name in ("step", "loss", "selection") else "left", no_wrap=True)
    # numbers that a run does not have yet stay empty
    for run, status, _ in items:
        state = run.state
        steps = f"{state.step}/{state.total}" if state.total else ""
        loss = "" if state.loss is None else f"{state.loss:.3f}"
        kept = ((run.result or {}).get("best") or {}).get("selection") or {}
        metric = selection_title(run.task.metrics).removeprefix("selection ")
        key = run.task.metrics[0] if run.task.metrics else ""
        number = 100 * kept[key] if key in kept else state.score
        score = "" if number is None else f"{metric} {number:.1f}"
        word = Text(status, style=printing.STATUS_STYLES.get(status, "dim"))
        news = state.kind or ago(state.updated)
        table.add_row(run.id, word, steps, loss, score, Text(run.spec.student.name), Text(news))
    return table


def _name_grid() -> Table:
    """Build an empty grid of names to the left and text to the right."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    return grid


def _print_broken(broken: Mapping[str, str], kind: str, console: Console) -> None:
    """Print why plugins do not load, in red."""
    for name, why in broken.items():
        printing.print_line(console, f"The {kind} '{name}' does not load: {why}.", "red")
