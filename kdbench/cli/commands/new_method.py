"""`kdbench new-method`: a file to write a method of one's own into."""

from __future__ import annotations

import shlex

import click

from kdbench.core.atomic_files import user_path


@click.command(short_help="Write a starting file for a method of your own.")
@click.argument("name")
@click.option("--folder", metavar="DIR", help="Where to write it (default: methods/ in this folder).")
def command(name: str, folder: str | None) -> None:
    """Write NAME.py: a distillation method that works, to be changed into yours.

    In methods/ of the folder where one runs kdbench it is found by its name; a file anywhere else is given as it is:
    kdbench run --methods ~/NAME.py,kd.
    """
    from kdbench.cli import method_template
    from kdbench.reporting import printing

    target = method_template.new_method(name, user_path(folder) if folder else None)
    shown = name if folder is None else shlex.quote(str(target))
    console = printing.make_console()
    printing.print_line(console, f"wrote {target}")
    printing.print_line(console, f"check it: kdbench check-method {shown}")
    printing.print_line(console, f"run it:   kdbench run --methods {shown},kd")
