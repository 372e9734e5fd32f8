"""Figures: found by number or name, built for every study and task that has the runs, written to files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from kdbench.core.atomic_files import user_path, write_text
from kdbench.core.errors import UserError, check_known, unknown
from kdbench.core.plain_text import without_control
from kdbench.core.registry import ALL
from kdbench.planning import reproduce
from kdbench.reporting import printing
from kdbench.reporting.data_frames import csv_text
from kdbench.reporting.figures import FIGURES, Figure, FigureData, Lacking, TaskFigure
from kdbench.reporting.study_choice import ChosenStudies, StudyChoice, choose_studies, find_tasks
from kdbench.results.store import Store
from kdbench.results.study import TEACHER, StudyResults, task_title

FORMATS = ("pdf", "svg", "png", "csv")
WIDTHS = {"column": 3.3, "page": 6.8}  # inches
FOLDER = "figures"


@dataclass(frozen=True)
class FigureChoice(StudyChoice):
    """Hold what figures show of a results folder, and their format, file and width, as typed."""

    form: str | None = None
    out: str | None = None
    width: str = "column"

    @property
    def inches(self) -> float:
        """Return the width in inches.

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
        """Return the format: as given, else by the file's ending, else PDF.

        Raises:
            UserError: there is no such format, or the two do not agree.
        """
        ending = path.suffix.lower().removeprefix(".") if path else ""
        check_known("format", (form for form in (self.form, ending or None) if form is not None), FORMATS)
        if ending and self.form and ending != self.form:
            raise UserError(f"--out {self.out} ends in .{ending} and --format is {self.form}; leave one of them out.")
        return ending or self.form or FORMATS[0]


def show_figure(number: str, store: Store, wish: FigureChoice, console: Console) -> None:
    """Draw a figure, one file a study and task; or, with `all`, every one that there are results for.

    Raises:
        UserError: no such figure, format, preset or task, or nothing to draw.
    """
    _ = wish.inches  # a width that is none is refused before anything is built
    if number.lower() == ALL:
        _show_all(store, wish, console)
        return
    figure = _figure(number)()
    path = user_path(wish.out) if wish.out else None
    form = wish.form_of(path)
    pictures, sentence, others = drawable_figures(figure, _studies(store, wish, [figure]), wish)
    printed = form == "csv" and path is None
    if sentence and (printed or not pictures):
        raise UserError(sentence)
    if printed:
        console.file.write(without_control(as_csv(pictures)))
        return
    _write(pictures, path or Path(f"{_stem(figure.name)}.{form}"), form, wish, console)
    _not_drawn([sentence, others], console)


def find_figures(number: str, store: Store, wish: FigureChoice) -> list[FigureData]:
    """Build a figure for each study and task that has the runs.

    Raises:
        UserError: no such figure, preset or task, or nothing to draw.
    """
    figure = _figure(number)()
    pictures, sentence, _ = drawable_figures(figure, _studies(store, wish, [figure]), wish)
    if not pictures:
        raise UserError(sentence)
    return pictures


def _show_all(store: Store, wish: FigureChoice, console: Console) -> None:
    form, folder = wish.form_of(None), user_path(wish.out or FOLDER)
    if folder.suffix.lower().removeprefix(".") in FORMATS or folder.is_file():
        raise UserError(
            f"With '{ALL}', --out names a folder, and {wish.out} looks like a file; --format sets the form."
        )
    kinds = [kind() for kind in FIGURES.all().values()]
    chosen = _studies(store, wish, kinds)
    found, built = chosen.studies, {figure.name: drawable_figures(figure, chosen, wish) for figure in kinds}
    if not any(pictures for pictures, *_ in built.values()):
        own = [kind for kind in kinds if not isinstance(kind, TaskFigure)]
        raise UserError(
            f"No figure has all its runs in {store.root}; run: {_command(own, found[-1].root, found[-1], wish)}, "
            f"or see what each lacks with kdbench figure {'|'.join(map(_number, built))}."
        )
    for name, (pictures, *_) in built.items():
        if pictures:
            _write(pictures, folder / f"{_stem(name)}.{form}", form, wish, console)
    _not_drawn([sentence for _, *sentences in built.values() for sentence in sentences], console)


def _not_drawn(sentences: Iterable[str], console: Console) -> None:
    for sentence in filter(None, sentences):
        printing.print_line(console, f"Not drawn: {sentence}")


