"""Base class of the GLUE tasks, which declare labels, metrics, files and columns on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.data.task import Examples, Task, TaskData, fingerprint
from kdbench.tasks import hub, tsv
from kdbench.tasks.generated import Recipe, generate
from kdbench.tasks.glue_server import SERVER

_made = lru_cache(maxsize=8)(generate)  # used by the fingerprint and by the training


@dataclass(frozen=True)
class Elsewhere:
    """The place of a test split that is no file of the task's own folder.

    Args:
        files: paths below the GLUE folder, of which the first that is there is read.
        hub_config: the configuration of the hub's data set whose `test` split it is.
    """

    files: tuple[str, ...]
    hub_config: str


class GlueTask(Task):
    """Base class of the GLUE tasks; a subclass sets the class variables.

    `columns` and `hub_columns` name the first text, the second text (None for single sentences) and the label.
    """

    title = ""  # a base, not a task
    group = "glue"
    server = SERVER
    folder: ClassVar[str]  # below the GLUE folder
    files: ClassVar[Mapping[str, str]] = {  # split: file in `folder`
        "train": "train.tsv",
        "validation": "dev.tsv",
        "test": "test.tsv",
    }
    elsewhere: ClassVar[Mapping[str, Elsewhere]] = {}
    index: ClassVar[str] = "index"  # the column of the test files that numbers the rows from 0
    header: ClassVar[tuple[str, ...]] = ()  # columns of the labelled files, where their first line is a row
    columns: ClassVar[tsv.Columns]
    label_words: ClassVar[tuple[str, ...]] = ()  # as the files write the classes, in class order
    limits: ClassVar[tuple[float, float] | None] = None  # of the labels of a regression
    broken_rows: ClassVar[int] = 0  # largest number of truncated rows in a published file, which are skipped
    hub_config: ClassVar[str]
    hub_columns: ClassVar[tsv.Columns]
    recipe: ClassVar[Recipe]

    def load(self, location: DataLocation) -> TaskData:
        """Load the splits; see `Task.load`. Synthetic data has a vocabulary."""
        if location.source == "generated":
            return _made(self.title, self.recipe, self.report_splits)
        names = ("train", *self.report_splits)
        if location.source == "hub":
            return TaskData(hub.read(self.hub_config, names, self.hub_columns, len(self.labels), self.limits))
        return TaskData({name: self._read(location, name) for name in names})

    @classmethod
    def is_generated(cls, location: DataLocation) -> bool:
        """Return whether the data is synthetic; False for a subclass with its own `load`."""
        return location.source == "generated" and cls.load is GlueTask.load

    def has_test(self, location: DataLocation, split: str) -> bool:
        """Return whether a split of another folder, or of another configuration of the hub, can be read."""
        if location.source == "hub":
            return hub.is_available(self.elsewhere[split].hub_config)
        return location.path is not None and self._path(location, split).is_file()

    def load_test(self, location: DataLocation, split: str) -> Examples:
        """Read a test split; see `Task.load_test`."""
        if location.source == "generated":
            raise UserError(f"{self.title} has no test split in made data: train on real data, such as --glue-dir DIR.")
        if location.source == "hub":
            other = self.elsewhere.get(split)
            config, name = (other.hub_config, "test") if other else (self.hub_config, split)
            return hub.read_unlabelled(config, name, self.hub_columns)
        return tsv.read_unlabelled(self._path(location, split), self.columns, self.index)

    def fingerprint(self, location: DataLocation) -> str:
        """Return a hash of the examples; for the hub, whose files are pinned, their name, without network.

        Labels and metrics are those of the publication and do not change.
        """
        is_pinned = location.source == "hub" and not self.has_own_score
        return hub.identity(self.hub_config) if is_pinned else super().fingerprint(location)

    def fingerprint_of(self, data: TaskData, location: DataLocation) -> str:
        """Return the `fingerprint` of examples that were loaded from a location."""
        if self.has_own_score:  # of a subclass that is no task of GLUE
            return super().fingerprint_of(data, location)
        return hub.identity(self.hub_config) if location.source == "hub" else fingerprint(data)

    def _read(self, location: DataLocation, split: str) -> Examples:
        return tsv.read(
            self._path(location, split), self.columns, self.label_words, self.broken_rows, self.header,
            self.limits or (0.0, 0.0),
        )  # fmt: skip

    def _path(self, location: DataLocation, split: str) -> Path:
        if location.path is None:
            raise UserError(f"{self.title} is to be read from a GLUE folder, but none is named: add --glue-dir DIR.")
        if split in self.elsewhere:
            paths = [location.path / name for name in self.elsewhere[split].files]
            return next((path for path in paths if path.is_file()), paths[0])
        return tsv.folder(location.path, self.folder) / self.files[split]
