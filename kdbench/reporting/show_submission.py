"""What `kdbench glue` says: which file comes from which run, what was filled, and what to do next."""

from __future__ import annotations

import datetime
import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from kdbench.core.formatting import count
from kdbench.data.test_server import Server
from kdbench.reporting import printing
from kdbench.results import submission_zip
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.submission_records import Submission, SubmittedFile, save_export
from kdbench.training import test_predictions

if TYPE_CHECKING:
    import torch


def write(
    choice: test_predictions.Choice,
    server: Server,
    store: Store,
    out: Path,
    glue_dir: str | None,
    device: torch.device,
    console: Console,
) -> None:
    """Predict, write the zip, keep the record of it, and say what is in it."""
    predictions: dict[str, list[str]] = {}
    for run in choice.runs.values():
        predictions |= test_predictions.predict(run, test_predictions.where(run, glue_dir), device)
    submission_zip.write_zip(out, server, predictions)
    save_export(store, _record(choice, server, out))
    _tell(choice, server, console)
    printing.print_line(
        console, f"Wrote {out}, {count(len(submission_zip.required_files(server)), 'file')}, all checked."
    )
    command = ["kdbench", "glue", "import", "FILE", "--row", choice.row, "--preset", choice.study.preset]
    command += ["--seed", str(choice.seed), "--results", str(store.root)]
    printing.print_line(console, f"Hand it in at {server.page}; then: {shlex.join(command)}")


def _record(choice: test_predictions.Choice, server: Server, out: Path) -> Submission:
    parts = {
        name: SubmittedFile(
            task=task, split=submission_zip.required_files(server)[name].split, run=choice.runs[task].id
        )
        for name, task in submission_zip.task_by_file(server).items()
        if task in choice.runs
    }
    return Submission(
        server=server.title, row=choice.row, preset=choice.study.preset, seed=choice.seed, parts=parts,
        exported=datetime.datetime.now(tz=datetime.UTC), zip=hashlib.sha256(out.read_bytes()).hexdigest(),
    )  # fmt: skip


def _tell(choice: test_predictions.Choice, server: Server, console: Console) -> None:
    study, owners = choice.study, submission_zip.task_by_file(server)
    printing.print_line(
        console,
        f"{study.title(choice.row)}, preset {study.preset}, seed {choice.seed}; feedback {study.study['feedback']}, "
        f"selection {study.study['selection']}.",
    )
    table = Table(box=None, pad_edge=False)
    for name in ("File", "Rows", "Predicted by"):
        table.add_column(name, justify="right" if name == "Rows" else "left")
    for name, file in submission_zip.required_files(server).items():
        table.add_row(name, f"{file.rows:,}", _source(owners.get(name), file.filler, choice))
    printing.print_table(console, table)
    filled = [
        file.name for name, file in submission_zip.required_files(server).items() if owners.get(name) not in choice.runs
    ]
    printing.print_line(
        console,
        f"Filled, so that the server's scores there and its average say nothing about {study.title(choice.row)}: "
        f"{', '.join(filled)}.",
    )


def _source(task: str | None, filler: str, choice: test_predictions.Choice) -> str:
    if task is not None and task in choice.runs:
        return choice.runs[task].id
    return f"nobody, {filler} everywhere: {_why(task, choice) if task else 'no task of kdbench'}"


def _why(task: str, choice: test_predictions.Choice) -> str:
    """Why a task of kdbench is filled."""
    seeds = [cell.cell.seed for cell in select_row(choice.study, choice.row).shown.get(task, ())]
    if choice.seed in seeds:
        return "left out"
    return f"done with seed {', '.join(map(str, seeds))} only" if seeds else "no run is done"


def _values(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{metric} {number:g}" for metric, number in scores.items())


def tell_scores(found: Submission, before: Submission, console: Console) -> None:
    """What was taken in, for which runs, and what it replaces."""
    for name, part in found.parts.items():
        old = before.parts[name].scores
        replaced = f"; replaces {_values(old)} of {before.scored}" if old not in ({}, part.scores) else ""
        printing.print_line(console, f"{name.removesuffix('.tsv')}: {_values(part.scores)} ({part.run}){replaced}")
    kept = count(len(found.parts), "file")
    printing.print_line(console, f"Stored the scores of {kept} for {found.row}, seed {found.seed}, of {found.scored}.")
