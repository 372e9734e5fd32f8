"""`kdbench collect`: write a small folder for git with everything that tables and figures need."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli.study_options import study_options
from kdbench.core.atomic_files import user_path
from kdbench.core.formatting import count, size

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Write a small folder with all that tables and figures need.")
@click.argument("name")
@click.option("--results", "folders", multiple=True, metavar="DIR",
              help="The results folder (default: results); give several to join them.")  # fmt: skip
@study_options(
    methods="Only these rows: methods, variants, or groups such as logits. The runs that they need come along."
)
@click.option("--without-logits", metavar="TASKS", default="",
              help="Leave out the logits on these tasks: by far the largest part where classes are many.")  # fmt: skip
@click.option("--prefer-first", is_flag=True,
              help="Of runs that ended otherwise in another folder, such as a teacher that two people trained, keep "
                   "that of the folder given first.")  # fmt: skip
@click.option("--out", metavar="DIR", help="The folder to write (default: results/NAME).")
def command(
    name: str,
    folders: tuple[str, ...],
    choice: StudyChoice,
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
    from kdbench.reporting.study_choice import StudyChoice, choose_runs
    from kdbench.results.archive.write import check_target, collect_study
    from kdbench.results.read_studies import studies

    target = user_path(out or f"results/{name}")
    check_target(name, target)
    stores = [printing.open_store(folder) for folder in folders or (None,)]
    bare = {task.strip() for task in without_logits.split(",")} - {""}
    chosen = choose_runs(stores, choice) if choice != StudyChoice(choice.preset) else None
    found = chosen.studies if chosen else []
    cells = {(cell.cell.row, cell.run.id) for one in found for cell in one.cells} if chosen else None
    study = collect_study(name, stores, target, choice.preset, bare, cells, prefer_first)
    console = printing.make_console()
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
    for note in chosen.notes if chosen else []:
        printing.print_line(console, note)
    printing.print_line(console, f"To show it: kdbench table all --results {study.root}")


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
