"""Stand in for the library of this name where it is not installed: a metric is computed by its own `_compute`."""

from __future__ import annotations

from typing import Any


class MetricInfo:
    """Take a metric's description, which nothing reads."""

    def __init__(self, **description: Any) -> None:
        self.description = description


class Metric:
    """Compute a metric at once, without the library's files of rows."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def _compute(self, **given: Any) -> Any:
        raise NotImplementedError

    def compute(self, **given: Any) -> Any:
        """Compute the metric of these predictions."""
        return self._compute(**given)
