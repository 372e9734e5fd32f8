"""Read a file that holds a teacher's outputs: logits or probabilities of the rows of a task.

Each row of the file names a row of a split, by its number or its text, and has a column for each class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.task import TaskData
from kdbench.data.tokens import InputFormat, Tokens, label_array

if TYPE_CHECKING:
    from pandas import DataFrame

Content = Literal["auto", "logits", "probabilities"]
ROW, SPLIT, TEXTS = "row", "split", (("text_a", "text"), ("text_b",))  # columns of a file that name a row
UNREAD = ("label", "labels")  # columns of numbers that are no class
MATRICES = ("logits", "probabilities", "probs")  # arrays [n, C] of a .npz file
SUM_TOLERANCE = 1e-3  # of probabilities, which files often round
SMALLEST = 1e-12  # probabilities below are raised to it before the logarithm
ROW_FORMAT = InputFormat(names=("input_ids", "attention_mask"))


@dataclass(frozen=True)
class TeacherOutputs:
    """A teacher's outputs on a task.

    Attributes:
        logits: split -> logits [rows, C], or logarithms of probabilities; NaN for rows that are not in the file.
        are_probabilities: the file holds probabilities.
        name: the file's name, for messages.
    """

    logits: Mapping[str, NDArray[np.float32]]
    are_probabilities: bool
    name: str

    @property
    def remark(self) -> str:
        """Return a sentence that says how the values were read."""
        known = sum(int((~np.isnan(values[:, 0])).sum()) for values in self.logits.values())
        kind = "probabilities, of which the logarithm is taken" if self.are_probabilities else "logits"
        kind = "numbers" if all(values.shape[1] == 1 for values in self.logits.values()) else kind
        return f"The outputs of {count(known, 'row')} in {self.name} are read as {kind}."

    def check_rows(self, split: str, rows: NDArray[np.int64]) -> None:
        """Check that rows of a split are in the file.

        Raises:
            UserError: some are missing; the message has their number and the first of them.
        """
        missing = rows[np.isnan(self.logits[split][rows, 0])]
        if len(missing):
            raise UserError(
                f"{self.name} lacks {count(len(missing), 'row')} of split '{split}' that are trained on or select, "
                f"such as row {missing[0]}; add them, or train on fewer rows (train_rows)."
            )


def row_tokens(data: TaskData, split: str) -> Tokens:
    """Return the rows of a split as tokens for a network that looks up outputs: one token a row, its number.

    Rows are counted through all splits, in their order.
    """
    before = 0
    for name, examples in data.splits.items():
        if name == split:
            break
        before += len(examples)
    labels = label_array(data.splits[split].labels)
    ids = before + np.arange(len(labels), dtype=np.int32)
    return Tokens(ids, np.zeros_like(ids, np.int8), np.arange(len(labels) + 1, dtype=np.int64), labels, ROW_FORMAT)


def read_outputs(path: Path, content: Content, labels: Sequence[str], data: TaskData) -> TeacherOutputs:
    """Read a file of outputs: Parquet, .npz, .csv, .tsv or .jsonl.

    Args:
        content: what the file holds; `auto` takes rows within [0, 1] that sum to 1 for probabilities, and refuses a
            file in which at least half of the rows, but not all, are such.
        labels: the task's label words, in the order of its classes; of a regression, the name of its number.

    Raises:
        UserError: the file cannot be read, lacks a class, or has rows that do not exist, twice, or without a number;
            the message has their number and an example.
    """
    frame = _read_frame(path)
    values = _class_values(frame, labels, path.name)
    if not len(frame):
        raise UserError(f"{path.name} has no rows.")
    if len(bad := np.flatnonzero(~np.isfinite(values).all(1))):
        raise _problem(path, len(bad), "not a finite number for every class", int(bad[0]))
    are_probabilities = _are_probabilities(values, content, path)
    if are_probabilities:
        values = np.log(values.clip(SMALLEST))
    # one entry for each row of a split that a row of the file stands for
    places = _places(frame, data, path)
    logits = {name: np.full((len(rows), len(labels)), np.nan, np.float32) for name, rows in data.splits.items()}
    for number, found in enumerate(places):
        for split, row in found:
            logits[split][row] = values[number]
    return TeacherOutputs(logits, are_probabilities, path.name)


def _problem(path: Path, number: int, what: str, first: int) -> UserError:
    return UserError(
        f"{path.name} has {count(number, 'row')} with {what}, such as its row {first} (counted from 0); correct "
        f"{'this row' if number == 1 else 'these rows'} or take {'it' if number == 1 else 'them'} out."
    )


def _read_frame(path: Path) -> DataFrame:
    """Read the file as columns."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".npz":
            return pd.DataFrame(_read_arrays(path))
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        separator = "\t" if path.suffix == ".tsv" else ","
        return pd.read_csv(path, sep=separator, keep_default_na=False)
    except Exception as error:  # every format has errors of its own
        first = next(iter(str(error).splitlines()), "")
        raise UserError(f"{path} cannot be read as {path.suffix[1:]} ({type(error).__name__}: {first}).") from None


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a .npz file as columns; a matrix [n, C] becomes class_0 to class_C-1."""
    with np.load(path, allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    for name in MATRICES:
        if name in columns and columns[name].ndim == 2:
            matrix = columns.pop(name)
            columns |= {f"class_{i}": matrix[:, i] for i in range(matrix.shape[1])}
            columns.setdefault(ROW, np.arange(len(matrix)))
    return columns


def _class_values(frame: DataFrame, labels: Sequence[str], name: str) -> NDArray[np.float64]:
    """Return the values of all classes [n, C] in the task's order.

    Raises:
        UserError: the columns are not the task's classes.
    """
    import pandas as pd

    by_name = {str(column).casefold(): column for column in frame.columns}
    numbered = [f"class_{i}" for i in range(len(labels))]
    words = [label.casefold() for label in labels]
    chosen = next((names for names in (words, numbered) if set(names) <= by_name.keys()), None)
    known = {ROW, SPLIT, *UNREAD, *(text for names in TEXTS for text in names), *(chosen or ())}
    others = [str(by_name[key]) for key in by_name.keys() - known if pd.api.types.is_numeric_dtype(frame[by_name[key]])]
    if chosen is None or others:
        found = ", ".join(map(str, frame.columns))
        extra = f", and {', '.join(sorted(others))} is none of them" if chosen else ""
        raise UserError(
            f"{name} must have a column for each class, {', '.join(labels)} or {numbered[0]} to {numbered[-1]}; it has "
            f"{found}{extra}."
        )
    columns = [pd.to_numeric(frame[by_name[key]], errors="coerce").to_numpy(np.float64) for key in chosen]
    return np.stack(columns, axis=1)


def _are_probabilities(values: NDArray[np.float64], content: Content, path: Path) -> bool:
    """Return whether values [n, C] are probabilities.

    Raises:
        UserError: rows are not within [0, 1] or do not sum to 1, although the user says that they are probabilities,
            or at least half of the rows are such.
    """
    wrong = np.flatnonzero(
        (values < 0).any(1) | (values > 1).any(1) | (np.abs(values.sum(1) - 1) > SUM_TOLERANCE)
    )  # fmt: skip
    if values.shape[1] == 1:
        if content == "probabilities":
            raise UserError(f"{path.name} cannot hold probabilities, because the task is a regression.")
        return False
    seem_so = content == "auto" and 2 * len(wrong) <= len(values)
    if len(wrong) and (content == "probabilities" or seem_so):
        example = ", ".join(f"{value:.4g}" for value in values[wrong[0]])
        problem = _problem(path, len(wrong), f"no probabilities that sum to 1 (there {example})", int(wrong[0]))
        raise (
            UserError(f"{problem} If the file holds logits, add --teacher-outputs-are logits.") if seem_so else problem
        )
    return content == "probabilities" or (content == "auto" and not len(wrong))


def _places(frame: DataFrame, data: TaskData, path: Path) -> list[list[tuple[str, int]]]:
    """Return for each row of the file the (split, row) that it stands for.

    Raises:
        UserError: there is no such row, or two rows of the file stand for one.
    """
    splits = frame[SPLIT].astype(str).tolist() if SPLIT in frame else None
    if unknown := sorted({*(splits or ())} - data.splits.keys()):
        raise UserError(f"{path.name} names the split '{unknown[0]}'; the task has {', '.join(data.splits)}.")
    places = _by_number(frame, splits, data, path) if ROW in frame else _by_text(frame, splits, data, path)
    seen: dict[tuple[str, int], int] = {}
    twice = [
        (place, number)
        for number, found in enumerate(places)
        for place in found
        if seen.setdefault(place, number) != number
    ]
    if twice:
        (split, row), number = twice[0]
        what = f"outputs for a row that has some already (row {row} of '{split}')"
        raise _problem(path, len(twice), what, number)
    return places


def _by_number(
    frame: DataFrame, splits: Sequence[str] | None, data: TaskData, path: Path
) -> list[list[tuple[str, int]]]:
    """Find rows by their number in a split, `train` where the file names none."""
    import pandas as pd

    numbers = pd.to_numeric(frame[ROW], errors="coerce").to_numpy(np.float64)
    names = splits or ["train"] * len(frame)
    sizes = np.array([len(data.splits[name]) for name in names])
    if len(bad := np.flatnonzero(~((numbers >= 0) & (numbers < sizes) & (numbers == np.floor(numbers))))):
        split = names[bad[0]]
        what = f"no row number of their split ('{split}' has {len(data.splits[split]):,} rows, counted from 0)"
        raise _problem(path, len(bad), what, int(bad[0]))
    return [[(name, int(number))] for name, number in zip(names, numbers, strict=True)]


def _by_text(frame: DataFrame, splits: Sequence[str] | None, data: TaskData, path: Path) -> list[list[tuple[str, int]]]:
    """Find rows by their texts, in every split where the file names none; equal texts have equal outputs."""
    first, second = (next((name for name in names if name in frame), None) for names in TEXTS)
    pairs = any(examples.text_b is not None for examples in data.splits.values())
    if first is None or (pairs and second is None):
        wanted = "text_a and text_b" if pairs else "text"
        raise UserError(f"{path.name} does not say which rows it is about; give a column '{ROW}', or {wanted}.")
    index: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for name, examples in data.splits.items():
        for row, texts in enumerate(examples.texts()):
            index.setdefault(texts, []).append((name, row))
    own = frame[second].astype(str).tolist() if second and pairs else [""] * len(frame)
    places = []
    for number, texts in enumerate(zip(frame[first].astype(str).tolist(), own, strict=True)):
        found = index.get(texts, [])
        places.append([place for place in found if splits is None or place[0] == splits[number]])
    if lost := [number for number, found in enumerate(places) if not found]:
        raise _problem(path, len(lost), "a text that is not in the data", lost[0])
    return places
