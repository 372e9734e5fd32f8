"""Collect the settings that lead to runs, and write those that the preset does not set as --set arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdbench.core.settings import FIELDS, Training, teacher_keys
from kdbench.core.toml_files import read_toml
from kdbench.distill.method_registry import METHODS
from kdbench.planning.config import Config, installed_options, preset_files
from kdbench.results.study import TEACHER, CellResult, Run, StudyResults

TEACHERS = f"{TEACHER}."  # begins a key of the teacher's own training


def settings_arguments(
    cells: Iterable[CellResult], study: StudyResults, own: Collection[str], read: Collection[str]
) -> list[str]:  # fmt: skip
    """Return --set arguments for hyperparameters that differ from the preset: once if all rows agree, else by row.

    An option that only one method has here is set for that method, because others might have an option of that name.
    Results of earlier versions do not tell the usual values of options; then those of the installed method count.
    """
    known: dict[str, dict[str, list[Any]]] = {}  # key -> row -> its values, without those that vary on purpose
    changed: set[tuple[str, str]] = set()
    cells = list(cells)
    owners = {cell.cell.row: cell.run.spec.method for cell in cells}
    usual = usual_of_rows(cells, study)
    for cell, key, item in unpurposed_settings(cells, study, own, usual):
        values = known.setdefault(key, {}).setdefault(cell.cell.row, [])
        values += [item] * (item not in values)
    # rows and keys whose values are not the usual ones
    for key, by_row in known.items():
        changed |= {(row, key) for row, some in by_row.items() if _texts(some) != _texts(usual[row].get(key, some))}
    # the key alone where all rows agree, else ROW.KEY
    words: list[str] = []
    for key, by_row in known.items():
        here = [row for row in by_row if {(row, key), (owners[row], key)} & changed]
        shared = key in Training.model_fields or len({owners[row] for row in by_row}) > 1
        alike = shared and len(set(map(_texts, by_row.values()))) == 1
        pairs = {key: by_row[here[0]]} if here and alike else {f"{r}.{key}": by_row[r] for r in here if r in read}
        if key.startswith(TEACHERS):  # is said of no single method
            pairs = {key: list(dict.fromkeys(item for row in here for item in by_row[row]))} if here else {}
        pairs |= _kept_by_variants(key, [name for name in pairs if "." in name], read)
        for name, some in pairs.items():
            words += ["--set", f"{name}={','.join(map(typed_value, some))}"]
    return words


def _kept_by_variants(key: str, names: Sequence[str], read: Collection[str]) -> dict[str, list[Any]]:
    """Return ROW.KEY of the variants that have a value of their own, which one set for their method would replace."""
    methods = [METHODS.get(method) for name in names if (method := name.partition(".")[0]) in METHODS.all()]
    own = {row: options for method in methods for row, (_, options) in method.variants.items() if row in read}
    return {f"{row}.{key}": [options[key]] for row, options in own.items() if key in options}


def usual_of_rows(cells: Iterable[CellResult], study: StudyResults) -> dict[str, Mapping[str, Any]]:
    """Return `usual_settings` of each row."""
    return {row: usual_settings(cell, study) for row, cell in {cell.cell.row: cell for cell in cells}.items()}


def unpurposed_settings(
    cells: Iterable[CellResult], study: StudyResults, own: Collection[str], usual: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[CellResult, str, Any]]:
    """Yield the settings of each cell that are set and do not vary on purpose."""
    for cell in cells:
        purposely = {*own, *set.intersection(*map(set, cell.varied))}
        for key, item in settings_of(cell, study.runs, usual[cell.cell.row]).items():
            if key not in purposely and item not in (None, ""):
                yield cell, key, item


def _texts(items: Any) -> frozenset[str]:
    """Return the distinct values as they are typed."""
    return frozenset(map(typed_value, items if isinstance(items, list) else [items]))


def settings_of(cell: CellResult, runs: Mapping[str, Run], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters that lead to the run, including those that only its needed runs read.

    Args:
        usual: the hyperparameters under the preset alone, among them those of a teacher that this one did not have.
    """
    spec, teacher = cell.run.spec, _teacher_training(cell.run, runs)
    values = {**spec.training.model_dump(mode="json"), **spec.options}
    if spec.teacher_training.get("epochs") == 0 or teacher is None:  # used unchanged, as the study says, or not needed
        return values
    own = spec.teacher_training
    values["teacher_lr"] = values["teacher_lr"] or (None if "lr" in own else teacher.student_lr)
    preset = {
        key.removeprefix(TEACHERS) for key, item in usual.items() if key.startswith(TEACHERS) and item is not None
    }
    values |= {f"{TEACHERS}{key}": getattr(teacher, FIELDS.get(key, key)) for key in preset - own.keys()}
    return values | {f"{TEACHERS}{key}": item for key, item in own.items()}


def _teacher_training(run: Run, runs: Mapping[str, Run]) -> Training | None:
    """Return how the teacher at the end of the chain of needed runs was fine-tuned; None where there is none."""
    parent = next((runs[need] for need in run.spec.needs.values() if need in runs), None)
    return None if parent is None else _teacher_training(parent, runs) or parent.spec.training


def usual_settings(cell: CellResult, study: StudyResults) -> Mapping[str, Any]:
    """Return the hyperparameters that the row has when only the preset is given.

    The installed preset and method win over the values that were stored when the row was asked for: they may have
    changed.
    """
    layer = read_toml(preset_files()[study.preset]) if study.preset in preset_files() else {}
    sections = [layer.get(name, {}) for name in (cell.run.spec.method, cell.cell.row)]
    known = study.titles[cell.cell.row].usual
    # the preset's settings of the teacher give way to those that the command sets for all runs
    training = cell.run.spec.training.model_dump(mode="json")
    given = {key: item for key, item in training.items() if layer.get(key, item) != item}
    teacher = Config(files=[layer], command_line=[given]).teacher_section()
    unset = {f"{TEACHERS}{key}": teacher.get(key) for key in teacher_keys()}
    here = {**Training().model_dump(mode="json"), **layer, **sections[0], **sections[1]}
    own = installed_options(cell.cell.row)
    return {**unset, **known, **own, **here} if layer else {**unset, **here, **own, **known}


def typed_value(item: Any) -> str:
    """Format a value for --set, with its commas escaped."""
    return str(item).lower() if isinstance(item, bool) else str(item).replace(",", "\\,")
