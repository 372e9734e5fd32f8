"""Read a file that holds a teacher's outputs: logits or probabilities of the rows of a task.

Each row of the file names a row of a split, by its number or its text, and has a column for each class.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.class_order import other_order
from kdbench.data.outputs_content import Content, is_probabilities, log_probabilities
from kdbench.data.outputs_rows import LABELS, ROW, SPLIT, TEXT_NAMES, check_repeats, find_rows, rows_problem
from kdbench.data.task import TaskData
from kdbench.data.tokens import InputFormat, Tokens, label_array

if TYPE_CHECKING:
    from pandas import DataFrame

MATRICES: dict[str, Content] = {  # arrays [n, C] of a .npz file
    "logits": "logits", "probabilities": "probabilities", "probs": "probabilities",
}  # fmt: skip
SAID = 1e-5  # sums of probabilities that are further from 1 are mentioned
ROW_FORMAT = InputFormat(names=("input_ids", "attention_mask"))


@dataclass(frozen=True)
class TeacherOutputs:
    """A teacher's outputs on a task.

    Attributes:
        logits: split -> logits [rows, C], or logarithms of probabilities; NaN for rows that are not in the file.
        are_probabilities: the file holds probabilities.
        name: the file's name, for messages.
        names_classes: its columns have the label words, and not numbers.
        sum_error: how far from 1 a row's sum of probabilities was before it was divided by it.
    """

    logits: Mapping[str, NDArray[np.float32]]
    are_probabilities: bool
    name: str
    names_classes: bool
    sum_error: float = 0.0

    @property
    def remark(self) -> str:
        """Return a sentence that says how the values were read."""
        known = sum(int((~np.isnan(values[:, 0])).sum()) for values in self.logits.values())
        kind = "probabilities, of which the logarithm is taken" if self.are_probabilities else "logits"
        kind = "numbers" if all(values.shape[1] == 1 for values in self.logits.values()) else kind
        if self.sum_error > SAID:
            kind += f"; each row is divided by its sum, which was up to {self.sum_error:.2g} from 1"
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

    def check_classes(self, data: TaskData, labels: Sequence[str]) -> str:
        """Return a remark where the labels say that the columns are of other classes than their words; else "".

        Raises:
            UserError: the labels say so of columns that have numbers.
        """
        predicted, true = [], []
        for split, values in self.logits.items():
            rows = np.flatnonzero(~np.isnan(values[:, 0]))
            predicted.append(values[rows].argmax(1))
            true.append(label_array(data.splits[split].labels)[rows])
        found = other_order(np.concatenate(predicted), np.concatenate(true), labels)
        if found and not self.names_classes:
            raise UserError(f"{self.name} {found}; name its columns by these words, each by the one that it is of.")
        return f"{self.name} {found}: the words of its columns are taken as they are." if found else ""


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
        content: what the file holds; `auto` takes the name of a .npz file's matrix, else the values: rows within
            [0, 1] that sum to 1, but for their rounding, are probabilities (see `outputs_content.is_probabilities`).
        labels: the task's label words, in the order of its classes; of a regression, the name of its number.

    Raises:
        UserError: the file cannot be read, lacks a class, may hold logits or probabilities alike, or has rows that do
            not exist, contradict one another, or lack a number; the message has their number and an example.
    """
    frame, held = _read_frame(path)
    columns = _class_columns(frame, labels, path.name)
    if not len(frame):
        raise UserError(f"{path.name} has no rows.")
    values = _class_values(frame, columns)
    if len(bad := np.flatnonzero(~np.isfinite(values).all(1))):
        raise rows_problem(path.name, len(bad), "not a finite number for every class", int(bad[0]))
    are_probabilities = is_probabilities(values, held if content == "auto" else content, path.name)
    # one entry for each row of a split that a row of the file stands for; the first of equal ones
    places = find_rows(frame.drop(columns=columns), labels, data, path.name)
    check_repeats(places, values, path.name)
    values, sum_error = log_probabilities(values) if are_probabilities else (values, 0.0)
    logits = {name: np.full((len(rows), len(labels)), np.nan, np.float32) for name, rows in data.splits.items()}
    for number, found in reversed([*enumerate(places)]):
        for split, row in found:
            logits[split][row] = values[number]
    named = [column.casefold() for column in columns] == [word.casefold() for word in labels]
    return TeacherOutputs(logits, are_probabilities, path.name, named, sum_error)


