"""Read the predictions of finished runs: classes, and the logits behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.data.metrics import answers
from kdbench.results.store import RunFolder

Answers = NDArray[np.int64] | NDArray[np.float64]

CHECKPOINT = "best"  # the one that tables report
TAUGHT = "teacher"  # a teacher that was trained along, at the end of the training
SELECTION = "selection"  # the rows that selected the checkpoint, in the place of a report split
LARGEST = 60_000.0  # distance between logits that float16 holds
Place = tuple[str, str, str]  # checkpoint, split, kind
T = TypeVar("T")


@dataclass(frozen=True)
class Predictions:
    """Predicted and true classes, or numbers, of one report split, in the order of its rows."""

    classes: Answers  # predicted [n]
    labels: Answers  # true [n]


@dataclass(frozen=True)
class RunLogits:
    """The logits of a run in `compact_logits`, by report split.

    Attributes:
        student: of the selected checkpoint; {} where none were kept.
        teacher: of a teacher that was trained along; {} where there was none, or an earlier version trained the run.
        temperature: the one that fits the selection split; None where its logits were not kept.
    """

    student: dict[str, NDArray[np.float64]]
    teacher: dict[str, NDArray[np.float64]]
    temperature: float | None


@lru_cache(maxsize=64)
def _shared(labels: bytes, kind: str) -> Answers:
    """Return one array for all runs that were scored on the same items, to save memory."""
    return np.frombuffer(labels, kind)


def compact_logits(logits: NDArray[Any]) -> NDArray[np.float16]:
    """Return logits [n, C] less the largest of their row, as float16.

    The probabilities are those of the logits, because softmax ignores what a row has in common. Tables use this form
    of the logits of every run, so that they do not change when a study is collected.
    """
    wide = logits.astype(np.float64)
    out: NDArray[np.float16] = np.clip(wide - wide.max(1, keepdims=True), -LARGEST, 0).astype(np.float16)
    return out


def read_predictions(folder: RunFolder) -> dict[str, Predictions]:
    """Return the selected checkpoint's predictions by report split, from its logits or stored classes or numbers.

    Raises:
        UserError: the file is missing or damaged.
    """
    found: dict[str, dict[str, Answers]] = {}

    def read(stored: dict[Place, NDArray[Any]]) -> dict[str, Predictions]:
        for (_, split, kind), values in stored.items():
            part = found.setdefault(split, {})
            # a collected study has both; classes are those of the logits before they were rounded
            part["classes" if kind == "logits" and (CHECKPOINT, split, "classes") not in stored else kind] = (
                answers(values) if kind == "logits" else values
            )
        return {
            split: Predictions(part["classes"], _shared(part["labels"].tobytes(), part["labels"].dtype.str))
            for split, part in found.items()
        }

    return _read(folder, lambda place: place[0] == CHECKPOINT and place[1] != SELECTION, read)


def read_logits(folder: RunFolder) -> RunLogits:
    """Return the logits of a finished run; none of a regression, whose numbers are its predictions.

    Raises:
        UserError: the file is missing or damaged.
    """

    def read(stored: dict[Place, NDArray[Any]]) -> RunLogits:
        student, teacher = (
            {split: compact_logits(values).astype(np.float64) for (name, split, kind), values in stored.items()
             if name == wanted and split != SELECTION and kind == "logits" and values.shape[1] > 1}
            for wanted in (CHECKPOINT, TAUGHT)
        )  # fmt: skip
        selection = {kind: values for (_, split, kind), values in stored.items() if split == SELECTION}
        return RunLogits(student, teacher, _temperature(selection))

    return _read(folder, lambda place: place[0] in (CHECKPOINT, TAUGHT), read)


def logit_tensors(folder: RunFolder) -> dict[str, NDArray[Any]]:
    """Return what a collected study keeps of a run's logits, by name; `read_logits` reads the same from both.

    Raises:
        UserError: the file is missing or damaged.
    """
    found = read_logits(folder)
    names = {f"{CHECKPOINT}/{split}/logits": values for split, values in found.student.items()}
    names |= {f"{TAUGHT}/{split}/logits": values for split, values in found.teacher.items()}
    tensors: dict[str, NDArray[Any]] = {name: values.astype(np.float16) for name, values in names.items()}
    if found.temperature is not None:
        tensors[f"{CHECKPOINT}/{SELECTION}/temperature"] = np.array([found.temperature])
    return tensors


def _temperature(selection: dict[str, NDArray[Any]]) -> float | None:
    """Return the stored temperature, else the one that fits the logits; None without either, or of a regression."""
    if "temperature" in selection:
        return float(selection["temperature"][0])
    if not len(selection.get("labels", ())) or selection["logits"].shape[1] == 1:
        return None
    from kdbench.results.calibration import fit_temperature  # scipy, which takes time to import

    return fit_temperature(compact_logits(selection["logits"]).astype(np.float64), selection["labels"])


def _read(folder: RunFolder, wanted: Callable[[Place], bool], read: Callable[[dict[Place, NDArray[Any]]], T]) -> T:
    """Read the wanted tensors, and return what `read` makes of them.

    Raises:
        UserError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if folder.damage(folder.predictions):
            raise ValueError("not what was written")
        with safe_open(folder.predictions, framework="numpy") as file:
            places = {name: _place(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
            return read({place: file.get_tensor(name) for name, place in places.items() if wanted(place)})
    except (OSError, SafetensorError, KeyError, ValueError):
        raise UserError(f"{folder.id} has no readable {folder.predictions.name}; {folder.way_out}") from None


def _place(name: str) -> Place:
    checkpoint, split, kind = name.split("/")
    return checkpoint, split, kind
