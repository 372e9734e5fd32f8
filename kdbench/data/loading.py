"""Load the examples of a task, and check them: tasks in Python may be a user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kdbench.core.errors import UserError, place_in_file
from kdbench.core.lazy_torch import LazyModule

if TYPE_CHECKING:
    import numpy as np

    from kdbench.core.spec import DataLocation
    from kdbench.data.task import Examples, Task, TaskData
else:
    np = LazyModule("numpy")


def load_examples(task: Task, location: DataLocation) -> TaskData:
    """Load the examples of a task.

    Raises:
        UserError: the data cannot be read, a split is missing, or a text or label is wrong.
    """
    try:
        data = task.load(location)
        _check_splits(task, data.splits)
        for split, examples in data.splits.items():
            is_labelled = split in _labelled_splits(task)
            check_examples(f"Task '{task.name}', {split}", examples, task.labels, is_labelled=is_labelled)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        where = place_in_file(error, type(task))
        raise UserError(
            f"Task '{task.name}' does not load its data: {type(error).__name__}: {error}{where}."
        ) from error
    return data


def _labelled_splits(task: Task) -> tuple[str, ...]:
    """Return the splits that a task must have, with labels."""
    spare = (task.validation_split,) if task.validation_split else ()
    return tuple(dict.fromkeys(("train", *spare, *task.report_splits)))


def _check_splits(task: Task, splits: Mapping[str, Examples]) -> None:
    """Check that a task has the splits that it declares, all with pairs of texts or all with single texts.

    Raises:
        UserError: a split is missing or has no rows, or some splits alone have second texts.
    """
    wanted = _labelled_splits(task)
    if missing := [split for split in wanted if split not in splits]:
        way = "" if missing[0] == "train" else ", or name others in `report_splits` and `validation_split`"
        has = f"has no split '{missing[0]}', only {', '.join(splits) or 'none'}"
        raise UserError(f"Task '{task.name}' {has}; return it from `load`{way}.")
    if empty := [split for split in wanted if not len(splits[split])]:
        raise UserError(f"Task '{task.name}', {empty[0]}: there are no rows; {' and '.join(wanted)} need some.")
    pairs = [split for split, examples in splits.items() if examples.text_b is not None]
    if single := [split for split in splits if split not in pairs] if pairs else []:
        raise UserError(
            f"Task '{task.name}' has pairs of texts in {', '.join(pairs)} and single texts in {', '.join(single)}; "
            "give every split second texts (`text_b`), or none."
        )


def check_examples(place: str, examples: Examples, labels: Sequence[str], *, is_labelled: bool = True) -> None:
    """Check that examples are texts, each with the index of a class, or the number of a regression.

    Args:
        place: begins the message.
        labels: the names of the classes; of a regression, that of its number.
        is_labelled: every row has a label; without, all of them may be -1.

    Raises:
        UserError: the first row that is wrong.
    """
    texts = [examples.text_a, *([] if examples.text_b is None else [examples.text_b])]
    if any(len(some) != len(examples.labels) for some in texts):
        sizes = " and ".join(str(len(some)) for some in (*texts, examples.labels))
        raise UserError(f"{place}: texts and labels must pair up, and there are {sizes} of them.")
    for row, text in ((row, text) for some in texts for row, text in enumerate(some) if not isinstance(text, str)):
        raise UserError(f"{place}, row {row}: a text is {text!r}, where a str is expected.")
    wanted = f"a class index from 0 to {len(labels) - 1}" if len(labels) > 1 else "a number"
    for row, label in enumerate(examples.labels):
        if not _fits(label, len(labels)) and (is_labelled or not _is_unlabelled(label)):
            raise UserError(f"{place}, row {row}: the label is {label!r}, where {wanted} is expected.")


def _fits(label: object, classes: int) -> bool:
    """Return whether a label is a class index, or of one class a finite number."""
    if isinstance(label, bool | np.bool_):
        return False
    if classes > 1:
        return isinstance(label, int | np.integer) and 0 <= int(label) < classes
    return isinstance(label, int | float | np.integer | np.floating) and math.isfinite(label)


def _is_unlabelled(label: object) -> bool:
    return isinstance(label, int | float | np.integer | np.floating) and (float(label) == -1 or math.isnan(label))
