"""Which classes a network predicts, and whether it has collapsed: one class whatever the text, or two of many.

The score of a collapsed network is that of a constant answer. A run stores what its student (the reported checkpoint,
and the last) and a teacher that was trained along predict on every report split. Of a run from before that, the
reported checkpoint's is counted from its predictions and the others are not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdbench.core.errors import UserError
from kdbench.core.records import ClassCounts
from kdbench.data.task import TASKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kdbench.results.study import Run

    Classes = NDArray[np.integer]

COLLAPSE_HEADING = "Predicts one class only (of more than two: one or two)"
NETWORKS = {"best": "kept student", "last": "last student", "teacher": "teacher trained along"}


@dataclass(frozen=True)
class ClassUse:
    """How a network divides the rows of a split among the classes.

    Args:
        classes: of the task; `true`: that occur among the labels; `predicted`: that are predicted at all.
        most: the class that is predicted most often; `share`: of the rows, a fraction.
    """

    classes: int
    true: int
    predicted: int
    most: int
    share: float

    @property
    def is_collapsed(self) -> bool:
        """Whether one class is predicted, or two where there are more, and the labels have others too."""
        return self.predicted < self.true and self.predicted <= (1 if self.classes == 2 else 2)

    def words(self, labels: Sequence[str]) -> str:
        """`1 of 2 classes (equivalent 100 %)`"""
        most = labels[self.most] if self.most < len(labels) else f"class {self.most}"
        return f"{self.predicted} of {self.classes} classes ({most} {100 * self.share:.0f} %)"


def count_classes(predictions: Classes, references: Classes, classes: int) -> ClassCounts:
    """Count the classes of a split, as result.json stores them.

    Args:
        predictions, references: class indices [n].
    """
    import numpy as np

    rows = np.bincount(predictions, minlength=classes)
    most = int(rows.argmax())
    return {
        "classes": classes, "true": len(np.unique(references)), "predicted": int((rows > 0).sum()), "most": most,
        "share": float(rows[most] / rows.sum()),
    }  # fmt: skip


def find_class_use(run: Run) -> dict[str, dict[str, ClassUse]]:
    """Return what is known of a run's networks: a key of `NETWORKS` -> report split -> use; {} until it is done."""
    if run.result is None:
        return {}
    found = _stored(run.result)
    return found if "best" in found else {**found, "best": _counted(run)}


def _stored(result: Mapping[str, Any]) -> dict[str, dict[str, ClassUse]]:
    parts = {name: result[name].get("predicted") for name in ("best", "last")}
    parts["teacher"] = result.get("teacher_predicted")
    return {name: {split: ClassUse(**use) for split, use in part.items()} for name, part in parts.items() if part}


def _counted(run: Run) -> dict[str, ClassUse]:
    """From the stored predictions; nothing where they are lost, or the task is not there to say its classes."""
    if run.spec.task not in TASKS.all():
        return {}
    classes = len(TASKS.get(run.spec.task).labels)
    try:
        found = run.predictions
    except UserError:
        return {}
    return {split: ClassUse(**count_classes(one.classes, one.labels, classes)) for split, one in found.items()}


def is_collapsed(run: Run, network: str) -> bool:
    """Whether a network of the run is known to have collapsed, on a report split at least."""
    return any(use.is_collapsed for use in run.class_use.get(network, {}).values())


def collapse_warnings(run: Run) -> list[str]:
    """Return a sentence for each network of a finished run that has collapsed."""
    labels = TASKS.get(run.spec.task).labels if run.spec.task in TASKS.all() else ()
    return _sentences(run.class_use, labels)


def stored_warnings(result: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """As `warnings`, of a result that was just made."""
    return _sentences(_stored(result), labels)


def _sentences(found: Mapping[str, Mapping[str, ClassUse]], labels: Sequence[str]) -> list[str]:
    """Networks that do the same share a sentence; splits are named where not all of them are the same."""
    networks: dict[str, list[str]] = {}
    for name, splits in found.items():
        words: dict[str, list[str]] = {}
        for split, use in splits.items():
            if use.is_collapsed:
                words.setdefault(use.words(labels), []).append(split)
        for text, names in words.items():
            where = "" if len(names) == len(splits) else f" on {', '.join(names)}"
            networks.setdefault(f"{text}{where}", []).append(NETWORKS[name])
    return [f"Predicts only {text}: {', '.join(names)}." for text, names in networks.items()]