def _number(name: str) -> str:
    """Return the name that a user types: `2` for figure2, `risk-coverage` for figure_risk_coverage."""
    return name.removeprefix("figure").removeprefix("_").replace("_", "-")


def _stem(name: str) -> str:
    """Return the usual name of a figure's file: figure2, curves."""
    return name if _number(name).isdigit() else _number(name)


def _figure(number: str) -> type[Figure]:
    known = FIGURES.all()
    by_number = {_number(name): name for name in [*known, *FIGURES.broken]}
    name = by_number.get(_number(number.lower()))
    if name is None:
        raise unknown("figure", number, [*map(_number, known), ALL])
    return FIGURES.get(name)


def _studies(store: Store, wish: FigureChoice, wanted: Sequence[Figure]) -> ChosenStudies:
    """Return the chosen studies of the results folder, with all of their tasks.

    Raises:
        UserError: there are none, or nothing that was chosen.
    """
    chosen = choose_studies(store, wish, all_tasks=True)
    if chosen.studies:
        return chosen
    which = f" of preset {wish.preset}" if wish.preset else ""
    raise UserError(
        f"There are no results{which} in {store.root}; give another folder with --results DIR, or run: "
        f"{_command(wanted, store.root, None, wish)}"
    )


def _command(
    figures: Sequence[Figure], root: Path, study: StudyResults | None, wish: FigureChoice, tasks: str = ""
) -> str:
    """Return the command that trains what is missing; several for tasks with other settings."""
    known = [study] if study is not None else []
    named = tasks.split(",") if tasks else find_tasks(known, wish.tasks) if wish.tasks else []
    if study is not None and study.chosen:
        rows = sorted(study.chosen - {TEACHER})
        own = [reproduce.rows_command(study, rows, task) for task in named or study.tasks]
        commands = [[*words, *reproduce.results_argument(root)] for words in own]
    else:
        commands = reproduce.exhibit_commands(figures, root, study, preset=wish.preset, tasks=named)
    return "; ".join(map(shlex.join, commands))


def drawable_figures(figure: Figure, chosen: ChosenStudies, wish: FigureChoice) -> tuple[list[FigureData], str, str]:
    """Return the figures, a sentence on tasks without any, and a sentence on studies that lack a task.

    A sentence is "" where there is nothing to say.
    """
    found = chosen.studies
    asked = find_tasks(found, wish.tasks) if wish.tasks else []
    if isinstance(figure, TaskFigure):
        drawn, sentence, more = _with_panels(figure, found, asked, wish)
        return [replace(one, notes=[*chosen.notes, *one.notes]) for one in drawn], sentence, more
    rows = reproduce.asked_rows([figure])
    if lost := sorted(row for row in rows if not any(study.takes(row) for study in found)):
        name = f"Figure {_number(figure.name)}"
        return [], f"{name} shows {', '.join(sorted(rows))}, and --methods leaves out {', '.join(lost)}.", ""
    tasks = asked or [figure.task]
    built = {task: [build_figure(figure, study, task) for study in found] for task in tasks}
    lacking = {task: str(some[-1]) for task, some in built.items() if all(isinstance(one, Lacking) for one in some)}
    pictures = [one for study in zip(*built.values(), strict=True) for one in study if isinstance(one, FigureData)]
    others = [
        f"{_place(found[i])}: {one}"
        for task, some in built.items() if task not in lacking
        for i, one in enumerate(some) if isinstance(one, Lacking)
    ]  # fmt: skip
    sentence = _sentence(figure, found, lacking, wish) if lacking else ""
    more = (
        f"Figure {_number(figure.name)} of {'; of '.join(others)}: there are no such finished runs." if others else ""
    )
    return pictures, sentence, more


def _with_panels(
    figure: TaskFigure, found: Sequence[StudyResults], asked: Sequence[str], wish: FigureChoice
) -> tuple[list[FigureData], str, str]:
    """Do as `drawable_figures` for a figure that has a panel for each task of a study, one figure a study."""
    built = [(study, build_panels(figure, study, asked)) for study in found]
    pictures = [picture for _, some in built if not isinstance(some, Lacking) for picture in some]
    if sentence := next((one.sentence for _, one in built if isinstance(one, Lacking) and one.sentence), ""):
        return pictures, sentence, ""
    # a study without any task that was asked for lacks nothing
    wanted = [(study, one) for study, one in built if not asked or {*asked} & {*study.tasks}]
    lacking = [f"{_place(study)}: {one}" for study, one in wanted if isinstance(one, Lacking)]
    shown = {task for one in pictures for task in one.about["task"].split(",")}
    absent = [task for task in asked if task not in shown]
    name = f"Figure {_number(figure.name)}"
    if not pictures or absent:
        return pictures, figure.lacking or _needs(figure, found[-1], absent, wish), ""
    return pictures, "", f"{name} of {'; of '.join(lacking)}: there are no such finished runs." if lacking else ""


