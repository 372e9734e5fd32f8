"""Make the declaration of a task from a file: find its splits, guess its columns, and write `tasks/NAME.toml`."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from kdbench.core.atomic_files import write_text
from kdbench.core.errors import UserError, unknown
from kdbench.core.formatting import sentence
from kdbench.data.column_sample import are_fractions
from kdbench.data.data_checks import data_remarks
from kdbench.data.declaration import TEST, TRAIN, VALIDATION, Declaration
from kdbench.data.declaration_text import as_toml, describe_guess
from kdbench.data.declared_rows import DeclaredData, read_declared
from kdbench.data.declared_task import DeclaredTask, declared_task, usual_metrics
from kdbench.data.files.class_folders import class_folders
from kdbench.data.files.open_source import open_source
from kdbench.data.files.source import EQUALS, HUB, PART, files_of, plain_value, suffix_of
from kdbench.data.files.text_lines import encoding_name
from kdbench.data.find_splits import Sources, find_splits
from kdbench.data.guess_columns import Guess, find_column_splits, guess_columns
from kdbench.data.split_names import WORD
from kdbench.data.task import Kind, TaskData
from kdbench.data.task_registry import TASKS

LARGE = 200_000_000  # bytes of train from which only a part is read at first
FIRST_ROWS = 1_000_000
START = 1 << 20  # bytes of a file that tell how long its lines are
NO_LABEL = frozenset(("", "None", "nan", "-1"))  # in every row of a split without labels


@dataclass(frozen=True)
class Wishes:
    """Hold the user's words on a data set; "" and () leave a choice to names and values."""

    data: str
    dev: str = ""
    test: str = ""
    text: tuple[str, ...] = ()
    label: str = ""
    kind: str = ""
    encoding: str = "utf-8"
    name: str = ""


@dataclass(frozen=True)
class NewTask:
    """A task that was declared by looking at its data.

    Attributes:
        path: where its declaration is, or is to be written.
        text: the content of that file.
        is_new: the file is not there yet.
        told: sentences on what was found and guessed.
        remarks: what a reader of the scores should know of the data; see `data_checks.data_remarks`.
    """

    name: str
    path: Path
    text: str
    is_new: bool
    told: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def write(self) -> None:
        """Write the declaration, unless it is there."""
        if self.is_new:
            if self.path.parent.exists() and not self.path.parent.is_dir():
                raise UserError(
                    f"{self.path.parent} is a file, and the declaration is written into a folder of this name."
                )
            self.path.parent.mkdir(exist_ok=True)
            write_text(self.path, self.text)


