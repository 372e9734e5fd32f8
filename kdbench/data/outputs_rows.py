"""Find the rows of a task that the rows of a file of outputs stand for, by their numbers or their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.task import TaskData

if TYPE_CHECKING:
    from pandas import DataFrame

Place = tuple[str, int]  # a split, and the number of a row in it
ROW, SPLIT, TEXTS = "row", "split", (("text_a", "text"), ("text_b",))  # columns of a file that name a row
SAME = 1e-4  # difference of outputs that are taken as the same
TEXT_NAMES = tuple(name for names in TEXTS for name in names)
LABELS = ("label", "labels")  # columns with the label of a row, which are no class


def rows_problem(name: str, number: int, what: str, first: int) -> UserError:
    """Return the error for rows of a file that are wrong; `first` is the number of one of them."""
    return UserError(
        f"{name} has {count(number, 'row')} with {what}, such as its row {first} (counted from 0); correct "
        f"{'this row' if number == 1 else 'these rows'} or take {'it' if number == 1 else 'them'} out."
    )


def find_rows(frame: DataFrame, labels: Sequence[str], data: TaskData, name: str) -> list[list[Place]]:
    """Return for each row of the file the rows of the data that it stands for.

    Args:
        frame: the file's columns without those of the classes.
        labels: the task's label words.
        name: the file's name, for messages.

    Raises:
        UserError: there is no such row, or it has another text or label.
    """
    splits = frame[SPLIT].astype(str).tolist() if SPLIT in frame else None
    if unknown := sorted({*(splits or ())} - data.splits.keys()):
        raise UserError(f"{name} names the split '{unknown[0]}'; the task has {', '.join(data.splits)}.")
    if ROW in frame:
        numbered = _by_number(frame, splits, data, name)
        _check_numbered(frame, numbered, labels, data, name)
        return [[place] for place in numbered]
    return _by_text(frame, splits, data, name)


def check_repeats(places: Sequence[Sequence[Place]], values: NDArray[np.float64], name: str) -> None:
    """Check that rows of a file that stand for one row of the data, such as equal texts, have the same outputs.

    Outputs of one network differ in their last digits where texts were in other batches.

    Args:
        places: what each row of the file stands for, as `find_rows` returns it.
        values: the outputs [n, C].
        name: the file's name, for messages.

    Raises:
        UserError: two have other outputs.
    """
    first: dict[Place, int] = {}
    repeats = [(place, number, first.setdefault(place, number)) for number, some in enumerate(places) for place in some]
    mine, earlier = [number for _, number, _ in repeats], [other for *_, other in repeats]
    same = np.isclose(values[mine], values[earlier], rtol=SAME, atol=SAME).all(1)
    if not same.all():
        (split, row), number, other = repeats[int(same.argmin())]
        what = f"other outputs than an earlier row for the same text (row {other}, for row {row} of '{split}')"
        wrong = {repeats[i][1] for i in np.flatnonzero(~same)}
        raise rows_problem(name, len(wrong), what, number)


def _by_number(frame: DataFrame, splits: Sequence[str] | None, data: TaskData, name: str) -> list[Place]:
    """Find rows by their number in a split, `train` where the file names none."""
    import pandas as pd

    numbers = pd.to_numeric(frame[ROW], errors="coerce").to_numpy(np.float64)
    names = splits or ["train"] * len(frame)
    sizes = np.array([len(data.splits[split]) for split in names])
    if len(bad := np.flatnonzero(~((numbers >= 0) & (numbers < sizes) & (numbers == np.floor(numbers))))):
        split = names[bad[0]]
        what = f"no row number of their split ('{split}' has {len(data.splits[split]):,} rows, counted from 0)"
        raise rows_problem(name, len(bad), what, int(bad[0]))
    return [(split, int(number)) for split, number in zip(names, numbers, strict=True)]


def _check_numbered(
    frame: DataFrame, places: Sequence[Place], labels: Sequence[str], data: TaskData, name: str
) -> None:
    """Check that numbered rows have the texts and labels of the data, as far as the file has such columns.

    Raises:
        UserError: some differ, as where a file leaves out a row or has another order.
    """
    texts = {split: examples.texts() for split, examples in data.splits.items()}
    wrong: dict[str, NDArray[np.bool_]] = {}
    for side, column in enumerate(_text_columns(frame)):
        if column and (side == 0 or _has_pairs(data)):
            given = zip(frame[column].astype(str), places, strict=True)
            wrong[column] = np.array([text != texts[split][row][side] for text, (split, row) in given])
    known = np.array([data.splits[split].labels[row] for split, row in places])
    for column in LABELS:
        if column in frame:
            wrong[column] = _other_labels(frame[column].astype(str).tolist(), labels, known)
    for column, differ in wrong.items():
        if differ.any():
            number = int(differ.argmax())
            split, row = places[number]
            raise UserError(
                f"{name} has {count(int(differ.sum()), 'row')} whose '{column}' is not that of the data's row that "
                f"'{ROW}' names, such as its row {number} (row {row} of '{split}', both counted from 0); correct the "
                f"row numbers, or leave out the column '{column}'."
            )


def _other_labels(given: Sequence[str], labels: Sequence[str], known: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which labels of the file differ from the data's; where one of the two is no label, they do not.

    Args:
        given: words or numbers of classes (whichever are more) [n]; of a regression numbers.
        known: the data's labels [n]; -1 where there are none.
    """
    import pandas as pd

    numbers = pd.to_numeric(pd.Series(given), errors="coerce").to_numpy(np.float64)
    if len(labels) == 1:
        has_labels = bool((known != -1).any())  # -1 may be a label too
        return np.asarray(np.isfinite(numbers) & has_labels & ~np.isclose(numbers, known, atol=1e-3))
    # whole numbers are read as 1.0 where the column has gaps
    index = {word.casefold(): i for i, word in enumerate(labels)} | {word: i for i, word in enumerate(labels)}
    by_word = np.array([index.get(word, index.get(word.casefold().removesuffix(".0"), -1)) for word in given])
    by_number = np.where(np.isin(numbers, np.arange(len(labels))), numbers, -1)
    classes = by_word if (by_word >= 0).sum() >= (by_number >= 0).sum() else by_number
    return np.asarray((classes >= 0) & (known != -1) & (classes != known))


