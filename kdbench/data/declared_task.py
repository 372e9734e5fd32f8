"""A task that a declaration describes, without Python."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from kdbench.core.errors import UserError
from kdbench.core.formatting import value
from kdbench.core.spec import DataLocation
from kdbench.data import metrics
from kdbench.data.declaration import HELD_OUT, TRAIN, VALIDATION, Declaration
from kdbench.data.declared_rows import DeclaredData, read_declared
from kdbench.data.files.source import HUB, file_names, split_part
from kdbench.data.task import Task, TaskData, fingerprint

UNEQUAL = 2.0  # rows of the largest class to those of the smallest, from which macro-F1 stands beside accuracy


class _FromTrain:
    """A class attribute that is read from train when somebody first asks."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, task: Task | None, kind: type[DeclaredTask]) -> tuple[str, ...]:
        labels, names = kind.own_classes()
        return labels if self._name == "labels" else names


class DeclaredTask(Task):
    """Base class of declared tasks, of which `declared_task` makes one a declaration."""

    title = ""  # a base, not a task
    declaration: ClassVar[Declaration]
    place: ClassVar[str]
    folders: ClassVar[tuple[Path, ...]]  # where relative paths may begin; () for the declarations of kdbench itself
    found: ClassVar[DataLocation | None] = None  # where `locate` found the files
    labels = _FromTrain()
    metrics = _FromTrain()

    def __init_subclass__(cls) -> None:
        """Leave the metrics as declared: their names are resolved when they are read, as the labels are."""

    @classmethod
    def locate(cls, asked: DataLocation, data_dir: Path | None) -> DataLocation:
        """Return the folder in which the task's files lie, or the hub; see `Task.locate`."""
        files = _files(cls.declaration)
        if not files:
            cls.found = DataLocation("hub")
            return cls.found
        # an absolute path is found from every folder; its own says where the data are
        own = [Path(files[0]).parent] if Path(files[0]).is_absolute() else []
        folders = [*own, *([data_dir] if data_dir else []), *cls.folders]
        if folder := next((folder for folder in folders if split_part(files[0], folder)[0].exists()), None):
            cls.found = DataLocation("files", folder.resolve())
            return cls.found
        where = f" (from {cls.declaration.origin})" if cls.declaration.origin else ""
        looked = f", and is not in {' or '.join(map(str, folders))}" if folders else ""
        raise UserError(
            f"Task '{cls.name}' reads {files[0]}{where}{looked}; name the folder in which {files[0]} is to be found by "
            "--data-dir DIR."
        )

    @classmethod
    def is_here(cls, data_dir: Path | None) -> bool:
        """Return whether the first file is there; data of the hub are not; see `Task.is_here`."""
        try:
            return cls.locate(DataLocation("generated"), data_dir).source == "files"
        except UserError:
            return False

    def load(self, location: DataLocation) -> TaskData:
        """Read all splits; see `Task.load`."""
        return TaskData(self._read_at(location).splits)

    def fingerprint_of(self, data: TaskData, location: DataLocation) -> str:
        """Return a hash of the examples, the classes, the metrics and the names of the reported splits."""
        own = [fingerprint(data), self.labels, self.metrics, self.report_splits]
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:16]

    @classmethod
    def text_source(cls) -> str:
        """Return the sources and columns of the reported texts; see `Task.text_source`."""
        declared = cls.declaration
        splits = [TRAIN if split == HELD_OUT else split for split in declared.report_splits]
        return repr((cls.folders, declared.text, [declared.sources(split) for split in splits]))

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """Return the declaration with classes and metrics filled in; see `Task.describe`."""
        labels, names = cls.own_classes()
        written = cls.declaration.labels or (labels if cls.kind == "classification" else ())
        found = cls.declaration.model_copy(update={"title": cls.title, "labels": written, "metrics": names})
        return found.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def own_classes(cls) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the classes and of the metrics, from train where the declaration leaves them open."""
        labels, names = cls.declaration.class_names, cls.declaration.metrics
        if cls.kind == "regression":
            names = names or metrics.CORRELATIONS
        if labels and names:
            return labels, _resolved(cls.name, names, labels)
        read = cls._read_at(cls.found or cls.locate(DataLocation("generated"), None))
        return read.labels, _resolved(cls.name, names or usual_metrics(read), read.labels)

    @classmethod
    def _read_at(cls, location: DataLocation) -> DeclaredData:
        folder = location.path or Path()
        paths = (split_part(name, folder)[0] for name in _files(cls.declaration))
        stats = ((str(path), path.stat()) for path in dict.fromkeys(paths) if path.exists())
        stamp = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
        return _read(cls.declaration.model_dump_json(), folder, stamp)


def declared_task(name: str, declaration: Declaration, place: str, folders: Sequence[Path]) -> type[DeclaredTask]:
    """Make the class of a declared task.

    Args:
        place: where the declaration stands, for messages.
        folders: where its relative paths may begin; the first in which its first file lies is taken.

    Raises:
        UserError: a metric is not known, or is about a class that is none of the labels.
    """
    if declaration.class_names and declaration.metrics:
        _resolved(name, declaration.metrics, declaration.class_names)
    has_spare = bool(declaration.validation) and VALIDATION not in declaration.report_splits
    own = {
        "__module__": place, "__doc__": declaration.about or f"Declared: {', '.join(declaration.splits)}.",
        "title": declaration.title or name, "group": declaration.group, "position": declaration.position,
        "kind": declaration.kind,
        "report_splits": declaration.report_splits, "validation_split": VALIDATION if has_spare else "",
        "report_note": _report_note(declaration), "official_rows": declaration.rows,
        "declaration": declaration, "place": place, "folders": tuple(folders),
    }  # fmt: skip
    return type(name, (DeclaredTask,), own)


def usual_metrics(data: DeclaredData) -> tuple[str, ...]:
    """Return accuracy, and macro-F1 beside it where classes of train are unequal; of a regression both correlations."""
    if len(data.labels) == 1:
        return metrics.CORRELATIONS
    counts = Counter(data.splits[TRAIN].labels).values()
    return ("accuracy", "macro_f1") if max(counts) >= UNEQUAL * min(counts) else ("accuracy",)


def _report_note(declaration: Declaration) -> str:
    if HELD_OUT not in declaration.report_splits:
        return ""
    share = value(100 * declaration.holdout)
    of_class = " of each class" if declaration.kind == "classification" else ""
    rows = f"about {share} % of the rows{of_class}"
    return f"no split for the report was given, so {rows} are held out, by a hash of each text"


def _resolved(task: str, names: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    try:
        return metrics.resolve(names, labels)
    except ValueError as error:
        raise UserError(f"Task '{task}', metrics: {error}") from None


def _files(declaration: Declaration) -> list[str]:
    """Return the names of all sources that are not on the hub."""
    sources = [source for split in declaration.splits for source in declaration.sources(split)]
    names = [name for source in sources for name in file_names(source)]
    return [name for name in names if not name.startswith(HUB)]


@lru_cache(maxsize=4)
def _read(declaration: str, folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> DeclaredData:
    """Read the data once for fingerprint, plan and training; a file that changes is read again."""
    return read_declared(Declaration.model_validate_json(declaration), folder)
