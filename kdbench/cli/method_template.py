"""The file that a new method starts from."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

from kdbench.core.atomic_files import write_text
from kdbench.core.errors import UserError
from kdbench.distill.method import METHODS

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new_method(name: str, folder: Path | None) -> Path:
    """Write a method that works and passes its checks.

    Args:
        name: the file's, and so the method's.
        folder: where; None is `methods/` in the working folder, which is made if need be.

    Raises:
        UserError: a name that cannot be one or is taken, or a folder that is not there.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or name == "all":
        raise UserError(f"'{name}' cannot name a method; use small letters, digits and '_', such as my_method.")
    if name in taken():
        raise UserError(f"There is a method '{name}' already; choose another name.")
    target = (folder or Path(METHODS.folder)) / f"{name}.py"
    if folder and not target.parent.is_dir():
        raise UserError(f"There is no folder '{target.parent}'; make it first.")
    if target.exists():
        raise UserError(f"{target} exists; choose another name, or remove it first.")
    write_text(target, text(name))
    return target


def taken() -> set[str]:
    """The names that methods and variants have."""
    return {*METHODS.all(), *METHODS.broken, *(v for m in METHODS.all().values() for v in m.variants)}


def text(name: str) -> str:
    """The file's text."""
    words = name.split("_")
    template = files("kdbench.cli").joinpath("method.py.txt").read_text(encoding="utf-8")
    title, kind = " ".join(map(str.capitalize, words)), "".join(map(str.capitalize, words))
    return template.replace("@TITLE@", title).replace("@CLASS@", kind)
