"""The options of every command that shows results: `--preset`, `--student`, `--tasks`, `--methods`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

NAMES = {
    "preset": (("--preset",), "Only results of this preset."),
    "student": (("--student",), "Only results of this student, named as in tables or for kdbench run."),
    "tasks": (("--tasks", "--task"), "Only these tasks: names as in tables, or groups such as glue."),
    "methods": (
        ("--methods", "--method"),
        "Only these rows: methods, variants, or groups such as logits. The teacher stays.",
    ),
}  # option -> what is typed, help


def study_options(*left_out: str, **helps: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that adds the options; the command gets them as `choice`, a `StudyChoice`.

    Args:
        left_out: options that the command does not have.
        helps: the help of an option where it is not the usual one.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        kept = [name for name in NAMES if name not in left_out]

        @functools.wraps(function)
        def collect(*args: Any, **given: Any) -> Any:
            from kdbench.reporting.study_choice import StudyChoice

            return function(*args, choice=StudyChoice(**{name: given.pop(name) for name in kept}), **given)

        for name in reversed(kept):
            typed, text = NAMES[name]
            collect = click.option(*typed, help=helps.get(name, text))(collect)
        return collect

    return decorate
