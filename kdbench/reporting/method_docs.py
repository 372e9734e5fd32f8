"""Write docs/methods.md from the docstrings and options of the methods.

Run `python -m kdbench.reporting.method_docs docs/methods.md`.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from kdbench.core.atomic_files import write_text
from kdbench.core.formatting import sentence, value
from kdbench.core.plugin_rows import in_table_order
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS
from kdbench.reporting.show_method import method_needs, valid_values

HEAD = """# The methods

Every method is a file in `methods/`; this page is made from those files (`make docs`). s, t are logits of student and
teacher [B, C], S, T their probabilities, y the labels, tau the temperature; CE(T, S) is the soft cross-entropy,
KL(T || S) the divergence, both means over the batch. Set an option with `--set METHOD.OPTION=VALUE`. The name in
parentheses is the group that selects a method with others (`--methods logits`).

In a regression s and t are numbers [B, 1]: (s - y)^2 stands for CE(y, S), and (s - t)^2 for CE(T, S) and KL(T || S).
"""
SECTION = re.compile(r"^(Loss|Trained|Paper and code|Variants): ", re.MULTILINE)
HEADINGS = {"Trained": "What is trained when", "Paper and code": "Paper, released code, and which we follow"}


def methods_page() -> str:
    """Build the whole page as markdown."""
    ordered = in_table_order(METHODS.all())
    contents = "\n".join(
        f"- [{method.title}](#{_anchor(method.title)}) ({method.group}): {_idea(method)}" for method in ordered.values()
    )
    return "\n".join([HEAD, contents, *(_method(name, method) for name, method in ordered.items())]) + "\n"


def _anchor(title: str) -> str:
    """Return the anchor that markdown gives to a heading."""
    return re.sub(r"[^\w-]", "", title.lower().replace(" ", "-"))


def _words(method: type[Method]) -> str:
    """Return the docstring of the method's file."""
    module = inspect.getmodule(method)
    return inspect.cleandoc(module.__doc__ or "") if module else ""


def _idea(method: type[Method]) -> str:
    """Return the first paragraph of the method's docstring, without the title, in one line."""
    first = _words(method).split("\n\n")[0].replace("\n", " ")
    return first.partition(": ")[2] or first


def _method(name: str, method: type[Method]) -> str:
    """Build the section of one method."""
    idea = _idea(method)
    lines = [f"\n## {method.title}\n", f"`{name}`. {sentence(idea)}\n"]
    parts = SECTION.split(_words(method))
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        lines.append(_section(heading, text.strip()))
    numbers = f"No regression: {method.no_regression}." if method.no_regression else "Learns a regression, too."
    lines.append(f"Needs {method_needs(method) or 'the labels only'}.{_classes(method)} {numbers}\n")
    return "\n".join([*lines, _options(method), _variants(method)]).rstrip()


def _classes(method: type[Method]) -> str:
    """Say what the method becomes on two classes, or how many it needs; "" where nothing is to be said."""
    if method.least_classes > 2:
        return f" The task has {method.least_classes} classes or more."
    return f" On two classes {method.two_classes}." if method.two_classes else ""


def _section(heading: str, text: str) -> str:
    """Format one part of a method's docstring, such as `Loss` or `Trained`."""
    if heading == "Loss":
        return f"**Loss.**\n\n```text\n{text}\n```\n"
    return f"**{HEADINGS.get(heading, heading)}.** {sentence(text)}\n"


def _options(method: type[Method]) -> str:
    """Build the markdown table of the method's options."""
    fields = method.options_type.model_fields
    if not fields:
        return "It has no options of its own.\n"
    rows = ["| option | default | values | what it is | source |", "|---|---|---|---|---|"]
    for key, field in fields.items():
        extra: Any = field.json_schema_extra or {}
        cells = (f"`{key}`", f"`{value(field.default)}`", valid_values(field), field.description or "")
        rows.append(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, extra.get("source") or "ours")) + " |"
        )
    return "\n".join(rows) + "\n"


def _variants(method: type[Method]) -> str:
    """List the method's variants with the options that they change; "" where there are none."""
    rows = []
    for name, (title, values) in method.variants.items():
        text = ", ".join(f"`{key}={value(item)}`" for key, item in values.items())
        rows.append(f"- `{name}`, {title}: {text}")
    return "\n".join(["Variants, each a row of its own in a table:\n", *rows]) if rows else ""


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), methods_page())
