"""Refuse settings that do not exist, that are not valid, or that no run reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kdbench.core.errors import UserError, unknown
from kdbench.core.settings import GROUPS, Training, teacher_keys, teacher_settings
from kdbench.core.toml_files import Layer
from kdbench.data.task_registry import SECTION
from kdbench.distill.method import Method
from kdbench.planning.config import NETWORK, TEACHER, Config, engine_keys, method_of_row
from kdbench.planning.executor import EXECUTORS


def check_keys(config: Config, rows: Mapping[str, type[Method]]) -> None:
    """Check every key, and the values in all sections, also of methods that are not selected.

    Args:
        rows: the selected methods and variants by name.

    Raises:
        UserError: a key is not known or no selected method has it, or a value is not valid.
    """
    for layer in [*config.files, *config.command_line]:
        for key, value in layer.items():
            if key == SECTION and layer in config.files:  # declarations of tasks, which their registry checks
                continue
            if isinstance(value, dict):
                _check_section(key, value)
            elif value == []:
                raise UserError(f"{key} has no value; give one, or several for a grid.")
            elif key != "description" or layer in config.command_line:
                _check_key(key, rows)


def _check_key(key: str, rows: Mapping[str, type[Method]]) -> None:
    """Check a key outside sections."""
    own = {option for method in rows.values() for option in method.options_type.model_fields}
    if key not in engine_keys() and key not in own:
        groups: dict[str, Iterable[str]] = {name: group.keys() for name, group in GROUPS.items()}
        raise unknown(
            "key", key, groups=groups | ({"options of the methods (kdbench show METHOD)": own} if own else {})
        )


def _check_section(name: str, values: Mapping[str, Any]) -> None:
    """Check the keys and values in the section of an executor, a method, or the teacher."""
    # no key may be without a value
    if empty := [key for key, value in values.items() if value == []]:
        raise UserError(f"{name}.{empty[0]} has no value; give one, or several for a grid.")
    # an executor that does not load cannot be checked
    if name in EXECUTORS.broken:
        return
    if name in EXECUTORS.all():
        EXECUTORS.get(name).options_type.parse(values, f"executor '{name}'")
        return
    # of the teacher and of methods, check every value of a grid
    singles = [(key, one) for key, value in values.items() for one in (value if isinstance(value, list) else [value])]
    if name == TEACHER:
        for key, one in singles:
            teacher_settings({key: one} if key != NETWORK else {})
        return
    own = method_of_row(name).options_type
    for key, one in singles:
        kind = next((kind for kind in (own, Training) if key in kind.model_fields), None)
        if kind is None:
            groups = {"its own": own.keys(), "training": Training.keys()}
            raise unknown(f"key of method '{name}'", key, groups=groups)
        kind.parse({key: one}, f"method '{name}'")


def check_no_unread(
    command_line: Layer, rows: Collection[str], executor: str = "local", *, has_teacher: bool = True,
    trains_teacher: bool = True,
) -> None:  # fmt: skip
    """Refuse settings of the command line that no run reads. Files may hold more settings than a run reads.

    Args:
        rows: the methods and variants to train.
        has_teacher: they may have a teacher that is fine-tuned first.
        trains_teacher: they may train a teacher, before their student or along with it.

    Raises:
        UserError: a section belongs to a method that is not trained, or to another executor; or a setting is about a
            teacher that is not trained.
    """
    if "teacher_lr" in command_line and not trains_teacher:
        raise UserError(f"Nothing reads teacher_lr: none of {', '.join(rows)} trains a teacher; leave it out.")
    if command_line.get("teacher_is_finetuned") and not has_teacher:
        raise UserError(f"Nothing reads teacher_is_finetuned: none of {', '.join(rows)} has a teacher; leave it out.")
    # sections that are read: of these rows, their methods, the executor, and the teacher
    read = {name for row in rows for name in (row, method_of_row(row).name)} | {executor, TEACHER}
    for name, values in command_line.items():
        if not isinstance(values, dict):
            continue
        # the first key that nobody reads says where it should have gone
        key = next((key for key in values if key != NETWORK), "")
        if name == TEACHER and key and not has_teacher:
            raise UserError(f"Nothing reads teacher.{key}: none of {', '.join(rows)} fine-tunes a teacher first.")
        if name in read:
            continue
        if name in EXECUTORS.all() or name in EXECUTORS.broken:
            raise UserError(f"Nothing reads {name}.{key}: runs are trained by '{executor}'; add --executor {name}.")
        hint = f"; the teacher's own is set by --set {TEACHER}.{key}=VALUE" if key in teacher_keys() else ""
        raise UserError(
            f"Nothing reads {name}.{key}: '{name}' is not among the methods ({', '.join(rows)}); "
            f"select it by --methods, or leave the setting out{hint}."
        )
