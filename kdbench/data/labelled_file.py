"""Read a labelled file that belongs to no task, and match its labels with the classes of a task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.data.declaration import TRAIN, Declaration
from kdbench.data.declared_rows import SHOWN, LabelledRow, as_examples, read_split_rows
from kdbench.data.guess_columns import guess_columns
from kdbench.data.task import Examples

AND = "+"  # joins classes of a task in a mapping
OWN, FILE = "own", "file"  # parts of a probe: the reported splits as they are, and the other data


@dataclass(frozen=True)
class LabelView:
    """Labels of a file as groups of a task's classes.

    Attributes:
        names: the groups.
        of_class: the group of each class of the task.
        of_label: the group of each label of the file.
    """

    names: tuple[str, ...]
    of_class: tuple[int, ...]
    of_label: Mapping[str, int]

    @property
    def is_whole(self) -> bool:
        """Return whether the groups are the task's classes."""
        return self.of_class == tuple(range(len(self.of_class)))


def read_labelled_file(
    data: str, text: Sequence[str] = (), label: str = "", encoding: str = "utf-8"
) -> list[LabelledRow]:
    """Read all rows of a file, or of a part of a data set, as `kdbench run --data` reads them.

    Args:
        data: a file, FILE#PART, or hf:OWNER/NAME@REVISION:CONFIG#SPLIT.
        text, label: its columns; () and "" guess them.

    Raises:
        UserError: it cannot be read, or a column is not clear.
    """
    here = Path.cwd()
    guess = guess_columns(data, here, encoding, tuple(text), label)
    values = {"train": data, "text": list(guess.text), "label": guess.label, **guess.form.changed}
    return read_split_rows(Declaration.parse(values, data), TRAIN, here)


def match_labels(classes: Sequence[str], labels: Sequence[str], mapping: str = "") -> LabelView:
    """Match the labels of a file with a task's classes: by a mapping, by their names, or as class numbers.

    Args:
        mapping: `entailment=entailment,non-entailment=neutral+contradiction`: for each label of the file the classes
            that count as this label. "" matches names, if need be without case and punctuation, else numbers.

    Raises:
        UserError: they cannot be matched, or the mapping names something unknown, or leaves something out.
    """
    if mapping:
        return _mapped(classes, labels, mapping)
    every = tuple(range(len(classes)))
    # names as they are written tell +, -, 1 and -1 apart, which are alike without punctuation
    for form in (str, _plain):
        known = {form(name): index for index, name in enumerate(classes)}
        if len(known) == len(classes) and all(form(label) in known for label in labels):
            return LabelView(tuple(classes), every, {label: known[form(label)] for label in labels})
    # class numbers, unless one of them is the name of a class too: of the classes -1, 0, 1 the first has the number 0;
    # 1 and 2 alone may be counted from 1
    are_numbers = "0" in labels and all(label.isdecimal() and int(label) < len(classes) for label in labels)
    if are_numbers and not {*labels} & {*classes}:
        return LabelView(tuple(classes), every, {label: int(label) for label in labels})
    named = {label: classes[known[_plain(label)]] if _plain(label) in known else "CLASS" for label in labels[:SHOWN]}
    example = ",".join(f"{label}={one}" for label, one in named.items())
    raise UserError(
        f"The labels of the file ({', '.join(labels[:SHOWN])}) are not the task's classes "
        f"({', '.join(classes[:SHOWN])}); say which classes count as which label, such as --labels {example} (join "
        f"several classes by {AND})."
    )


def labelled_examples(rows: Sequence[LabelledRow], view: LabelView) -> Examples:
    """Return rows as examples whose labels are the groups of a view."""
    return as_examples(rows, view.of_label.__getitem__)


def _mapped(classes: Sequence[str], labels: Sequence[str], mapping: str) -> LabelView:
    groups = dict(part.partition("=")[::2] for part in mapping.split(","))
    named = {name.strip(): [one.strip() for one in joined.split(AND)] for name, joined in groups.items()}
    members = [one for some in named.values() for one in some]
    for label in labels:
        if label not in named:
            raise UserError(f"--labels says nothing of the label '{label}' of the file.")
    if unknown := [one for one in members if one not in classes]:
        raise UserError(f"--labels names '{unknown[0]}', which is no class of the task ({', '.join(classes)}).")
    if sorted(members) != sorted(classes):
        raise UserError(f"--labels must name each class of the task once ({', '.join(classes)}).")
    order = {one: i for i, some in enumerate(named.values()) for one in some}
    return LabelView(tuple(named), tuple(order[one] for one in classes), {name: i for i, name in enumerate(named)})


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
