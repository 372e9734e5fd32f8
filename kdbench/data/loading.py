"""Load the examples of a task, and check them: tasks in Python may be a user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        UserError: the data cannot be read, or a text or label is wrong.
    """
    try:
        data = task.load(location)
        for split, examples in data.splits.items():
            is_labelled = split == "train" or split in task.report_splits
            check_examples(f"Task '{task.name}', {split}", examples, task.labels, is_labelled=is_labelled)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        where = place_in_file(error, type(task))
        raise UserError(
            f"Task '{task.name}' does not load its data: {type(error).__name__}: {error}{where}."
        ) from error
    return data


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
