"""The declaration of a task: where its data lie, which columns are text and label, and how it is scored.

A declaration is a TOML file `tasks/NAME.toml`, or a table `[task.NAME]` in kdbench.toml:

    title = "Reviews"
    train = "reviews.csv"             # or FILE#PART, a folder saved by `datasets`, hf:OWNER/NAME@REVISION:CONFIG#SPLIT
    test = ["spring.csv", "summer.csv"]
    text = "review"                   # a column, or two for sentence pairs
    label = "stars"
    labels = { 0 = "bad", 1 = "good" }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kdbench.core.errors import UserError, check_known
from kdbench.data.files.open_source import Source
from kdbench.data.files.source import FileFormat
from kdbench.data.task import Kind

TRAIN, VALIDATION, TEST = "train", "validation", "test"
HELD_OUT = "held_out"  # the report split that is taken out of train where none is declared


def _as_tuple(value: Any) -> Any:
    """Take one value for a list of one."""
    return [value] if isinstance(value, str | Mapping) else value


def _as_words(value: Any) -> Any:
    """Turn whole numbers into words, as labels are written in files."""
    return [str(item) if isinstance(item, int) else item for item in value] if isinstance(value, list) else value


Sources = Annotated[tuple[Source, ...], BeforeValidator(_as_tuple)]
Words = Annotated[tuple[str, ...], BeforeValidator(_as_words)]
Columns = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=2)]


class Declaration(BaseModel):
    """Declare a task without Python.

    Attributes:
        title: the task's name in tables; by default the file's name.
        train, validation, test: sources of the splits; several are read one after the other.
        report: the splits that tables show; by default `test` if there is one, else `validation`, else a share of
            train that is held out.
        holdout: that share, chosen by a hash of each text.
        text: the column of the texts, or the two columns of sentence pairs.
        label: the column of the labels.
        kind: `classification`, or `regression`, whose labels are numbers.
        labels: the classes in order, as the files write them, or a table from what the files write to their names; by
            default those that occur in train, sorted.
        drop_labels: labels whose rows are left out.
        metrics: names of `kdbench.data.metrics`, the first of which selects; by default accuracy, and macro-F1 beside
            it where the largest class has twice as many rows as the smallest; of a regression pearson and spearman.
        group, position: as in `Task`.
        about, origin: a sentence on the task, and where its files can be had, for lists and messages.
        rows: split -> rows as published, to notice a part of the data.
        max_rows: read at most this many rows of each split, chosen by a hash of their texts; 0 reads all.
        encoding, delimiter, header, quotes, pattern: see `FileFormat`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    train: Sources
    validation: Sources = ()
    test: Sources = ()
    report: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    holdout: float = Field(default=0.2, gt=0, lt=1)
    text: Columns
    label: str
    kind: Kind = "classification"
    labels: Words | dict[str, str] = ()
    drop_labels: Words = ()
    metrics: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    about: str = ""
    origin: str = ""
    group: str = ""
    position: int = 500
    rows: dict[str, int] = {}
    max_rows: int = Field(default=0, ge=0)
    encoding: str = "utf-8"
    delimiter: str = Field(default="", max_length=1)
    header: bool = True
    quotes: bool | None = None
    pattern: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse report splits that are not there, and classes that are no two."""
        if not self.train:
            raise ValueError("train is empty; name a file")
        if unread := [split for split in self.report if split not in (VALIDATION, TEST) or not self.sources(split)]:
            raise ValueError(f"report names '{unread[0]}'; declare that split, as validation or test, too")
        if self.kind == "regression" and self.labels:
            raise ValueError("labels name classes, and the kind is regression; leave labels out")
        names = () if self.kind == "regression" else self.class_names
        if names and (len(names) < 2 or len(set(names)) < len(names)):
            raise ValueError("labels must name two or more different classes")
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Declaration:
        """Validate a declaration.

        Args:
            where: its file, or its table in a file, for messages.

        Raises:
            UserError: a key is unknown or missing, or a value has the wrong type.
        """
        check_known(f"key of {where}", values, cls.model_fields)
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = str(first["loc"][0]) if first["loc"] else ""
            if first["type"] == "missing":
                raise UserError(f"{where} lacks the key '{key}'; every task has train, text and label.") from None
            what = first["msg"].removeprefix("Value error, ")
            raise UserError(f"{where}: {f'{key}: ' if key else ''}{what[:1].lower()}{what[1:]}.") from None

    @staticmethod
    def sources_of(value: Source | Sequence[Source]) -> tuple[Source, ...]:
        """Return sources as a declaration holds them."""
        return tuple(_as_tuple(value))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes in order; () where train tells them; of a regression the label's column."""
        if self.kind == "regression":
            return (self.label,)
        return tuple(self.labels.values()) if isinstance(self.labels, dict) else self.labels

    @property
    def written(self) -> dict[str, int]:
        """Return the class index of each label as files write it; {} where train tells them."""
        return {name: index for index, name in enumerate(self.labels)}

    @property
    def report_splits(self) -> tuple[str, ...]:
        """Return the splits that tables show."""
        if self.report:
            return self.report
        return next(((split,) for split in (TEST, VALIDATION) if self.sources(split)), (HELD_OUT,))

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the splits that are read from sources."""
        return tuple(split for split in (TRAIN, VALIDATION, TEST) if self.sources(split))

    @property
    def form(self) -> FileFormat:
        return FileFormat(self.encoding, self.delimiter, self.header, self.quotes, self.pattern)

    def sources(self, split: str) -> tuple[Source, ...]:
        """Return the sources of a split; () where it is not declared."""
        found: tuple[Source, ...] = getattr(self, split)
        return found
