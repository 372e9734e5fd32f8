"""Make the declaration of a task from a file: find its splits, guess its columns, and write `tasks/NAME.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from kdbench.core.atomic_files import write_text
from kdbench.core.errors import UserError
from kdbench.data.declaration import HELD_OUT, TEST, TRAIN, VALIDATION, Declaration
from kdbench.data.declared_rows import SHOWN, DeclaredData, read_declared
from kdbench.data.declared_task import DeclaredTask, declared_task, usual_metrics
from kdbench.data.files.class_folders import class_folders
from kdbench.data.files.open_source import Source
from kdbench.data.files.source import HUB, PART, file_names, files_of
from kdbench.data.find_splits import WORD, find_splits
from kdbench.data.guess_columns import Guess, guess_columns
from kdbench.data.task_registry import TASKS

LARGE = 200_000_000  # bytes of train from which only a part is read at first
FIRST_ROWS = 1_000_000


@dataclass(frozen=True)
class Wishes:
    """Hold the user's words on a data set; "" and () leave a choice to names and values."""

    data: str
    dev: str = ""
    test: str = ""
    text: tuple[str, ...] = ()
    label: str = ""
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
    """

    name: str
    path: Path
    text: str
    is_new: bool
    told: tuple[str, ...]

    def write(self) -> None:
        """Write the declaration, unless it is there."""
        if self.is_new:
            self.path.parent.mkdir(exist_ok=True)
            write_text(self.path, self.text)


def split_columns(text: str) -> tuple[str, ...]:
    """Split the columns of the option --text, such as `premise,hypothesis`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def declare(wishes: Wishes) -> NewTask:
    """Look at a data set, and make its task known in this process; nothing is written.

    A declaration of the same data that is there already is taken as it is.

    Raises:
        UserError: the data cannot be read, columns are not clear, or another task has the name.
    """
    here = Path.cwd()
    sources = find_splits(wishes.data, here)
    sources |= {k: v for k, v in ((VALIDATION, wishes.dev), (TEST, wishes.test)) if v}
    name = wishes.name or _name_of(wishes.data)
    path = Path(TASKS.folder) / f"{name}.toml"
    known = TASKS.all().get(name)
    if known and issubclass(known, DeclaredTask) and known.declaration.train == Declaration.sources_of(sources[TRAIN]):
        _check_agrees(wishes, known)
        said = (
            f"{wishes.data} is declared in {known.place}, which is used as it is; edit that file to change something."
        )
        return NewTask(name, path, "", False, (said,))
    if problem := TASKS.name_problem(name, wishes.data):
        raise UserError(f"{problem[:1].upper()}{problem[1:]} (kdbench new-task {wishes.data} --name NAME).")
    # columns, then the whole data
    guess = guess_columns(sources[TRAIN], here, wishes.encoding, wishes.text, wishes.label)
    values = _values(name, sources, guess, here)
    declared = Declaration.parse(values, wishes.data)
    data = read_declared(declared, here)
    if guess.kind == "classification":
        values["labels"] = list(declared.labels) or list(data.labels)
    values["metrics"] = list(usual_metrics(data))
    TASKS.add(name, declared_task(name, Declaration.parse(values, str(path)), str(path), (path.parent, here)))
    return NewTask(name, path, _as_toml(values, wishes.data), True, _told(wishes, sources, guess, data, declared))


