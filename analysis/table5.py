"""Table 5: the paper's hyperparameters beside those of the presets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.analysis.published import PAPER_METHOD, PublishedTable, published_tables
from kdbench.core.formatting import value
from kdbench.core.toml_files import read_toml
from kdbench.distill.method_registry import METHODS
from kdbench.planning.config import Config, Point, preset_files
from kdbench.reporting.tables import Table, TableCell, TableData
from kdbench.results.study import StudyResults

KD = "kd"
Points = Mapping[str, list[Point]]  # by method
ReadSetting = Callable[[Points], set[Any]]


def _option(method: str, key: str) -> ReadSetting:
    return lambda points: {getattr(point.options, key) for point in points[method]}


def _training(key: str) -> ReadSetting:
    return lambda points: {getattr(point.training, key) for point in points[PAPER_METHOD]}


# By row of the paper's table: how we call it, and where a preset has it.
OURS: dict[str, list[tuple[str, ReadSetting]]] = {
    "alpha": [
        ("α, of the student (Eq. 1)", _option(PAPER_METHOD, "student_ce")),
        ("α, of the teacher (Eq. 11)", _option(PAPER_METHOD, "teacher_ce")),
    ],
    "temperature": [("distillation temperature (KD)", _option(KD, "temperature"))],
}
LABELS = ("ce_weight", "student_ce")  # how methods call the weight of the labels in the student's loss


@dataclass(frozen=True)
class Setting:
    """A row: the paper's value, and the values of each preset."""

    key: str
    title: str
    paper: str
    ours: Mapping[str, set[Any]]

    def differs(self, preset: str) -> bool:
        """Return whether a preset's values are not the paper's."""
        return set(map(float, self.ours[preset])) != {float(part) for part in self.paper.split(",")}


class Table5(Table):
    """A column a preset. The table is made of presets and default options, not of results."""

    title = "Table 5: hyperparameters"
    needs_results = False

    def sheets(self, studies: Sequence[StudyResults]) -> list[TableData]:
        found = _settings(published_tables()[self.name])
        sheet = TableData(
            "Table 5, hyperparameters: the paper's and those of the presets", ["", "paper", *preset_files()]
        )
        # one row for each hyperparameter
        for setting in found:
            texts = [setting.paper, *map(_text, setting.ours.values())]
            sheet.rows.append([TableCell((text,)) for text in (setting.title, *texts)])
            sheet.records.append(
                {"row": setting.key, "title": setting.title} | dict(zip(sheet.head[1:], texts, strict=True))
            )
        # name the departures from the paper
        sheet.notes = [
            "Several values are a grid: tables show the best on the selection split.",
            *_departures(found),
            f"Labels weigh in the student's loss, where it is not α: {', '.join(_own_weights(found[0].paper))}.",
        ]
        return [sheet]


def _settings(paper: PublishedTable) -> list[Setting]:
    """Return the rows, with the values of every preset."""
    points = {name: _points(name) for name in preset_files()}
    return [
        Setting(row.row, title, row.cells[0], {name: read(found) for name, found in points.items()})
        for row in paper.rows
        for title, read in OURS.get(row.row, [(row.title, _training(row.row))])
    ]


def _points(preset: str) -> Points:
    """Return every grid point of both methods under a preset alone, without kdbench.toml and command line."""
    config = Config(files=[read_toml(preset_files()[preset])])
    return {name: list(config.points(name, METHODS.get(name), {})) for name in (KD, PAPER_METHOD)}


def _text(values: set[Any]) -> str:
    return ", ".join(map(_short, sorted(values, reverse=True)))


def _short(number: float) -> str:
    """Format a number; a rate as `3e-5`."""
    short = f"{number:.0e}".replace("e-0", "e-")
    return short if number < 0.01 and float(short) == number else value(number)


def _departures(found: Sequence[Setting]) -> list[str]:
    """Say which presets have the paper's values, and in what the others differ."""
    odd = {name: [setting.title for setting in found if setting.differs(name)] for name in found[0].ours}
    same = [name for name, titles in odd.items() if not titles]
    notes = [f"As in the paper: {', '.join(same)}."] if same else []
    return notes + [f"{name} differs in {', '.join(titles)}." for name, titles in odd.items() if titles]


def _own_weights(alpha: str) -> list[str]:
    """Return the methods whose weight of the labels is not the paper's α by default."""
    fields = [
        (m.title, f.default)
        for m in METHODS.all().values()
        for k, f in m.options_type.model_fields.items()
        if k in LABELS
    ]
    return [f"{title} {value(default)}" for title, default in fields if default != float(alpha)]