def split_columns(text: str) -> tuple[str, ...]:
    r"""Split the columns of the option --text, such as `premise,hypothesis`; a comma of a name is written `\,`."""
    parts = (part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", text))
    return tuple(part for part in parts if part)


def declare(wishes: Wishes) -> NewTask:
    """Look at a data set, and make its task known in this process; nothing is written.

    A declaration of the same data that is there already is taken as it is.

    Raises:
        UserError: the data cannot be read, columns are not clear, there is no such kind, or another task has the name.
    """
    if wishes.kind not in ("", *get_args(Kind)):
        raise unknown("kind", wishes.kind, get_args(Kind))
    here = Path.cwd()
    data_name, dev, test = (_relative(name, here) for name in (wishes.data, wishes.dev, wishes.test))
    wishes = replace(wishes, data=data_name, dev=dev, test=test)
    sources = find_splits(wishes.data, here, wishes.encoding)
    is_whole = len(sources) == 1 and not wishes.data.startswith(HUB)  # the hub names its splits
    given = {split: name for split, name in ((VALIDATION, wishes.dev), (TEST, wishes.test)) if name}
    sources |= given
    name = wishes.name or _name_of(wishes.data)
    path = Path(TASKS.folder) / f"{name}.toml"
    known = TASKS.all().get(name)
    if known and issubclass(known, DeclaredTask) and _is_of(known.declaration, sources[TRAIN]):
        _check_agrees(wishes, known)
        said = (
            f"{wishes.data} is declared in {known.place}, which is used as it is; edit that file to change something."
        )
        return NewTask(name, path, "", False, (said,))
    if problem := TASKS.name_problem(name, wishes.data):
        raise UserError(f"{sentence(problem)}. Name the task of {wishes.data} by --name NAME.")
    # columns, splits that a column names, and splits without labels
    of_train = Declaration.sources_of(sources[TRAIN])
    guess = guess_columns(of_train[0], here, wishes.encoding, wishes.text, wishes.label)
    guess = replace(guess, kind=cast(Kind, wishes.kind) or guess.kind)
    told: list[str] = []
    if guess.split_column and is_whole:
        by_column, left_out = find_column_splits(of_train, here, guess)
        if len(by_column) > 1 or left_out:
            sources = {split: some if len(some) > 1 else some[0] for split, some in by_column.items()} | given
            told += [left_out] if left_out else []
    for split in [split for split in sources if split not in (TRAIN, *given)]:
        if place := _unlabelled(sources[split], guess, here):
            del sources[split]
            told.append(f"{place} has no labels ('{guess.label}'), so it is left out.")
    # the whole data; a fraction that the guess has not seen makes the labels those of a regression
    values, declared, data = _read(wishes, name, sources, guess, here)
    if not wishes.kind and guess.kind == "classification" and are_fractions(data.labels):
        guess = replace(guess, kind="regression")
        values, declared, data = _read(wishes, name, sources, guess, here)
    if empty := [split for split in (TRAIN, *declared.report_splits) if not len(data.splits[split])]:
        raise UserError(f"{wishes.data}: no row is left for {empty[0].replace('_', '-')}; give more rows.")
    if guess.kind == "classification":
        values["labels"] = list(declared.labels) or list(data.labels)
    values["metrics"] = list(usual_metrics(data))
    TASKS.add(name, declared_task(name, Declaration.parse(values, str(path)), str(path), (path.parent, here)))
    told = [*describe_guess(wishes.data, sources, guess, data, declared), *told]
    remarks = data_remarks(declared.title or name, TaskData(data.splits), data.labels, declared.report_splits)
    return NewTask(name, path, as_toml(values, wishes.data), True, tuple(told), tuple(remarks))


def _read(
    wishes: Wishes, name: str, sources: Mapping[str, Sources], guess: Guess, here: Path
) -> tuple[dict[str, Any], Declaration, DeclaredData]:  # fmt: skip
    """Return the values of the declaration that a guess makes, the declaration, and its data."""
    values = _values(name, sources, guess, here)
    declared = Declaration.parse(values, wishes.data)
    return values, declared, read_declared(declared, here)


def _relative(data: str, here: Path) -> str:
    """Return a name as it is without detours, from the working folder where it is in there."""
    if not data or data.startswith(HUB) or "://" in data:
        return data
    path = Path(os.path.normpath(here / data))
    if not path.exists() or not (here / data).exists() or not path.samefile(here / data):
        return data  # a part of a file, or a way through a link
    name = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()
    return f"./{name}" if name.startswith(HUB) else name


def _is_of(declared: Declaration, train: Sources) -> bool:
    """Return whether a declaration reads these rows of train, all or those of one split."""
    by_column = [name for name in declared.train if isinstance(name, str) and EQUALS in name.rpartition(PART)[2]]
    whole = tuple(name.rpartition(PART)[0] for name in by_column)
    return Declaration.sources_of(train) in (declared.train, whole)


def _unlabelled(source: Sources, guess: Guess, here: Path) -> str:
    """Name a split that has texts and no labels, as a competition's test file; "" for one with labels."""
    found = open_source(Declaration.sources_of(source)[0], here, guess.form)
    if guess.label not in found.columns:
        if not set(guess.text) <= set(found.columns):
            return ""
        # further columns that train lacks may only number the rows; others could be the labels under another name
        further = [name for name in found.columns if name not in guess.columns]
        rows = [row for _, row in itertools.islice(found, FIRST_ROWS)] if further else []
        return found.place if all(len({str(row.get(name)) for row in rows}) == len(rows) for name in further) else ""
    labels = (plain_value(row.get(guess.label)) for _, row in itertools.islice(found, FIRST_ROWS))
    none = NO_LABEL - guess.classes  # what train has is a class
    return found.place if all(str(label).strip() in none for label in labels) else ""


def _check_agrees(wishes: Wishes, known: type[DeclaredTask]) -> None:
    """Refuse wishes that differ from a declaration that is there, which would be ignored."""
    declared = known.declaration
    others = {
        "dev": wishes.dev and (wishes.dev,) != declared.validation,
        "test": wishes.test and (wishes.test,) != declared.test,
        "text": wishes.text and wishes.text != declared.text,
        "label": wishes.label and wishes.label != declared.label,
        "kind": wishes.kind and wishes.kind != declared.kind,
        "encoding": encoding_name(wishes.encoding) not in ("utf-8", encoding_name(declared.encoding)),
    }
    for key, differs in others.items():
        if differs:
            raise UserError(f"--{key} differs from the declaration in {known.place}; edit or remove that file.")


def _name_of(data: str) -> str:
    """Return a task's name from that of its file or folder; a file called train has its folder's."""
    plain = data.removeprefix(HUB).partition(PART)[0].partition("@")[0].partition(":")[0].rstrip("/")
    path = Path(plain) if data.startswith(HUB) else Path(plain).resolve()
    stem = path.name if data.startswith(HUB) or path.is_dir() else path.name.partition(".")[0]
    stem = WORD.sub("", stem).strip("._- ")
    if stem.lower() in ("", "data", "text", "texts", "dataset"):
        stem = path.parent.name
    plain_letters = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"[^\w.-]+", "-", plain_letters, flags=re.ASCII).strip("-.").lower()
    return name or f"data-{hashlib.sha256(stem.encode()).hexdigest()[:6]}"  # of a name in other letters


