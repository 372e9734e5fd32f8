"""Check the examples that a task loads: tasks in Python may be a user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kdbench.core.errors import UserError
from kdbench.core.lazy_torch import LazyModule

if TYPE_CHECKING:
    import numpy as np

    from kdbench.data.examples import Examples
else:
    np = LazyModule("numpy")


def check_splits(place: str, splits: Mapping[str, Examples], wanted: Sequence[str]) -> None:
    """Check that a task has the splits that it declares, all with pairs of texts or all with single texts.

    Args:
        place: names the task and begins the message.
        wanted: the splits that the task must have, with labels.

    Raises:
        UserError: a split is missing or has no rows, or some splits alone have second texts.
    """
    if missing := [split for split in wanted if split not in splits]:
        way = "" if missing[0] == "train" else ", or name others in `report_splits` and `validation_split`"
        has = f"has no split '{missing[0]}', only {', '.join(splits) or 'none'}"
        raise UserError(f"{place} {has}; return it from `load`{way}.")
    if empty := [split for split in wanted if not len(splits[split])]:
        raise UserError(f"{place}, {empty[0]}: there are no rows; {' and '.join(wanted)} need some.")
    pairs = [split for split, examples in splits.items() if examples.text_b is not None]
    if single := [split for split in splits if split not in pairs] if pairs else []:
        raise UserError(
            f"{place} has pairs of texts in {', '.join(pairs)} and single texts in {', '.join(single)}; "
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
