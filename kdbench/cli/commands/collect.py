"""`kdbench collect`: write a small folder for git with everything that tables and figures need."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from kdbench.core.atomic_files import user_path
from kdbench.core.formatting import count, size


@click.command(short_help="Write a small folder with all that tables and figures need.")
@click.argument("name")
@click.option("--results", "folders", multiple=True, metavar="DIR",
              help="The results folder (default: results); give several to join them.")  # fmt: skip
@click.option("--preset", help="Only results of this preset.")
@click.option("--tasks", metavar="TASKS", default="", help="Only results on these tasks, or groups such as glue.")
@click.option("--without-logits", metavar="TASKS", default="",
              help="Leave out the logits on these tasks: by far the largest part where classes are many.")  # fmt: skip
@click.option("--prefer-first", is_flag=True,
              help="Of runs that ended otherwise in another folder, such as a teacher that two people trained, keep "
                   "that of the folder given first.")  # fmt: skip
@click.option("--out", metavar="DIR", help="The folder to write (default: results/NAME).")
def command(
    name: str,
    folders: tuple[str, ...],
    preset: str | None,
    tasks: str,
    without_logits: str,
    prefer_first: bool,
    out: str | None,
) -> None:
    """Collect the results of a study under NAME, for git or another machine.

    Specs, scores, costs, curves, predicted classes and logits are kept. Networks, logs and checkpoints are left out,
    and so is everything that tells who ran the study and where. Give the folder as --results to table, figure, compare,
    status, show or list: the output is the same as from the original results, except that tables of probabilities have
    nothing to show of tasks --without-logits. The same results give the same bytes.
    Collecting again replaces the earlier collection.
    """
    from kdbench.reporting import printing
    from kdbench.results.archive.write import check_target, collect_study
    from kdbench.results.study import studies

    target = user_path(out or f"results/{name}")
    check_target(name, target)
    stores = [printing.open_store(folder) for folder in folders or (None,)]
    bare, kept = ({task.strip() for task in text.split(",")} - {""} for text in (without_logits, tasks))
    study, console = collect_study(name, stores, target, preset, bare, kept, prefer_first), printing.make_console()
    # how many runs were collected, and the size in MB beside that of the original folders
    runs = {run_id: run for found in studies(study) for run_id, run in found.runs.items()}
    counts = Counter(printing.status_word(run.state.status) for run in runs.values())
    words = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    before = sum(_folder_bytes(store.root) for store in stores)
    printing.print_line(
        console,
        f"Wrote {study.root}: {count(len(runs), 'run')} ({words}); {size(_folder_bytes(study.root))} of "
        f"{size(before)}.",
    )
    printing.print_line(console, f"To show it: kdbench table all --results {study.root}")


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