def _values(name: str, sources: Mapping[str, Sources], guess: Guess, here: Path) -> dict[str, Any]:
    """Return the keys of a declaration."""
    values: dict[str, Any] = {"title": name.replace("_", " ").replace("-", " ").capitalize(), **sources}
    values |= {"text": guess.text[0] if len(guess.text) == 1 else list(guess.text), "label": guess.label}
    values |= {"kind": guess.kind} if guess.kind == "regression" else {}
    values |= guess.form.changed
    if unreported := _classes_of_train_alone(sources, here):
        values["drop_labels"] = unreported
    files = [path for source in Declaration.sources_of(sources[TRAIN]) for path in files_of(source, here)]
    if sum(path.stat().st_size for path in files) > LARGE:
        values["max_rows"] = min(FIRST_ROWS, LARGE // _row_size(files[0]))
    return values


def _row_size(path: Path) -> int:
    """Return the mean bytes of a line at a file's start; 1 of a file without lines."""
    with path.open("rb") as file:
        start = file.read(START)
    return max(1, len(start) // max(1, start.count(b"\n"))) if suffix_of(path) != ".parquet" else 1


def _classes_of_train_alone(sources: Mapping[str, Sources], here: Path) -> list[str]:
    """Return the class folders of train that no other split has, such as `unsup` of IMDB; [] of other sources."""
    names = {
        split: [folder.name for folder in class_folders(here / source)]
        for split, source in sources.items() if isinstance(source, str)
    }  # fmt: skip
    elsewhere = {name for split, some in names.items() if split != TRAIN for name in some}
    return [name for name in names.get(TRAIN, []) if elsewhere and name not in elsewhere]
