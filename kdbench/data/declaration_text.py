"""Write a guessed declaration as TOML, and say in sentences what was guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from kdbench.data.declaration import HELD_OUT, TRAIN, Declaration
from kdbench.data.declared_rows import SHOWN, DeclaredData
from kdbench.data.files.source import file_names
from kdbench.data.find_splits import Sources
from kdbench.data.guess_columns import Guess


def describe_guess(
    data_name: str, sources: Mapping[str, Sources], guess: Guess, data: DeclaredData, declared: Declaration
) -> tuple[str, ...]:
    """Say what was guessed, and what the splits are used for."""
    text = " and ".join(f"'{name}'" for name in guess.text)
    labels = f"{len(data.labels)} classes: {', '.join(data.labels[:SHOWN])}{', ...' * (len(data.labels) > SHOWN)}"
    if guess.kind == "regression":
        values = [number for one in data.splits.values() for number in one.labels]
        labels = f"a regression, on numbers from {min(values):g} to {max(values):g}"
    rows = ", ".join(f"{split.replace('_', '-')} {len(one):,}" for split, one in data.splits.items())
    said = [f"{data_name}: text {text}, label '{guess.label}' ({labels}); rows: {rows}."]
    others = {split: source for split, source in sources.items() if split != TRAIN}
    if others:
        named = {split: _names(source) for split, source in others.items()}
        said += [f"Splits found: {', '.join(f'{split} {name}' for split, name in named.items())}."]
    if guess.kind == "classification" and len(data.labels) > 2 and all(map(str.isdecimal, data.labels)):
        said += ["Whole numbers are taken as classes; --kind regression predicts them as numbers."]
    if (of_train := _names(sources[TRAIN])) != data_name:
        said += [f"Train is {of_train}."]
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


def _names(source: Sources) -> str:
    """Name the files of a split; of many, the first and the last."""
    names = [name for each in Declaration.sources_of(source) for name in file_names(each)]
    return " and ".join(names) if len(names) < 3 else f"{len(names)} files, {names[0]} to {names[-1]}"


def as_toml(values: Mapping[str, Any], data: str) -> str:
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