def _check_agrees(wishes: Wishes, known: type[DeclaredTask]) -> None:
    """Refuse wishes that differ from a declaration that is there, which would be ignored."""
    declared = known.declaration
    others = {
        "dev": wishes.dev and (wishes.dev,) != declared.validation,
        "test": wishes.test and (wishes.test,) != declared.test,
        "text": wishes.text and wishes.text != declared.text,
        "label": wishes.label and wishes.label != declared.label,
        "encoding": wishes.encoding != "utf-8" and wishes.encoding != declared.encoding,
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
    name = re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-.").lower()
    if not name:
        raise UserError(f"No name for a task can be made of '{data}'; give one: kdbench new-task {data} --name NAME.")
    return name


def _values(name: str, sources: Mapping[str, Source], guess: Guess, here: Path) -> dict[str, Any]:
    """Return the keys of a declaration."""
    values: dict[str, Any] = {"title": name.replace("_", " ").replace("-", " ").capitalize(), **sources}
    values |= {"text": guess.text[0] if len(guess.text) == 1 else list(guess.text), "label": guess.label}
    values |= {"kind": guess.kind} if guess.kind == "regression" else {}
    values |= guess.form.changed
    if unreported := _classes_of_train_alone(sources, here):
        values["drop_labels"] = unreported
    if sum(path.stat().st_size for path in files_of(sources[TRAIN], here)) > LARGE:
        values["max_rows"] = FIRST_ROWS
    return values


def _classes_of_train_alone(sources: Mapping[str, Source], here: Path) -> list[str]:
    """Return the class folders of train that no other split has, such as `unsup` of IMDB; [] of other sources."""
    names = {
        split: [folder.name for folder in class_folders(here / source)]
        for split, source in sources.items() if isinstance(source, str)
    }  # fmt: skip
    elsewhere = {name for split, some in names.items() if split != TRAIN for name in some}
    return [name for name in names.get(TRAIN, []) if elsewhere and name not in elsewhere]


def _told(
    wishes: Wishes, sources: Mapping[str, Source], guess: Guess, data: DeclaredData, declared: Declaration
) -> tuple[str, ...]:
    """Say what was guessed, and what the splits are used for."""
    text = " and ".join(f"'{name}'" for name in guess.text)
    labels = f"{len(data.labels)} classes: {', '.join(data.labels[:SHOWN])}{', ...' * (len(data.labels) > SHOWN)}"
    if guess.kind == "regression":
        values = [number for one in data.splits.values() for number in one.labels]
        labels = f"a regression, on numbers from {min(values):g} to {max(values):g}"
    rows = ", ".join(f"{split.replace('_', '-')} {len(one):,}" for split, one in data.splits.items())
    said = [f"{wishes.data}: text {text}, label '{guess.label}' ({labels}); rows: {rows}."]
    others = {split: source for split, source in sources.items() if split != TRAIN}
    if others:
        named = {k: " and ".join(file_names(v)) for k, v in others.items()}
        said += [f"Splits found: {', '.join(f'{split} {source}' for split, source in named.items())}."]
    if guess.form.pattern:
        said += [f"Each line is read by the pattern {guess.form.pattern} (pattern in the declaration)."]
    if not guess.form.header:
        said += ["The first line is an example, not a row of names; columns are called 1, 2, 3."]
    if HELD_OUT in declared.report_splits:
        said += ["No split for the report was found, so a fifth of the rows is held out (--test FILE names one)."]
    if declared.drop_labels:
        dropped = ", ".join(declared.drop_labels)
        said += [f"Left out, as no other split has the class: {dropped} (drop_labels in the declaration)."]
    if declared.max_rows:
        said += [f"The file is large; {declared.max_rows:,} of its rows are read (max_rows in the declaration)."]
    return tuple(said)


def _as_toml(values: Mapping[str, Any], data: str) -> str:
    """Write a declaration as TOML with comments."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"A task made from {data}; see docs/tasks-and-data.md for all keys."))
    document.add(tomlkit.comment("Source and licence of the data: ?"))
    for key, value in values.items():
        item: Any = value
        if isinstance(value, Mapping):
            item = tomlkit.inline_table()
            item.update(value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            item = tomlkit.array()
            item.extend(value)
            item.multiline(len(value) > 10)
        if key == "labels":
            document.add(tomlkit.comment('The classes in order; { 0 = "bad", 1 = "good" } gives them names.'))
        if key == "metrics":
            others = "" if "kind" in values else "; others: matthews, balanced_accuracy, f1, f1:LABEL"
            document.add(tomlkit.comment(f"The first one selects{others}."))
        if key == "kind":
            document.add(tomlkit.comment("Numbers are predicted; without this line every label is a class."))
        document.add(key, item)
    return tomlkit.dumps(document)