def _text_columns(frame: DataFrame) -> tuple[str | None, str | None]:
    """Return the columns of the first and the second text; None where the file has none."""
    first, second = (next((name for name in names if name in frame), None) for names in TEXTS)
    return first, second


def _has_pairs(data: TaskData) -> bool:
    return any(examples.text_b is not None for examples in data.splits.values())


def _by_text(frame: DataFrame, splits: Sequence[str] | None, data: TaskData, name: str) -> list[list[Place]]:
    """Find rows by their texts, in every split where the file names none; equal texts have equal outputs."""
    first, second = _text_columns(frame)
    pairs = _has_pairs(data)
    if first is None or (pairs and second is None):
        wanted = "text_a and text_b" if pairs else "text"
        raise UserError(f"{name} does not say which rows it is about; give a column '{ROW}', or {wanted}.")
    index: dict[tuple[str, str], list[Place]] = {}
    for split, examples in data.splits.items():
        for row, texts in enumerate(examples.texts()):
            index.setdefault(texts, []).append((split, row))
    own = frame[second].astype(str).tolist() if second and pairs else [""] * len(frame)
    places = []
    for number, texts in enumerate(zip(frame[first].astype(str).tolist(), own, strict=True)):
        found = index.get(texts, [])
        places.append([place for place in found if splits is None or place[0] == splits[number]])
    if lost := [number for number, found in enumerate(places) if not found]:
        raise rows_problem(name, len(lost), "a text that is not in the data", lost[0])
    return places
