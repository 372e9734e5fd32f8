"""Stand in for the library of this name where it is not installed: only the types that describe a metric."""

from __future__ import annotations

from typing import Any


def Value(kind: str) -> str:  # the library's name
    """Describe a column."""
    return kind


class Features(dict[str, Any]):
    """Describe columns."""
