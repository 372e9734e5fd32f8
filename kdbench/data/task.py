"""Base class of tasks: labels, metrics, examples."""

from __future__ import annotations

import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from kdbench.core.errors import UserError, place_in_file
from kdbench.core.formatting import count
from kdbench.core.lazy_torch import LazyModule
from kdbench.core.plugin_files import whole_code_hash
from kdbench.core.spec import DataLocation
from kdbench.data import metrics
from kdbench.data.example_checks import check_examples, check_splits
from kdbench.data.examples import Examples as Examples
from kdbench.data.examples import TaskData as TaskData
from kdbench.data.metrics import ScoreCounts
from kdbench.data.own_scores import ROUNDING, WANTED, valid_scores
from kdbench.data.test_server import Server, ServerFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Words = tuple[str, ...]
Kind = Literal["classification", "regression"]


class Task(ABC):
    """Base class of a text-classification or regression task, to be derived from in `tasks/` or in another package."""

    name: ClassVar[str] = ""  # set by the registry: the file's (or the entry point's) name
    title: ClassVar[str]  # as tables print it
    group: ClassVar[str] = ""  # `--tasks GROUP` selects all tasks of a group
    position: ClassVar[int] = 1000  # column order in the tables
    kind: ClassVar[Kind] = "classification"
    # label words, two or more, in the order of the class index; of a regression, the name of its one number
    labels: ClassVar[Annotated[Words, Field(min_length=1)]]
    metrics: ClassVar[Annotated[Words, Field(min_length=1)]]  # the first one selects; see data/metrics.py
    report_splits: ClassVar[Annotated[Words, Field(min_length=1)]] = ("validation",)
    validation_split: ClassVar[str] = ""  # a labelled split for selection and feedback that no table reports
    report_note: ClassVar[str] = ""  # what a table must say of the reported rows; words without a full stop
    official_rows: ClassVar[Mapping[str, int]] = {}  # rows of the published splits, where there is a publication
    server: ClassVar[Server | None] = None  # scores the test splits, whose labels only the server has
    server_files: ClassVar[tuple[ServerFile, ...]] = ()  # what that server takes of this task
    # what it also takes, on rows that may be missing here and whose scores no table shows
    diagnostic_files: ClassVar[tuple[ServerFile, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Resolve the names of the metrics that `Task.score` computes; see `metrics.resolve`.

        Raises:
            ValueError: a metric is unknown, or names a class that there is not, or the labels do not fit the kind, or
                two are the same.
        """
        super().__init_subclass__()
        words = getattr(cls, "labels", ())
        if isinstance(words, tuple | list) and words and (len(words) == 1) != (cls.kind == "regression"):
            wanted = "two or more labels" if cls.kind == "classification" else "one label, the name of its number"
            raise ValueError(f"{cls.__qualname__}.labels is wrong: {words!r}: a task of {cls.kind} has {wanted}")
        if isinstance(words, tuple | list) and (twice := [word for word in words if list(words).count(word) > 1]):
            raise ValueError(f"{cls.__qualname__}.labels is wrong: {words!r}: two classes are called {twice[0]!r}")
        declared = (getattr(cls, "metrics", None), getattr(cls, "labels", None))
        # other types are converted, or refused, when the task is loaded as a plugin
        if cls.score is Task.score and all(isinstance(words, tuple | list) for words in declared):
            cls.metrics = metrics.resolve(cls.metrics, cls.labels)

    @abstractmethod
    def load(self, location: DataLocation) -> TaskData:
        """Read the splits `train` and `report_splits` (all labelled).

        Raises:
            UserError: a file is missing or malformed (naming file, line and what was expected).
        """

    def load_checked(self, location: DataLocation) -> TaskData:
        """Load the examples and check them: `load` may be a user's own code.

        Raises:
            UserError: the data cannot be read, a split is missing, or a text or label is wrong.
        """
        spare = (self.validation_split,) if self.validation_split else ()
        labelled = tuple(dict.fromkeys(("train", *spare, *self.report_splits)))
        try:
            data = self.load(location)
            check_splits(f"Task '{self.name}'", data.splits, labelled)
            for split, examples in data.splits.items():
                is_labelled = split in labelled
                check_examples(f"Task '{self.name}', {split}", examples, self.labels, is_labelled=is_labelled)
        except (UserError, MemoryError):
            raise
        except Exception as error:
            where = place_in_file(error, type(self))
            raise UserError(
                f"Task '{self.name}' does not load its data: {type(error).__name__}: {error}{where}."
            ) from error
        return data

    @classmethod
    def numbers(cls) -> list[tuple[str, str]]:
        """Return the (metric, split) of each number in a table's cell, in its order."""
        return [(metric, split) for split in cls.report_splits for metric in cls.metrics]

    def score(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        """Compute all `metrics`, as fractions between 0 and 1 (for correlations, -1 and 1), of which 1 is the best.

        A score is also asked for predictions of one class alone, and for rows without some class, and is finite.

        Args:
            predictions, references: class indices [n]; of a regression, numbers.
        """
        return metrics.score(self.metrics, predictions, references, self.labels)

    def score_checked(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """Compute all `metrics` and check them: `score` may be a user's own code.

        Raises:
            UserError: `score` fails, or see `valid_scores`.
        """
        try:
            found = self.score(predictions, references)
        except (UserError, MemoryError):
            raise
        except Exception as error:
            several, where = count(len(set(predictions)), "distinct prediction"), place_in_file(error, type(self))
            raise UserError(
                f"Task '{self.name}' cannot score {count(len(references), 'row')} with {several} "
                f"({type(error).__name__}: {error}{where}); return a number for each metric, whatever is predicted."
            ) from error
        return valid_scores(f"Task '{self.name}'", self.metrics, found)

    def check_own_scores(self, data: TaskData) -> None:
        """Score right and wrong answers to the reported rows, where the task has scores of its own.

        Raises:
            UserError: right answers do not score highest, `score_counts` differs from `score`, or see `score_checked`.
        """
        for split in self.report_splits if self.has_own_score else ():
            true = list(data.splits[split].labels)
            right = self.score_checked(true, true)
            self._check_counts(true, true, right)
            others: list[list[Any]] = [true[::-1]]
            if self.kind == "classification":  # a student may predict one class for every row
                others += [[label] * len(true) for label in range(len(self.labels))]
            for answers in others:
                found = self.score_checked(answers, true)
                self._check_counts(answers, true, found)
                if worse := [name for name in self.metrics if found[name] > right[name] + ROUNDING]:
                    name = worse[0]
                    raise UserError(
                        f"Task '{self.name}' scores wrong answers to {split} higher than right ones ({name} "
                        f"{found[name]:.4g} and {right[name]:.4g}), and the highest score is taken as the best; return "
                        f"{WANTED}."
                    )

    def _check_counts(self, answers: Sequence[Any], true: Sequence[Any], scores: Mapping[str, float]) -> None:
        """Refuse a subclass's own `score_counts` that differs from its `score`: intervals would be of other scores."""
        if type(self).score_counts is Task.score_counts or self.kind != "classification":
            return
        counts = metrics.confusion(answers, true, len(self.labels))
        try:
            found = {name: float(self.score_counts(counts[None])[name][0]) for name in self.metrics}
        except Exception as error:
            where = place_in_file(error, type(self))
            raise UserError(
                f"Task '{self.name}' cannot score confusion matrices ({type(error).__name__}: {error}{where}); leave "
                "score_counts out, or return an array of each metric, with a number for each matrix."
            ) from error
        if other := [name for name in self.metrics if not abs(found[name] - scores[name]) <= ROUNDING]:
            raise UserError(
                f"Task '{self.name}' computes {other[0]} {scores[other[0]]:.4g} by score and {found[other[0]]:.4g} by "
                "score_counts for the same answers; let both compute the same, or leave score_counts out."
            )

    def score_classes(self, counts: ScoreCounts) -> dict[str, NDArray[np.float64]]:
        """Compute all `metrics` [...] from the counts of classes; of a subclass with scores of its own by these."""
        if self.has_own_score:
            return self.score_counts(counts.confusion())
        return metrics.score_classes(self.metrics, counts, self.labels)

    @property
    def has_own_score(self) -> bool:
        """Return whether a subclass computes the scores, one matrix at a time, and slowly."""
        return type(self).score is not Task.score or type(self).score_counts is not Task.score_counts

    def score_counts(self, counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Compute all `metrics` [...] from confusion matrices [..., true class, predicted class].

        Resampling passes thousands at once. A subclass that overrides `score` alone gets a loop over it here.
        """
        if type(self).score is Task.score:
            return metrics.score_counts(self.metrics, counts, self.labels)
        size = counts.shape[-1]
        true, predicted = (index.ravel() for index in np.indices((size, size)))
        scores = [
            self.score_checked(np.repeat(predicted, matrix).tolist(), np.repeat(true, matrix).tolist())
            for matrix in counts.reshape(-1, size * size).astype(np.int64)
        ]
        return {name: np.array([s[name] for s in scores]).reshape(counts.shape[:-2]) for name in self.metrics}

    def score_weights(
        self, weights: NDArray[np.float64], predicted: NDArray[np.float64], true: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """Compute all `metrics` [R, K] of a regression on resampled items.

        Args:
            weights: how often each item is drawn [R, n].
            predicted, true: numbers [K, n] of K trainings, and the true ones [n].
        """
        if type(self).score is Task.score:
            return metrics.score_weights(self.metrics, weights, predicted, true, self.labels)
        drawn = [np.repeat(np.arange(len(true)), row.astype(np.int64)) for row in weights]
        scores = [
            [self.score_checked(row[items].tolist(), true[items].tolist()) for row in predicted] for items in drawn
        ]
        return {name: np.array([[one[name] for one in row] for row in scores]) for name in self.metrics}

    @classmethod
    def selection_title(cls) -> str:
        """Return the title of the metric that selects checkpoints and grid points, such as `selection F1`."""
        return selection_title(cls.metrics)

    @classmethod
    def locate(cls, asked: DataLocation, data_dir: Path | None) -> DataLocation:
        """Return where the examples lie; tasks with files of their own find them, others take what was asked for.

        Args:
            asked: the study's source of GLUE's examples.
            data_dir: the folder that --data-dir names.

        Raises:
            UserError: the task's files are not there.
        """
        return asked

    @classmethod
    def is_here(cls, data_dir: Path | None) -> bool:
        """Return whether the examples are at hand, so that `--tasks all` means this task too."""
        return True

    @classmethod
    def text_source(cls) -> str:
        """Return what only tasks with the same reported texts have in common; "" where the task has its texts alone."""
        return ""

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """Return what another machine needs in order to know a task that no plugin there defines; {} for plugins."""
        return {}

    @classmethod
    def is_generated(cls, location: DataLocation) -> bool:
        """Return whether `load` gives synthetic data, on which scores say nothing about methods.

        Tasks with data of their own at any location keep the default, False.
        """
        return False

    def has_test(self, location: DataLocation, split: str) -> bool:
        """Return whether the rows of one of `diagnostic_files` are at hand."""
        return True

    def load_test(self, location: DataLocation, split: str) -> Examples:
        """Read an unlabelled split that the server scores, in the server's order; never used in training.

        Raises:
            UserError: there is none, or it is missing or malformed.
        """
        raise UserError(f"{self.title} has no test split '{split}', so that no server scores it.")

    def fingerprint(self, location: DataLocation) -> str:
        """Return a hash of what decides the scores, independent of the location.

        These are the examples, kind, labels, metrics and splits; and, where the task computes scores of its own, the
        code of its file and of the user's modules that it imports.
        """
        return self.fingerprint_of(self.load_checked(location), location)

    def fingerprint_of(self, data: TaskData, location: DataLocation) -> str:
        """Return the `fingerprint` of examples that were loaded from a location."""
        own, code = [fingerprint(data), self.kind, self.labels, self.metrics], ""
        if self.has_own_score:
            file = Path(inspect.getfile(type(self)))
            code = whole_code_hash(file, file.read_bytes())
        words = json.dumps([*own, self.report_splits, self.validation_split, code])
        return hashlib.sha256(words.encode()).hexdigest()[:16]


def selection_title(metrics: Sequence[str]) -> str:
    """Return the title of the metric that selects, the first, such as `selection F1`; "selection" without metrics."""
    return f"selection {metric_title(metrics[0])}" if metrics else "selection"


def metric_title(name: str) -> str:
    """Return the title of a metric: macro-F1 for `macro_f1`, F1 of spam for `f1:spam`."""
    kind, _, of_class = name.partition(":")
    words = kind.replace("_f1", "-F1").replace("_", " ")
    return ("F1" if words == "f1" else words) + (f" of {of_class}" if of_class else "")


def fingerprint(data: TaskData) -> str:
    """Compute the first 16 digits of a sha256 over vocabulary, split names and all rows in order."""
    digest = hashlib.sha256(json.dumps(list(data.vocabulary)).encode())
    encode = json.JSONEncoder(ensure_ascii=False).encode  # one for many rows
    for name in sorted(data.splits):
        split = data.splits[name]
        digest.update(json.dumps([name, split.text_b is not None]).encode())
        for texts, label in zip(split.texts(), split.labels, strict=True):
            plain = label.item() if isinstance(label, np.generic) else label
            digest.update(encode([*texts, plain]).encode())
    return digest.hexdigest()[:16]
