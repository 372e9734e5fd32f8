"""The option `--results` of every command that takes one results folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kdbench.core.errors import UserError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def results_option(text: str = "The results folder (default: results).") -> Callable[[Decorated], Decorated]:
    """Return the decorator that adds the option; the command gets the folder, or None.

    Args:
        text: the help of the option.
    """
    return click.option("--results", metavar="DIR", multiple=True, callback=_only_one, help=text)


def _only_one(context: click.Context, option: click.Parameter, folders: tuple[str, ...]) -> str | None:
    """Return the folder, if one was given; click alone would take the last of several and say nothing.

    Raises:
        UserError: several were given.
    """
    if len(folders) > 1:
        joined = shlex.join(["kdbench", "collect", "NAME", *(part for one in folders for part in ("--results", one))])
        raise UserError(f"--results was given {len(folders)} times; give one folder, or join them first: {joined}")
    return folders[0] if folders else None
