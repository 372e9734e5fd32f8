"""Describe a method: its summary, what it needs, its options and variants."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.core.errors import UserError, unknown
from kdbench.core.formatting import sentence, value
from kdbench.core.options import Options
from kdbench.core.settings import Training
from kdbench.core.spec import DataRef, ModelRef, RunSpec
from kdbench.core.toml_files import read_toml
from kdbench.data.task_registry import TASKS
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS
from kdbench.planning.config import preset_files
from kdbench.reporting import printing

REQUIREMENTS = {  # what `Method.requires` names, in words
    "teacher": "a pre-trained teacher, trained along",
    "feedback": "feedback data",
    "teacher_lr": "the setting teacher_lr",
    "teacher_network": "the teacher as a network (not a file of outputs)",
}
BOUNDS = {"ge": "≥ ", "gt": "> ", "le": "≤ ", "lt": "< "}


def find_method(name: str) -> type[Method] | None:
    """Return the method, or the method that has the variant, called `name`; None where there is none.

    Raises:
        UserError: the method does not load.
    """
    found = METHODS.owner(name)
    return METHODS.get(found) if found else None


def show_method(name: str, method: type[Method], console: Console) -> None:
    """Print the summary, options and variants of a method.

    Args:
        name: of the method, or of a variant, whose values then stand beside the defaults.
    """
    title, changed = method.variants.get(name, (method.title, {}))
    origin = ", ".join(filter(None, (method.paper, f"version {method.version}")))
    printing.print_line(console, Text.assemble((title, "bold"), f"  {origin}"))
    printing.print_note(console, plugin_summary(method))
    printing.print_note(console, f"needs {method_needs(method) or 'the labels only'}")
    if method.no_regression:
        printing.print_note(console, f"no regression: {method.no_regression}")
    if not method.options_type.model_fields:
        printing.print_line(console, "It has no options of its own; kdbench list settings has those of every run.")
    else:
        console.print()
        printing.print_table(console, options_table(method.options_type, name, changed), wrap=True)
    for preset, path in preset_files().items():
        if own := read_toml(path).get(method.name):
            printing.print_line(console, f"preset {preset}: {_written(own)}")
    for variant, (label, values) in method.variants.items():
        printing.print_line(console, f"variant {variant}, {label}: {_written(values)}")
    printing.print_line(console, f"Set one: kdbench run --methods {name} --set {name}.KEY=VALUE", "dim")


def _written(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value(item)}" for key, item in values.items())


def options_table(kind: type[Options], name: str = "", changed: Mapping[str, Any] = MappingProxyType({})) -> Table:
    """Build the table of options: name, default, description, valid values and source.

    Args:
        changed: the values of variant or preset `name`, which have a column of their own.
    """
    table = printing.make_table()
    for column in ("option", "default", *([name] if changed else [])):
        table.add_column(column, no_wrap=True)
    table.add_column("what it is, valid values, source of the default")
    for key, field in kind.model_fields.items():
        extra = field.json_schema_extra
        source = f"; {extra['source']}" if isinstance(extra, dict) and extra.get("source") else ""
        own = [Text(value(changed[key]) if key in changed else "", style="bold")] if changed else []
        facts = f"{valid_values(field)}{source}"
        text = Text.assemble(f"{field.description or 'no description'}\n", (facts, "dim"))
        table.add_row(Text(key, style="bold"), Text(value(field.default)), *own, text)
    return table


def valid_values(field: FieldInfo) -> str:
    """Return the valid values of an option in words: its choices, or its type with bounds."""
    bounds = [
        f"{sign}{getattr(item, key):g}" for item in field.metadata for key, sign in BOUNDS.items() if hasattr(item, key)
    ]
    return " ".join([_type(field.annotation), ", ".join(bounds)]).strip()


def _type(annotation: Any) -> str:
    """Put a type annotation into words."""
    if annotation is type(None):
        return "none"
    arguments = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        patterns = [p for item in annotation.__metadata__ if (p := getattr(item, "pattern", None))]
        return _pattern(str(patterns[0])) if patterns else _type(arguments[0])
    if get_origin(annotation) is not None and all(isinstance(a, str | int | float) for a in arguments):
        return ", ".join(map(value, arguments))
    if get_origin(annotation) is list:
        return "a list"
    if arguments:
        return " or ".join(map(_type, arguments))
    words = {"float": "a number", "int": "a whole number", "bool": "true, false", "str": "text"}
    return words.get(getattr(annotation, "__name__", ""), str(annotation))


def _pattern(pattern: str) -> str:
    """Put the pattern of an option such as `^(a|b:\\d+)$` into words: `a, b:NUMBER`."""
    return re.sub(r"(\\d\+)(\(\\\.\\d\+\)\?)?", "NUMBER", pattern.removeprefix("^(").removesuffix(")$")).replace(
        "|", ", "
    )


def unknown_name(name: str, runs: list[str]) -> UserError:
    """Return the error for a name that is neither a method's nor part of a run's."""
    rows = [row for key, method in METHODS.all().items() for row in (key, *method.variants)]
    return unknown("run or method", name, [*runs, *rows])


def plugin_summary(plugin: type[Any]) -> str:
    """Return the first line of the docstring of a plugin's file (else of its class) without title and paper."""
    file = sys.modules.get(plugin.__module__)
    text = (file.__doc__ if file else None) or inspect.getdoc(plugin) or ""
    first = text.strip().partition("\n")[0].removeprefix(f"{plugin.title}: ")
    paper = getattr(plugin, "paper", "")
    return full_sentence(first.replace(f" ({paper})", "") if paper else first)


def full_sentence(text: str) -> str:
    """Return the text with a capital letter first and a full stop last."""
    text = sentence(text)
    return text if text.endswith((".", "?", "!")) else f"{text}."


def method_needs(method: type[Method]) -> str:
    """Name what a method needs besides the student and the labels; "" where there is nothing else."""
    names = {"teacher": "a fine-tuned teacher", "assistant": "an assistant, distilled from a fine-tuned teacher"}
    parts = [names.get(role, role) for role in _needed_roles(method)]
    hidden = {"teacher_lr"} if "teacher" in method.requires else set()
    return ", ".join([*parts, *(words for key, words in REQUIREMENTS.items() if key in method.requires - hidden)])


def _needed_roles(method: type[Method]) -> Iterable[str]:
    """Return the roles of the runs that a method needs first, found with an example spec.

    Returns () where the plugin's own code fails on the example: a list is not the place to fail.
    """
    model = ModelRef(name="tiny-2x64", fingerprint="")
    data = DataRef(source="generated", path=None, fingerprint="")
    try:
        return method.needs(RunSpec(
            method=method.name, method_version=method.version, task=next(iter(TASKS.all())), seed=0, data=data,
            student=model, teacher=model, selection="train:0.1", feedback="train:0.1", training=Training(),
            options=method.options_type().model_dump(mode="json"),
        ))  # fmt: skip
    except Exception:
        return ()
