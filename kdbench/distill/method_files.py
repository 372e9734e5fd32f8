"""Methods in users' files: load the file that a run was planned with, and resolve `--methods ./mine.py`."""

from __future__ import annotations

from pathlib import Path

from kdbench.core.atomic_files import user_path
from kdbench.core.errors import UserError, unknown
from kdbench.core.plugin_files import code_hash
from kdbench.core.spec import RunSpec
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS


def method_of(spec: RunSpec) -> type[Method]:
    """Return the method class of a run, loaded from the user's file if the spec names one.

    Raises:
        UserError: no such method, the file is gone, or its content has changed since the run was planned.
    """
    planned = spec.method_file
    if planned is not None and spec.method not in METHODS.all():
        if not Path(planned.path).is_file():
            raise UserError(f"The file of method '{spec.method}', {planned.path}, is gone; put it back.")
        METHODS.add_file(Path(planned.path))
    found, here = METHODS.get(spec.method), METHODS.files.get(spec.method)
    if planned != here and not (planned and planned.is_same(here)):
        file = here.subject if here else METHODS.file_of(spec.method)
        raise UserError(
            f"The file of method '{spec.method}', {file}, is not the one that the run was planned with; repeat "
            "the kdbench run command, which makes a new run of it."
        )
    return found


def code_of(spec: RunSpec) -> str:
    """Return the hash of the code of a run's method as it was loaded; "" where the method does not load.

    The file may have changed since; a process goes on with what it has loaded.
    """
    try:
        method_of(spec)
    except UserError:  # who trains the run says so
        return ""
    if source := METHODS.in_packages.get(Path(METHODS.file_of(spec.method))):
        return code_hash(source)
    return file.version if (file := METHODS.files.get(spec.method)) else ""


def row_of(text: str) -> str:
    """Return the row that an item of --methods names.

    Args:
        text: a method or a variant by name, a file that defines a method (`./mine.py`), or one of its variants
            (`./mine.py:mine_hot`).

    Raises:
        UserError: the file does not load, or has no such variant.
    """
    file, colon, variant = text.rpartition(":") if ".py:" in text else (text, "", "")
    if not (file.endswith(".py") or "/" in file):
        return text
    name = METHODS.add_file(user_path(file))
    if colon and variant not in METHODS.get(name).variants:
        raise unknown(f"variant of '{file}'", variant, METHODS.get(name).variants)
    return variant or name
