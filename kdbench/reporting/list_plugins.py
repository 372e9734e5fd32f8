"""Methods, tasks and presets, each with a sentence."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.core.formatting import value
from kdbench.core.settings import Training
from kdbench.core.spec import DataRef, ModelRef, RunSpec
from kdbench.data.task import TASKS
from kdbench.distill.method import METHODS, Method
from kdbench.planning import config
from kdbench.planning.executor import EXECUTORS
from kdbench.reporting import printing

USES = {
    "teacher": "a pre-trained teacher, trained along",
    "feedback": "feedback data",
    "teacher_lr": "the setting teacher_lr",
}


def methods(console: Console) -> None:
    """Every method, its variants below it."""
    grid = _grid()
    for name, method in _ordered(METHODS.all()):
        title = Text.assemble((method.title, "bold"), f"  {method.paper}")
        text = [title, Text(about(method)), Text(f"needs {needs(method) or 'the labels only'}", style="dim")]
        grid.add_row(Text(name, style="bold"), Text("\n").join(text))
        for variant, (title_, values) in method.variants.items():
            changed = " ".join(f"{key}={value(item)}" for key, item in values.items())
            grid.add_row(Text(f"  {variant}"), Text.assemble(title_, (f"  {changed}", "dim")))
        grid.add_row("", "")
    printing.print_table(console, grid, wrap=True)
    _broken(METHODS.broken, "method", console)
    printing.print_line(console, "Options of one: kdbench show METHOD. Run some: kdbench run --methods kd,lgtm", "dim")


def tasks(console: Console) -> None:
    """Every task with what it is scored by."""
    table = _table("name", "title", "labels", "metrics", "official rows", "about")
    table.columns[0].no_wrap = True
    for name, task in _ordered(TASKS.all()):
        rows = "\n".join(f"{split} {number}" for split, number in task.official_rows.items())
        labels, metrics = "\n".join(task.labels), "\n".join(task.metrics)
        table.add_row(Text(name, style="bold"), *map(Text, (task.title, labels, metrics, rows, about(task))))
    printing.print_table(console, table, wrap=True)
    _broken(TASKS.broken, "task", console)
    groups = ", ".join(sorted({task.group for task in TASKS.all().values() if task.group}))
    printing.print_line(
        console, f"The first metric selects. Groups: {groups}. Run some: kdbench run --tasks mrpc,rte", "dim"
    )


def presets(console: Console) -> None:
    """Every preset with its models."""
    grid = _grid()
    for name, path in config.preset_files().items():
        values: Mapping[str, Any] = config.read_toml(path)
        models = f"{values.get('teacher')} teaches {values.get('student')}, data: {values.get('source')}"
        text = f"{_sentence(str(values.get('description', '')))}\n"
        grid.add_row(Text(name, style="bold"), Text.assemble(text, (models, "dim")))
    printing.print_table(console, grid, wrap=True)
    printing.print_line(console, "Use one: kdbench run --preset NAME; change a value: --set KEY=VALUE", "dim")


def executors(console: Console) -> None:
    """Every executor with its settings."""
    grid = _grid()
    for name, executor in EXECUTORS.all().items():
        about_it = (inspect.getdoc(executor) or "").partition("\n")[0]
        grid.add_row(Text(name, style="bold"), Text.assemble((executor.title, "bold"), f"  {about_it}"))
        for key, field in executor.options_type.model_fields.items():
            default = "" if field.default in ("", [], {}) else f"  default {value(field.default)}"
            grid.add_row(Text(f"  {name}.{key}"), Text.assemble(str(field.description), (default, "dim")))
    printing.print_table(console, grid, wrap=True)
    _broken(EXECUTORS.broken, "executor", console)
    printing.print_line(
        console, "Use one: kdbench run --executor NAME --set NAME.KEY=VALUE, or a table in kdbench.toml", "dim"
    )


def _table(*names: str) -> Table:
    return Table(*names, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")


def _grid() -> Table:
    """Names to the left, text to the right."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    return grid


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _ordered(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(found.items(), key=lambda item: (item[1].position, item[0]))


def about(plugin: type[Any]) -> str:
    """The first line of the file's docstring (of the class's, where the file has none), without title and paper."""
    file = sys.modules.get(plugin.__module__)
    text = (file.__doc__ if file else None) or inspect.getdoc(plugin) or ""
    first = text.strip().partition("\n")[0].removeprefix(f"{plugin.title}: ")
    paper = getattr(plugin, "paper", "")
    return _sentence(first.replace(f" ({paper})", "") if paper else first)


def needs(method: type[Method]) -> str:
    """What a method needs beside the student and the labels, in words."""
    names = {"teacher": "a fine-tuned teacher", "assistant": "an assistant, distilled from a fine-tuned teacher"}
    parts = [names.get(role, role) for role in _roles(method)]
    hidden = {"teacher_lr"} if "teacher" in method.requires else set()
    return ", ".join([*parts, *(words for key, words in USES.items() if key in method.requires - hidden)])


def _roles(method: type[Method]) -> Iterable[str]:
    """The roles of the runs that must be done first, asked with an example; none where the method wants more of it."""
    model = ModelRef(name="tiny-2x64", fingerprint="")
    data = DataRef(source="generated", path=None, fingerprint="")
    try:
        return method.needs(RunSpec(
            method=method.name, method_version=method.version, task="mrpc", seed=0, data=data, student=model,
            teacher=model, selection="train:0.1", feedback="train:0.1", training=Training(),
            options=method.options_type().model_dump(mode="json"),
        ))  # fmt: skip
    except Exception:  # a plugin's own code; a list is not the place to fail
        return ()


def _broken(broken: Mapping[str, str], what: str, console: Console) -> None:
    for name, why in broken.items():
        printing.print_line(console, f"The {what} '{name}' does not load: {why}.", "red")