def build_panels(figure: TaskFigure, study: StudyResults, asked: Sequence[str]) -> list[FigureData] | Lacking:
    """Build the figures of a study on the tasks that were asked for, or on all of its tasks."""
    try:
        return figure.build_figures(study, [task for task in study.tasks if task in asked or not asked])
    except Lacking as missing:
        return missing


def _needs(figure: TaskFigure, study: StudyResults, absent: Sequence[str], wish: FigureChoice) -> str:
    """Say what a study lacks, and which command trains it, where training helps."""
    name = f"Figure {_number(figure.name)}"
    # of a task that the study does not have, nothing is known
    missing = build_panels(figure, study, absent) if set(absent) <= set(study.tasks) else None
    if isinstance(missing, Lacking) and missing.lost:
        return f"{name} needs finished runs of {missing}, and those that are done have none."
    which = f" of {missing}" if missing else f" on {', '.join(map(task_title, absent))}"
    return f"{name} needs finished runs{which}; run: {_command([figure], study.root, study, wish, ','.join(absent))}."


def _place(study: StudyResults) -> str:
    """Name a study by what tells it from others of its preset."""
    return f"preset {study.preset} with feedback {study.study['feedback']}, selection {study.study['selection']}"


def build_figure(figure: Figure, study: StudyResults, task: str) -> FigureData | Lacking:
    try:
        return figure.build(study, task)
    except Lacking as missing:
        return missing


def _sentence(figure: Figure, found: Sequence[StudyResults], lacking: Mapping[str, str], wish: FigureChoice) -> str:
    """Say what the last study lacks and which command trains it, or which task has all runs."""
    command = _command([figure], found[-1].root, found[-1], wish, ",".join(lacking) if wish.tasks else "")
    others = dict.fromkeys(task for study in found for task in study.tasks if not wish.tasks)
    there = [task for task in others if not all(isinstance(build_figure(figure, one, task), Lacking) for one in found)]
    instead = f", or draw another task with --tasks ({', '.join(there)})" if there else ""
    return (
        f"Figure {_number(figure.name)} needs finished runs of {'; '.join(lacking.values())}; run: {command}{instead}."
    )


def _write(pictures: Sequence[FigureData], path: Path, form: str, wish: FigureChoice, console: Console) -> None:
    """Write one file a figure, or one CSV for all, and print the notes of each."""
    if form == "csv":
        write_text(path, as_csv(pictures))
        printing.print_line(console, f"Wrote {path}.")
        return
    from kdbench.reporting.formats import matplotlib_figure as paper

    endings = file_suffixes([picture.about for picture in pictures])
    for picture, ending in zip(pictures, endings, strict=True):
        file = path.with_name(f"{path.stem}{ending}.{form}")
        paper.save(picture, file, form, wish.inches)
        tasks = ", ".join(map(task_title, picture.about["task"].split(",")))
        printing.print_line(console, f"Wrote {file}: {picture.title}; preset {picture.about['preset']}, {tasks}.")
        for remark in [*picture.notes, *picture.printed]:
            printing.print_note(console, remark)


def file_suffixes(abouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each figure the ending of its file name: what tells it from the others, else a number."""
    if len(abouts) == 1:
        return [""]
    differing = [key for key in abouts[0] if len({str(about.get(key)) for about in abouts}) > 1]
    words = ["".join(f"-{_slug(about[key])}" for key in differing) for about in abouts]
    return [word if words.count(word) == 1 else f"{word}-{i + 1}" for i, word in enumerate(words)]


def _slug(value: object) -> str:
    return re.sub(r"[^\w.+]+", "-", str(value)).strip("-")


def as_csv(pictures: Iterable[FigureData]) -> str:
    """Return the points of all figures as CSV, one record a point; the head names the columns of all."""
    return csv_text(record for picture in pictures for record in picture.records)
