"""Tasks whose reported items are the same texts, with other classes."""

from __future__ import annotations

from collections.abc import Iterable

from kdbench.data.task import Task


def shared_text_notes(tasks: Iterable[type[Task]]) -> list[str]:
    """Say which tasks report scores on the same texts, for averages and tests that take tasks as independent."""
    titles: dict[str, list[str]] = {}
    for task in tasks:
        if source := task.text_source():
            titles.setdefault(source, []).append(task.title)
    return [
        f"{' and '.join(some)} have the same texts: an average counts these {len(some)} times, and its intervals and "
        "tests take the tasks as independent."
        for some in titles.values() if len(some) > 1
    ]  # fmt: skip