def _read_frame(path: Path) -> tuple[DataFrame, Content]:
    """Read the file as columns, and what it says that it holds: `auto` where it says nothing.

    Raises:
        UserError: it cannot be read.
    """
    import pandas as pd

    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                columns, content = _split_matrix({name: arrays[name] for name in arrays.files}, path.name)
            return pd.DataFrame(columns), content
        return _read_table(path).rename(columns=str), "auto"
    except UserError:
        raise
    except Exception as error:  # every format has errors of its own
        first = next(iter(str(error).splitlines()), "")
        raise UserError(f"{path} cannot be read as {path.suffix[1:]} ({type(error).__name__}: {first}).") from None


def _read_table(path: Path) -> DataFrame:
    """Read a file of rows."""
    import pandas as pd

    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".jsonl":
        # not splitlines(), which also ends a line at characters that texts may have, such as U+2028
        with path.open(encoding="utf-8") as lines:
            return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
    # texts such as 0000 stay what they are
    words: dict[Hashable, type[str]] = dict.fromkeys((SPLIT, *LABELS, *TEXT_NAMES), str)
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False, dtype=words)


def _split_matrix(arrays: dict[str, NDArray[Any]], name: str) -> tuple[dict[str, NDArray[Any]], Content]:
    """Turn the matrix [n, C] of a .npz file into columns class_0 to class_C-1; return also what its name says.

    Its rows are those of `train`, unless other arrays name them.

    Raises:
        UserError: there are two matrices.
    """
    found = [key for key in MATRICES if key in arrays and arrays[key].ndim == 2]
    if len(found) > 1:
        raise UserError(f"{name} has the matrices {' and '.join(found)}; leave one of them in it.")
    if not found:
        return arrays, "auto"
    matrix = arrays.pop(found[0])
    if not arrays.keys() & {ROW, SPLIT, *TEXT_NAMES}:
        arrays[ROW] = np.arange(len(matrix))
    return arrays | {f"class_{i}": matrix[:, i] for i in range(matrix.shape[1])}, MATRICES[found[0]]


def _class_columns(frame: DataFrame, labels: Sequence[str], name: str) -> list[str]:
    """Return the columns of the classes, in the task's order.

    Upper and lower case are the same, except for columns that have the exact name of a class.

    Raises:
        UserError: the columns are not the task's classes, or two are of one class.
    """
    import pandas as pd

    numbered = [f"class_{i}" for i in range(len(labels))]
    chosen = _matching(frame, labels, name) or _matching(frame, numbered, name)
    known = {ROW, SPLIT, *LABELS, *TEXT_NAMES}
    others = [
        column
        for column in frame.columns
        if column not in (chosen or ()) and column.casefold() not in known
        and pd.api.types.is_numeric_dtype(frame[column])
    ]  # fmt: skip
    if chosen is None or others:
        extra = f", and {', '.join(sorted(others))} is none of them" if chosen else ""
        raise UserError(
            f"{name} must have a column for each class, {', '.join(labels)} or {numbered[0]} to {numbered[-1]}; it has "
            f"{', '.join(frame.columns)}{extra}."
        )
    return chosen


def _matching(frame: DataFrame, words: Sequence[str], name: str) -> list[str] | None:
    """Return the column of each word; None where a word has none.

    Raises:
        UserError: every word has a column, and one has two.
    """
    loose = [column for column in frame.columns if column not in words]
    found = [
        [column for column in frame.columns if column == word]
        + [column for column in loose if column.casefold() == word.casefold()]
        for word in words
    ]
    chosen = [columns[0] for columns in found if columns]
    if len({*chosen}) < len(words):
        return None
    for word, columns in zip(words, found, strict=True):
        if len(columns) > 1:
            raise UserError(f"{name} has two columns of the class '{word}', {' and '.join(columns)}; leave out one.")
    return chosen


def _class_values(frame: DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Return the values of the classes [n, C]; NaN for what is no number."""
    import pandas as pd

    return np.stack([pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64) for name in columns], axis=1)
