"""Look at a task's data before training: repeated texts, rows in several splits, empty texts, missing classes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from kdbench.core.formatting import count
from kdbench.data.task import Examples, TaskData

SHOWN = 5  # classes that a remark names
NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]+)?")
SEPARATOR = re.compile(r"\s*[,;|]\s*")  # between several labels of a row
MISSING = ("nan", "null", "none", "n/a", "na")  # what programs write where there is nothing


def data_remarks(title: str, data: TaskData, labels: Sequence[str], report_splits: Sequence[str]) -> list[str]:
    """Return what a reader of the scores should know of the data, in one sentence each; [] for clean data.

    Args:
        labels: the names of the classes; of a regression, that of its number.
    """
    train, remarks = data.splits["train"], _row_remarks(title, data, report_splits)
    # classes, or numbers
    if len(labels) == 1:
        same = [split for split in ("train", *report_splits) if len(set(data.splits[split].labels)) == 1]
        return remarks + [
            f"{title} {split.replace('_', '-')}: every {labels[0]} is the same, so that no correlation is defined."
            for split in same
        ]
    alike = {name: [other for other in labels if plain_name(other) == plain_name(name)] for name in labels}
    if twins := sorted({" and ".join(f"'{name}'" for name in some) for some in alike.values() if len(some) > 1}):
        remarks.append(f"{title}: classes may be one that is written in two ways: {', '.join(twins[:SHOWN])}.")
    if joined := [name for name in labels if len(some := SEPARATOR.split(name)) > 1 and {*some} <= {*labels}]:
        among = " and ".join(f"'{part}'" for part in SEPARATOR.split(joined[0]))
        remarks.append(f"{title}: '{joined[0]}' is a class of its own beside {among}; a row has one class here.")
    if lacking := [name for name in labels if name.casefold() in MISSING]:
        remarks.append(f"{title}: a class is called '{lacking[0]}', which may stand for a missing label.")
    counts = Counter(map(int, train.labels))
    if once := [labels[index] for index, number in counts.items() if number == 1]:
        remarks.append(f"{title} train: {_some(once)} {'occurs' if len(once) == 1 else 'occur'} once only.")
    for split in report_splits:
        present = set(data.splits[split].labels)
        if absent := [name for index, name in enumerate(labels) if index in counts and index not in present]:
            remarks.append(f"{title} {split.replace('_', '-')}: no row of {_some(absent)}.")
    return remarks


def plain_name(name: str) -> str | Decimal:
    """Return what is left of a class name without case, further blanks and other forms of a letter or number."""
    words = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return Decimal(words) if NUMBER.fullmatch(words) else words


def _row_remarks(title: str, data: TaskData, report_splits: Sequence[str]) -> list[str]:
    """Return a sentence each on repeated texts, rows that report, select and train at once, and empty texts."""
    repeated, empty = list[str](), list[str]()
    known = {split: set(examples.texts()) for split, examples in data.splits.items()}
    seen: dict[str, list[str]] = {split: [] for split in data.splits if split not in report_splits}
    for split, examples in data.splits.items():
        texts = examples.texts()
        if repeats := len(texts) - len(known[split]):
            repeated += _some_rows(repeats, split, examples, _contrary(examples))
        pair = examples.text_b is not None
        blank = sum(not first.strip() or (pair and not second.strip()) for first, second in texts)
        empty += _some_rows(blank, split, examples)
        for other, rows in seen.items():
            # rows of train flatter a split that selects, too
            if split in report_splits or (split != other == "train"):
                rows += _some_rows(sum(text in known[other] for text in texts), split, examples)
    said = {"repeat the text of another row": repeated}
    said |= {f"have a text that is in {other} too": rows for other, rows in seen.items()}
    said["have an empty text"] = empty
    return [f"{title}: {' and '.join(rows)} {what}." for what, rows in said.items() if rows]


def _some_rows(some: int, split: str, examples: Examples, contrary: int = 0) -> list[str]:
    """Return `2 of 6 rows of train (1 text with different labels)`, in a list that is empty for no rows."""
    labels = f" ({count(contrary, 'text')} with different labels)" if contrary else ""
    return [f"{some:,} of {count(len(examples), 'row')} of {split.replace('_', '-')}{labels}"] if some else []


def _contrary(examples: Examples) -> int:
    """Count the texts that occur with several labels."""
    labels: dict[tuple[str, str], set[float]] = {}
    for text, label in zip(examples.texts(), examples.labels, strict=True):
        labels.setdefault(text, set()).add(label)
    return sum(len(some) > 1 for some in labels.values())


def _some(names: Sequence[str]) -> str:
    """Name some classes: `class a`, `classes a, b and 3 more`."""
    head, rest = ", ".join(names[:SHOWN]), len(names) - SHOWN
    return f"class{'es' if len(names) > 1 else ''} {head}{f' and {rest} more' if rest > 0 else ''}"
