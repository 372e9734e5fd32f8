"""The command that makes a run, or a cell of a table, again: short, and without a look at any method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.config import Config, Study, presets, read_toml
from kdbench.results import TEACHER, CellResult, Run, StudyResults, Sweep
from kdbench.settings import Training

STUDY_FLAGS = ("glue_dir", "feedback", "selection")  # options of `kdbench run`; the other fields are keys of --set


def command(cells: Sequence[CellResult], study: StudyResults) -> list[str]:
    """`kdbench run ...` for cells that differ in their seed only: it plans their runs, and no other cell.

    A teacher is made on the way to a row that needs it, because a table shows it with that row.
    """
    if cells[0].cell.row == TEACHER and TEACHER not in study.titles:
        cells = needing(study, [cell.run.id for cell in cells])
    first = cells[0]
    seeds = sorted({cell.cell.seed for cell in cells})
    words = ["kdbench", "run", "--methods", first.cell.row, "--tasks", first.cell.task]
    words += ["--seeds", ",".join(map(str, seeds)), "--preset", study.preset, *_places(study)]
    wanted, usual = _settings(first, study.runs), _usual(first, study)
    for key, item in wanted.items():
        if item is not None and item != "" and (key not in usual or usual[key] != item):
            words += ["--set", f"{key}={_typed(item)}"]
    return words


def needing(study: StudyResults, runs: Sequence[str]) -> list[CellResult]:
    """The cells of one row and grid point that need the runs, directly or not; those of most of them."""
    found: dict[tuple[str, str, str], list[tuple[CellResult, set[str]]]] = {}
    for cell in study.cells:
        if here := _ancestors(cell.run.id, study.runs) & set(runs):
            found.setdefault((cell.cell.row, cell.cell.task, cell.point), []).append((cell, here))
    best = max(found.values(), key=lambda some: len(set[str]().union(*(here for _, here in some))))
    return [cell for cell, _ in best]


def for_run(run: Run, study: StudyResults) -> list[str]:
    """The command for one run: that of its cell, or of one that needs it."""
    own = [cell for cell in study.cells if cell.run.id == run.id]
    return command(own[:1] or needing(study, [run.id])[:1], study)


def stored(run: str, sweeps: Iterable[Sweep]) -> tuple[list[list[str]], bool]:
    """The commands, as they were typed, that asked for a run; else those that needed it, and False."""
    sweeps = list(sweeps)
    asked = [sweep.command for sweep in sweeps if run in {cell.run for cell in sweep.cells}]
    found = asked or [sweep.command for sweep in sweeps if run in sweep.runs]
    return [words for i, words in enumerate(found) if words not in found[:i]], bool(asked)


def _ancestors(run: str, runs: Mapping[str, Run]) -> set[str]:
    """All that a run needs."""
    parents = set(runs[run].spec.needs.values()) & runs.keys()
    return parents.union(*(_ancestors(parent, runs) for parent in parents))


def _places(study: StudyResults) -> list[str]:
    """What is compared on what, as far as the preset does not say it."""
    known = Config(files=[read_toml(presets()[study.preset])]) if study.preset in presets() else Config()
    usual: Study = known.group(Study)
    words: list[str] = []
    for key in Study.model_fields:
        item = study.study.get(key)
        if item in (None, "", getattr(usual, key)) or (key == "source" and study.study["glue_dir"]):
            continue
        words += [f"--{key.replace('_', '-')}", str(item)] if key in STUDY_FLAGS else ["--set", f"{key}={item}"]
    return words


def _settings(cell: CellResult, runs: Mapping[str, Run]) -> dict[str, Any]:
    """The hyperparameters that lead to the run, among them those that only the runs use that it needs."""
    spec = cell.run.spec
    values = {**spec.training.model_dump(mode="json"), **spec.options}
    values["teacher_lr"] = values["teacher_lr"] or _teacher_rate(cell.run, runs)
    return values


def _teacher_rate(run: Run, runs: Mapping[str, Run]) -> float | None:
    """The rate at which the teacher at the end of what a run needs was fine-tuned; see `method.finetuned`."""
    for parent in (runs[need] for need in run.spec.needs.values() if need in runs):
        return _teacher_rate(parent, runs) or parent.spec.training.student_lr
    return None


def _usual(cell: CellResult, study: StudyResults) -> Mapping[str, Any]:
    """What the row has where only the preset is said."""
    if known := study.titles[cell.cell.row].usual:
        return known
    layer = read_toml(presets()[study.preset]) if study.preset in presets() else {}
    sections = [layer.get(name, {}) for name in (cell.run.spec.method, cell.cell.row)]
    return {**Training().model_dump(mode="json"), **layer, **sections[0], **sections[1]}


def _typed(item: Any) -> str:
    return str(item).lower() if isinstance(item, bool) else str(item)
