"""Figures of the paper: found by number, built for every study and task that has the runs, written to files."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.config import presets
from kdbench.errors import UserError, unknown
from kdbench.figures import FIGURES, Figure, Lacking, Picture
from kdbench.files import write_text
from kdbench.results import StudyResults, studies, task_title
from kdbench.store import Store
from kdbench.views import printing

if TYPE_CHECKING:
    from rich.console import Console

FORMATS = ("pdf", "svg", "png", "csv")
WIDTHS = {"column": 3.3, "page": 6.8}  # inches
ALL = "all"
FOLDER = "figures"


@dataclass(frozen=True)
class Wish:
    """What was asked for, as it was typed."""

    preset: str | None = None
    tasks: str | None = None
    form: str | None = None
    out: str | None = None
    width: str = "column"

    @property
    def inches(self) -> float:
        """The width.

        Raises:
            UserError: it is no width.
        """
        try:
            value = WIDTHS[self.width] if self.width in WIDTHS else float(self.width)
        except ValueError:
            value = 0.0
        if not 2.5 <= value <= 20:
            raise UserError(f"--width {self.width} is not valid; give column, page, or 2.5 to 20 (inches).")
        return value

    def form_of(self, path: Path | None) -> str:
        """The format: as said, else by the file's ending, else PDF.

        Raises:
            UserError: there is no such format, or the two do not agree.
        """
        ending = path.suffix.lower().removeprefix(".") if path else ""
        if self.form is not None and self.form not in FORMATS:
            raise unknown("format", self.form, FORMATS)
        if ending and ending not in FORMATS:
            raise unknown("format", ending, FORMATS)
        if ending and self.form and ending != self.form:
            raise UserError(f"--out {self.out} ends in .{ending} and --format is {self.form}; leave one of them out.")
        return ending or self.form or FORMATS[0]


def show_figure(number: str, store: Store, wish: Wish, console: Console) -> None:
    """Draw a figure, one file a study and task; or, with `all`, every one that there are results for.

    Raises:
        UserError: no such figure, format, preset or task, or nothing to draw.
    """
    _ = wish.inches
    if number.lower() == ALL:
        _show_all(store, wish, console)
        return
    figure = _figure(number)()
    path = Path(wish.out).expanduser() if wish.out else None
    form = wish.form_of(path)
    pictures, sentence = _pictures(figure, _studies(store, wish, figure.name), wish)
    if not pictures:
        raise UserError(sentence)
    if form == "csv" and path is None:
        console.file.write(as_csv(pictures))
        return
    _write(pictures, path or Path(f"{figure.name}.{form}"), form, wish, console)


def _show_all(store: Store, wish: Wish, console: Console) -> None:
    form, folder = wish.form_of(None), Path(wish.out or FOLDER).expanduser()
    if folder.suffix.lower().removeprefix(".") in FORMATS or folder.is_file():
        raise UserError(
            f"With '{ALL}', --out names a folder, and {wish.out} looks like a file; --format sets the form."
        )
    kinds = FIGURES.all()
    found = _studies(store, wish, "all")
    lacking: list[str] = []
    for name, kind in kinds.items():
        pictures, sentence = _pictures(kind(), found, wish)
        if pictures:
            _write(pictures, folder / f"{name}.{form}", form, wish, console)
        else:
            lacking.append(sentence)
    if len(lacking) == len(kinds):
        raise UserError("\n".join(lacking))
    for sentence in lacking:
        printing.line(console, f"Not drawn: {sentence}")


def _figure(number: str) -> type[Figure]:
    known = FIGURES.all()
    name = f"figure{number.lower().removeprefix('figure')}"
    if name not in known and name not in FIGURES.broken:
        raise unknown("figure", number, [*(key.removeprefix("figure") for key in known), ALL])
    return FIGURES.get(name)


def _studies(store: Store, wish: Wish, what: str) -> list[StudyResults]:
    """The studies of the results folder.

    Raises:
        UserError: there are none, or no such preset.
    """
    found = studies(store, wish.preset)
    if found:
        return found
    known = {*presets(), *(study.preset for study in studies(store))}
    if wish.preset is not None and wish.preset not in known:
        raise unknown("preset", wish.preset, known)
    which = f" of preset {wish.preset}" if wish.preset else ""
    raise UserError(
        f"There are no results{which} in {store.root}; give another folder with --results DIR, or run: "
        f"{_command(wish.preset, what, wish.tasks)}"
    )


def _command(preset: str | None, what: str, tasks: str | None) -> str:
    """The command that trains what is missing."""
    asked = {"--for": what, "--preset": preset, "--tasks": tasks}
    return shlex.join(["kdbench", "run", *(part for key, value in asked.items() if value for part in (key, value))])


def _pictures(figure: Figure, found: Sequence[StudyResults], wish: Wish) -> tuple[list[Picture], str]:
    """What can be drawn; where that is nothing, the sentence that says what is missing."""
    from kdbench.plan import select_tasks

    tasks = select_tasks(wish.tasks) if wish.tasks else [figure.task]
    pictures: list[Picture] = []
    lacking: dict[str, str] = {}
    for study in found:
        for task in tasks:
            try:
                pictures.append(figure.build(study, task))
            except Lacking as missing:
                command = _command(study.preset, figure.name, wish.tasks and task)
                lacking.setdefault(str(missing), command)
    return pictures, "" if pictures else _sentence(figure, found, lacking, tasks, wish)


def _sentence(
    figure: Figure, found: Sequence[StudyResults], lacking: Mapping[str, str], tasks: Sequence[str], wish: Wish
) -> str:
    command = list(lacking.values())[-1]  # of the study that was asked for last
    there = sorted({task for study in found for task in study.tasks} - {*tasks})
    other = f" or draw another task with --tasks ({', '.join(there)})" if there and not wish.tasks else ""
    number = figure.name.removeprefix("figure")
    return f"Figure {number} needs finished runs of {'; '.join(lacking)}; run: {command}{',' if other else ''}{other}."


def _write(pictures: Sequence[Picture], path: Path, form: str, wish: Wish, console: Console) -> None:
    """One file a picture, or one CSV for all; and what is to be known of each."""
    if form == "csv":
        write_text(path, as_csv(pictures))
        printing.line(console, f"Wrote {path}.")
        return
    from kdbench.views import picture as paper

    endings = suffixes([picture.about for picture in pictures])
    for picture, ending in zip(pictures, endings, strict=True):
        file = path.with_name(f"{path.stem}{ending}.{form}")
        paper.save(picture, file, form, wish.inches)
        printing.line(console, f"Wrote {file}: {picture.title}; {_source(picture.about)}.")
        for remark in [*picture.notes, *picture.printed]:
            printing.note(console, remark)


def _source(about: Mapping[str, Any]) -> str:
    return f"preset {about['preset']}, {task_title(about['task'])}"


def suffixes(abouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells each picture from the others, for file names; a number where nothing does."""
    if len(abouts) == 1:
        return [""]
    differing = [key for key in abouts[0] if len({str(about.get(key)) for about in abouts}) > 1]
    words = ["".join(f"-{_slug(about[key])}" for key in differing) for about in abouts]
    return [word if words.count(word) == 1 else f"{word}-{i + 1}" for i, word in enumerate(words)]


def _slug(value: object) -> str:
    return re.sub(r"[^\w.+]+", "-", str(value)).strip("-")


def as_csv(pictures: Iterable[Picture]) -> str:
    """One record a point; the head names the columns of all pictures."""
    records = [record for picture in pictures for record in picture.records]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for record in records for key in record)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()
