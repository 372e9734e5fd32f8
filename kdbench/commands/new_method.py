"""`kdbench new-method`: a file to write a method of one's own into."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Write a starting file for a method of your own.")
@click.argument("name")
@click.option("--folder", metavar="DIR", help="Where to write it (default: the folder methods/ of kdbench).")
def command(name: str, folder: str | None) -> None:
    """Write NAME.py: a distillation method that works, to be changed into yours.

    In methods/ it is found at once: kdbench run --methods NAME,kd. Anywhere else, check-method takes the file.
    """
    from kdbench import scaffold

    target = scaffold.new_method(name, Path(folder).expanduser() if folder else None)
    shown = name if folder is None else target
    click.echo(f"wrote {target}\ncheck it: kdbench check-method {shown}")
    if folder is None:
        click.echo(f"run it:   kdbench run --methods {name},kd")
