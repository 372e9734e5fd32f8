"""Read the GLUE tasks from the Hugging Face hub, at a pinned revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kdbench.core import hub
from kdbench.core.errors import UserError
from kdbench.data.task import Examples
from kdbench.tasks.tsv import Columns

Limits = tuple[float, float]

REPOSITORY = "nyu-mll/glue"
REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"


def identity(config: str) -> str:
    """Return the name of the pinned data, including the revision."""
    return hub.dataset_name(REPOSITORY, config, REVISION)


def read(
    config: str, splits: Iterable[str], columns: Columns, classes: int, limits: Limits | None = None
) -> dict[str, Examples]:  # fmt: skip
    """Read splits of a configuration, from the local cache if they were loaded before.

    Args:
        columns: names of the first text, the second text (None for single sentences) and the label.
        classes: number of classes; a label must be below it.
        limits: of a regression, the smallest and the largest label.

    Raises:
        UserError: the hub cannot be reached, or has other splits, columns or labels.
    """
    data = _download(config)
    kind: Callable[[Any], float] = int if limits is None else float
    within = (0, classes - 1) if limits is None else limits
    return {split: _examples(config, split, data, columns, kind, within) for split in splits}


def read_unlabelled(config: str, split: str, columns: Columns) -> Examples:
    """Read a test split; its column `idx` must count the rows from 0.

    Raises:
        UserError: as `read`, or the rows are not in order.
    """
    first, second, index = (*columns[:2], "idx")
    found = _columns(config, split, _download(config), (first, second, index))
    if list(found[index]) != list(range(len(found[index]))):
        raise UserError(
            f"{identity(config)}, split '{split}': expected column '{index}' to count the rows from 0; "
            "read the files by --glue-dir DIR instead."
        )
    return Examples(found[first], None if second is None else found[second], [-1] * len(found[index]))


def is_available(config: str) -> bool:
    """Return whether a configuration can be loaded, from the local cache or the hub."""
    try:
        _download(config)
    except UserError:
        return False
    return True


def _download(config: str) -> Any:
    return hub.load_dataset(REPOSITORY, config, REVISION, "name a folder with the files by --glue-dir DIR")


def _examples(
    config: str, split: str, data: Any, columns: Columns, kind: Callable[[Any], float], limits: Limits
) -> Examples:  # fmt: skip
    found = _columns(config, split, data, columns)
    first, second, label = columns
    labels = [kind(value) for value in found[label]]
    if any(not limits[0] <= value <= limits[1] for value in labels):
        raise UserError(
            f"{identity(config)}, split '{split}': expected labels {limits[0]:g} to {limits[1]:g}; "
            "read the files by --glue-dir DIR instead."
        )
    return Examples(found[first], None if second is None else found[second], labels)


def _columns(config: str, split: str, data: Any, columns: Columns) -> dict[str, list[Any]]:
    where = f"{identity(config)}, split '{split}'"
    if split not in data:
        raise UserError(f"{where}: no such split (found: {', '.join(data)}); read the files by --glue-dir DIR instead.")
    found = data[split].column_names
    for column in columns:
        if column is not None and column not in found:
            raise UserError(
                f"{where}: expected a column '{column}' (found: {', '.join(found)}); "
                "read the files by --glue-dir DIR instead."
            )
    return {column: list(data[split][column]) for column in columns if column is not None}
