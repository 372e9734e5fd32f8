"""The rows that plugins make, with their names and titles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")
P = TypeVar("P", bound=Any)  # a plugin with a position


def in_table_order(found: Mapping[str, P]) -> dict[str, P]:
    """Sort plugins by their positions, then by name."""
    return dict(sorted(found.items(), key=lambda item: (item[1].position, item[0])))


def rows_of(name: str, plugin: type[Any]) -> list[str]:
    """Return the row names of a plugin: its own, and those of its variants."""
    return [name, *getattr(plugin, "variants", ())]


def titles_of(plugin: type[Any]) -> list[str]:
    """Return the titles of a plugin's rows."""
    return [plugin.title, *(title for title, _ in getattr(plugin, "variants", {}).values())]


def names_of(plugins: list[type[T]]) -> str:
    return ", ".join(plugin.__name__ for plugin in plugins)
