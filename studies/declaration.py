"""Read a study's declaration, and turn its parts into kdbench commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdbench.analysis.study_page import TUNING
from kdbench.core.errors import UserError, unknown
from kdbench.core.formatting import value
from kdbench.core.toml_files import read_toml
from kdbench.data.declared_task import DeclaredTask
from kdbench.data.task_registry import TASKS
from kdbench.planning.make_plan import select_methods

Setting = bool | int | float | str | list[int | float | str]
Rates = Mapping[str, Mapping[str, float]]  # task -> row -> the student's rate that its tuning has chosen


class Part(BaseModel):
    """Some methods on some tasks.

    Attributes:
        seeds: "" takes the study's.
        set: settings for all runs; a list is a grid.
        tuning: its runs choose rates for the other parts, and no table shows them.
        folder: "" or the end of the names of results folders of its own, so that each folder's tables show one pair of
            networks. Teachers are trained again there.
    """

    model_config = ConfigDict(extra="forbid")

    tasks: list[str]
    methods: str
    seeds: str = ""
    set: dict[str, Setting] = {}
    tuning: bool = False
    folder: str = ""

    @property
    def ending(self) -> str:
        """Return the end of the names of its results folders."""
        return TUNING if self.tuning else f"-{self.folder}" if self.folder else ""


class Study(BaseModel):
    """A study.

    Attributes:
        page: the page that is written from the results; "" for none.
        without_logits: tasks whose logits are not collected.
        set: settings for all runs.
        tasks: settings of a task for which those above do not fit.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    runs: str
    page: str = ""
    preset: str
    seeds: str
    without_logits: list[str] = []
    set: dict[str, Setting] = {}
    tasks: dict[str, dict[str, Setting]] = {}
    parts: dict[str, Part] = Field(min_length=1)

    def results(self, part: Part) -> Path:
        """Return the results folder of a part."""
        return Path(self.runs + part.ending)

    def select(self, name: str) -> dict[str, Part]:
        """Return the part with this name, or all for "".

        Raises:
            UserError: there is no such part.
        """
        if name and name not in self.parts:
            raise unknown("part", name, self.parts)
        return {name: self.parts[name]} if name else self.parts


@dataclass(frozen=True)
class Command:
    """One `kdbench run`: a part on a task."""

    part: str
    task: str
    results: Path
    words: list[str]


def read_study(file: Path) -> Study:
    """Read a declaration.

    Raises:
        UserError: the file is not there or not valid, or it sets something for a task that no part has.
    """
    try:
        study = Study.model_validate(dict(read_toml(file)))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    known = {task for part in study.parts.values() for task in part.tasks}
    if lost := [task for task in study.tasks if task not in known]:
        raise UserError(f"{file}: no part has the task of the table [tasks.{lost[0]}].")
    return study


def part_commands(
    study: Study, name: str, data_dir: str, more: Sequence[str] = (), rates: Rates | None = None
) -> list[Command]:  # fmt: skip
    """Return the commands of a part, one a task.

    Args:
        data_dir: for --data-dir; "" for tasks that need none.
        more: further options of `kdbench run`.
        rates: the student's rates that a tuning has chosen.
    """
    part, commands = study.parts[name], []
    for task in part.tasks:
        words = ["kdbench", "run", "--preset", study.preset, "--methods", part.methods, "--tasks", task]
        words += ["--seeds", part.seeds or study.seeds, "--results", str(study.results(part)), "--yes"]
        words += ["--data-dir", data_dir] if data_dir else []
        for key, item in {**study.set, **study.tasks.get(task, {}), **part.set}.items():
            words += ["--set", f"{key}={','.join(map(value, item)) if isinstance(item, list) else value(item)}"]
        chosen = {} if part.tuning else (rates or {}).get(task, {})
        words += _rate_settings(part, chosen)
        commands.append(Command(name, task, study.results(part), [*_without(words, more), *more]))
    return commands


def _without(words: Sequence[str], more: Sequence[str]) -> list[str]:
    """Leave out the options, with their values, that `more` gives again; several --set go together."""
    given = {word.partition("=")[0] for word in more if word.startswith("--")} - {"--set"}
    out, is_left_out = list[str](), False  # whether the option is, so that its value is too
    for word in words:
        if word.startswith("--"):
            is_left_out = word in given
        out += [] if is_left_out else [word]
    return out


def _rate_settings(part: Part, chosen: Mapping[str, float]) -> list[str]:
    """Return --set arguments for the chosen rates of the part's methods; a variant has its method's rate."""
    methods = {name for row, method in select_methods(part.methods).items() for name in (row, method.name)}
    pairs = [f"{row}.student_lr={value(rate)}" for row, rate in chosen.items() if row in methods]
    return [word for pair in pairs for word in ("--set", pair)]


def check_data(study: Study, parts: Mapping[str, Part], data_dir: str) -> None:
    """Check that the files of all tasks are there.

    Raises:
        UserError: some are not; the sentence says where they come from and where they go.
    """
    names = dict.fromkeys(task for part in parts.values() for task in part.tasks)
    folder = Path(data_dir).expanduser().resolve() if data_dir else None
    lost = []
    for task in map(TASKS.get, names):
        if issubclass(task, DeclaredTask) and not task.is_here(folder):
            source = task.declaration.train[0]
            file = source if isinstance(source, str) else next(iter(source.values()))
            lost.append(f"{file.partition('#')[0]} ({task.title}, from {task.declaration.origin})")
    if lost:
        raise UserError(
            f"{data_dir or 'DATA_DIR'} does not hold {'; '.join(lost)}: download the published files, put them there "
            "unchanged, and run make study DATA_DIR=DIR."
        )
