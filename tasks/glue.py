"""Base class of the GLUE tasks, which declare labels, metrics, files and columns on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.data.task import Examples, Task, TaskData
from kdbench.tasks import hub, tsv
from kdbench.tasks.generated import Recipe, generate
from kdbench.tasks.glue_server import SERVER

_made = lru_cache(maxsize=8)(generate)  # used by the fingerprint and by the training


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
    index: ClassVar[str] = "index"  # the column of the test files that numbers the rows from 0
    header: ClassVar[tuple[str, ...]] = ()  # columns of the labelled files, where their first line is a row
    columns: ClassVar[tsv.Columns]
    label_words: ClassVar[tuple[str, ...]]  # as the files write the classes, in class order
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
            return TaskData(hub.read(self.hub_config, names, self.hub_columns, len(self.labels)))
        return TaskData({name: self._read(location, name) for name in names})

    @classmethod
    def is_generated(cls, location: DataLocation) -> bool:
        """Return whether the data is synthetic; False for a subclass with its own `load`."""
        return location.source == "generated" and cls.load is GlueTask.load

    def load_test(self, location: DataLocation, split: str) -> Examples:
        """Read a test split; see `Task.load_test`."""
        if location.source == "generated":
            raise UserError(f"{self.title} has no test split in made data: train on real data, such as --glue-dir DIR.")
        if location.source == "hub":
            return hub.read_unlabelled(self.hub_config, split, self.hub_columns)
        return tsv.read_unlabelled(self._path(location, split), self.columns, self.index)

    def fingerprint(self, location: DataLocation) -> str:
        """Return a hash of the examples; for the hub, whose files are pinned, their name, without network."""
        return hub.identity(self.hub_config) if location.source == "hub" else super().fingerprint(location)

    def _read(self, location: DataLocation, split: str) -> Examples:
        return tsv.read(self._path(location, split), self.columns, self.label_words, self.broken_rows, self.header)

    def _path(self, location: DataLocation, split: str) -> Path:
        if location.path is None:
            raise UserError(f"{self.title} is to be read from a GLUE folder, but none is named: add --glue-dir DIR.")
        return tsv.folder(location.path, self.folder) / self.files[split]
