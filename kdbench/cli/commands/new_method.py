"""`kdbench new-method`: write a working method from a template, as a start for a method of one's own."""

from __future__ import annotations

import keyword
import re
import shlex
from importlib.resources import files
from pathlib import Path

import click

from kdbench.core.atomic_files import user_path, write_text
from kdbench.core.errors import UserError

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@click.command(short_help="Write a starting file for a method of your own.")
@click.argument("name")
@click.option("--folder", metavar="DIR", help="Where to write it (default: methods/ in this folder).")
def command(name: str, folder: str | None) -> None:
    """Write NAME.py: a distillation method that works, to be changed into yours.

    kdbench finds methods in methods/ of the working folder by their names. Name the path of a file anywhere else, such
    as: kdbench run --methods ~/NAME.py,kd.
    """
    from kdbench.reporting import printing

    target = write_method(name, user_path(folder) if folder else None)
    shown = name if folder is None else shlex.quote(str(target))
    console = printing.make_console()
    printing.print_line(console, f"wrote {target}")
    printing.print_line(console, f"check it: kdbench check-method {shown}")
    printing.print_line(console, f"run it:   kdbench run --methods {shown},kd")


def write_method(name: str, folder: Path | None) -> Path:
    """Write a method that works and passes its checks, and return the file.

    Args:
        name: of the file, and so of the method.
        folder: must exist; None is `methods/` in the working folder, which is made if need be.

    Raises:
        UserError: the name is not valid or is taken, or the folder does not exist.
    """
    from kdbench.core.formatting import sentence
    from kdbench.core.registry import RESERVED
    from kdbench.distill.method_registry import METHODS

    # refuse names that Python or another method has
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or name in RESERVED:
        raise UserError(f"'{name}' cannot name a method; use small letters, digits and '_', such as my_method.")
    if METHODS.owner(name):
        raise UserError(f"There is a method '{name}' already; choose another name.")
    if problem := METHODS.name_problem(name, f"{name}.py"):
        raise UserError(f"{sentence(problem)}.")
    target = (folder or Path(METHODS.folder)) / f"{name}.py"
    if folder and not target.parent.is_dir():
        raise UserError(f"There is no folder '{target.parent}'; make it first.")
    if target.exists():
        raise UserError(f"{target} exists; choose another name, or remove it first.")
    # `my_method` becomes the title "My Method" and the class MyMethod
    words = [word.capitalize() for word in name.split("_")]
    template = files("kdbench.cli").joinpath("method.py.txt").read_text(encoding="utf-8")
    write_text(target, template.replace("@TITLE@", " ".join(words)).replace("@CLASS@", "".join(words)))
    return target
