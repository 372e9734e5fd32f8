"""Count the classes that a network predicts, and tell whether it has collapsed to one of them (or two of many).

A collapsed network answers the same whatever the text; of a regression it predicts one number, with which no
correlation is defined. A run stores the predicted classes of its student (the reported checkpoint, and the last) and of
a teacher that was trained along, on every report split. For runs of earlier versions, the reported checkpoint's are
counted from its predictions and the others are not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.core.records import ClassCounts

if TYPE_CHECKING:
    from kdbench.results.predictions import Predictions

Classes = NDArray[Any]
UNDEFINED = ", with which correlations are undefined and count as 0"  # after `one number`
NETWORKS = {"best": "kept student", "last": "last student", "teacher": "teacher trained along"}


@dataclass(frozen=True)
class ClassUse:
    """Count how a network divides the rows of a split among the classes.

    Args:
        classes: number of classes of the task; 1 of a regression, where a class below is one of the numbers.
        true: number of classes that occur among the labels.
        predicted: number of classes that are predicted at all.
        most: the class that is predicted most often.
        share: of the rows with that class, a fraction.
    """

    classes: int
    true: int
    predicted: int
    most: int
    share: float

    @property
    def is_collapsed(self) -> bool:
        """Return whether one class (two of more than two) is predicted although the labels have more."""
        return self.predicted < self.true and self.predicted <= (1 if self.classes <= 2 else 2)

    @property
    def misses_classes(self) -> bool:
        """Return whether a class that labels have is never predicted, although the network has not collapsed."""
        return self.classes > 1 and self.predicted < self.true and not self.is_collapsed

    def words(self, labels: Sequence[str]) -> str:
        """Return `1 of 2 classes (equivalent 100 %)`, or how many numbers a regression predicts."""
        if self.classes == 1:
            return f"{count(self.predicted, 'number')}{UNDEFINED if self.predicted == 1 else ''}"
        most = labels[self.most] if self.most < len(labels) else f"class {self.most}"
        return f"{self.predicted} of {self.classes} classes ({most} {100 * self.share:.0f} %)"


ClassUses = Mapping[str, Mapping[str, ClassUse]]  # a key of NETWORKS -> report split -> class use


def count_classes(predictions: Classes, references: Classes, classes: int) -> ClassCounts:
    """Count the classes of a split, as result.json stores them.

    Args:
        predictions, references: class indices [n], or the numbers of a regression.
        classes: number of classes, 1 for a regression.
    """
    if classes == 1:
        return _count_numbers(predictions, references)
    rows = np.bincount(predictions, minlength=classes)
    most = int(rows.argmax())
    return {
        "classes": classes, "true": len(np.unique(references)), "predicted": int((rows > 0).sum()), "most": most,
        "share": float(rows[most] / rows.sum()),
    }  # fmt: skip


def _count_numbers(predictions: Classes, references: Classes) -> ClassCounts:
    """Count the different numbers of a split; predictions that differ by rounding alone are one."""
    from kdbench.data.correlations import is_constant

    values, rows = np.unique(predictions, return_counts=True)
    one = is_constant(values)
    return {
        "classes": 1, "true": len(np.unique(references)), "predicted": 1 if one else len(values), "most": 0,
        "share": 1.0 if one else float(rows.max() / rows.sum()),
    }  # fmt: skip


def find_class_use(
    classes: int, result: Mapping[str, Any] | None, read: Callable[[], Mapping[str, Predictions]]
) -> ClassUses:  # fmt: skip
    """Return a key of `NETWORKS` -> report split -> class use, as far as known; {} for an unfinished run.

    Args:
        classes: number of classes of the run's task; 0 where the task is not known.
        result: what the run stored; None of an unfinished one.
        read: reads the predictions by report split, for a run of an earlier version.
    """
    if result is None:
        return {}
    found = _stored(result)
    return found if "best" in found else {**found, "best": _counted(classes, read)}


def _stored(result: Mapping[str, Any]) -> ClassUses:
    """Read the class use that result.json holds."""
    parts = {name: result[name].get("predicted") for name in ("best", "last")}
    parts["teacher"] = result.get("teacher_predicted")
    return {name: {split: ClassUse(**use) for split, use in part.items()} for name, part in parts.items() if part}


def _counted(classes: int, read: Callable[[], Mapping[str, Predictions]]) -> dict[str, ClassUse]:
    """Count classes in the stored predictions; {} where these are lost or the task is not known."""
    if not classes:
        return {}
    try:
        found = read()
    except UserError:
        return {}
    return {split: ClassUse(**count_classes(one.classes, one.labels, classes)) for split, one in found.items()}


def is_collapsed(uses: ClassUses, network: str) -> bool:
    """Return whether a network of a run is known to have collapsed on at least one report split."""
    return bool(collapsed_uses(uses, network))


def collapsed_uses(uses: ClassUses, *networks: str) -> list[ClassUse]:
    """Return the class use of these networks (of all, where none is named) on splits where they have collapsed."""
    parts = [uses.get(network, {}) for network in networks or uses]
    return [use for part in parts for use in part.values() if use.is_collapsed]


def collapse_heading(collapsed: Iterable[ClassUse]) -> str:
    """Return what these collapsed networks predict together: `Predicts only one or two of the classes`."""
    uses = list(collapsed)
    few = sorted({use.predicted for use in uses if use.classes > 1})
    words = " or ".join("one" if number == 1 else "two" for number in few)
    parts = [f"{words} {'class' if few == [1] else 'of the classes'}"] if few else []
    parts += [f"one number{UNDEFINED}"] if any(use.classes == 1 for use in uses) else []
    return f"Predicts only {', or '.join(parts)}"


def stored_warnings(result: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Return the same sentences as `collapse_warnings` from a result."""
    return collapse_warnings(_stored(result), labels)


def collapse_warnings(uses: ClassUses, labels: Sequence[str]) -> list[str]:
    """Return a sentence for the collapsed networks of a run.

    Equal networks share a sentence; splits are named where they differ.
    """
    networks: dict[str, list[str]] = {}
    for name, splits in uses.items():
        words: dict[str, list[str]] = {}
        for split, use in splits.items():
            if use.is_collapsed:
                words.setdefault(use.words(labels), []).append(split)
        for text, names in words.items():
            where = "" if len(names) == len(splits) else f" on {', '.join(names)}"
            networks.setdefault(f"{text}{where}", []).append(NETWORKS[name])
    return [f"Predicts only {text}: {', '.join(names)}." for text, names in networks.items()]
