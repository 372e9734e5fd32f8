"""`kdbench glue`: predictions for GLUE's test server, and the server's scores."""

from __future__ import annotations

import datetime
import hashlib
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.strict_group import StrictGroup
from kdbench.cli.study_options import study_options
from kdbench.core.atomic_files import user_path
from kdbench.core.formatting import count

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.data.test_server import Server
    from kdbench.reporting.study_choice import StudyChoice
    from kdbench.results.submission_records import Submission
    from kdbench.training.server_predictions import ServerRuns

SERVER = "glue"  # the group of tasks


@click.group(cls=StrictGroup, short_help="Write the zip that GLUE's test server takes; read its scores back.")
def command() -> None:
    """Test scores come from GLUE's server only. It takes a zip of predictions, which you upload by hand.

    \b
    kdbench glue export lgtm --out lgtm.zip       predict the test splits with the students of a row
    kdbench glue check lgtm.zip                   check that the server would take the zip
    kdbench glue import scores.toml --row lgtm    store the server's scores
    """


@command.command("export", short_help="Predict the test splits with the students of a row, as a checked zip.")
@click.argument("row")
@click.option("--out", metavar="FILE", help="The zip to write (default: ROW.zip).")
@click.option("--seed", type=int, help="The students of this seed (default: the first that is done).")
@study_options("methods", tasks="Predict only these tasks, such as mrpc,rte; the files of others are filled.")
@results_option()
@click.option("--glue-dir", metavar="DIR", help="Where the test files are (default: beside the training data).")
@click.option("--device", default="auto", help="auto (default), cpu, cuda or cuda:N.")
def export(
    row: str, out: str | None, seed: int | None, choice: StudyChoice, results: str | None, glue_dir: str | None,
    device: str,
) -> None:  # fmt: skip
    """Predict the test split of every task for which ROW (a method or variant) has a finished run.

    The students are those of the runs that tables show. The server wants files of all eleven tasks, so the files of
    other tasks are filled with the most frequent class of their training sets. AX.tsv, the diagnostic set, is predicted
    by the student of MNLI if its rows are there (diagnostic/diagnostic.tsv in the GLUE folder). The zip is written only
    if every file is as the server wants it.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.study_choice import choose_studies, student_title
    from kdbench.results import submission_records, submission_zip
    from kdbench.training import preflight, server_predictions

    server, store = submission_zip.find_server(SERVER), printing.open_store(results, raw=True)
    students = server_predictions.choose_runs(choose_studies(store, choice).studies, server, row, seed, store.root)
    target, place = user_path(out or f"{row}.zip"), preflight.parse_device(device)
    # predict and write the zip, and remember which run answered which file
    predictions: dict[str, list[str]] = {}
    for run in students.runs.values():
        predictions |= server_predictions.predict(run, server_predictions.data_location(run, glue_dir), place)
    submission_zip.write_zip(target, server, predictions)
    submission_records.save_export(store, _export_record(students, server, target, predictions.keys()))
    # say what the zip holds, and what to do next
    console = printing.make_console()
    _print_export(students, server, predictions.keys(), console)
    printing.print_line(
        console, f"Wrote {target}, {count(len(submission_zip.required_files(server)), 'file')}, all checked."
    )
    words = ["kdbench", "glue", "import", "FILE", "--row", students.row, "--preset", students.study.preset]
    words += ["--student", student_title(students.study)] if choice.student else []
    words += ["--seed", str(students.seed), "--results", str(store.root)]
    printing.print_line(console, f"Hand it in at {server.page}; then: {shlex.join(words)}")


@command.command("check", short_help="Check that the server would take a zip.")
@click.argument("file", metavar="FILE.zip")
def check(file: str) -> None:
    """Check names, headers, labels, and the number and order of rows; print the first mistake in one sentence."""
    from kdbench.reporting import printing
    from kdbench.results import submission_zip

    server = submission_zip.find_server(SERVER)
    submission_zip.check_zip(user_path(file), server)
    printing.print_line(printing.make_console(), f"{file} is what {server.title}'s server takes.")


@command.command("import", short_help="Store the server's scores with the runs that they belong to.")
@click.argument("file", metavar="FILE.toml")
@click.option("--row", required=True, help="The method or variant that was exported.")
@click.option("--preset", help="The preset of the export, where there are several.")
@click.option("--student", help="The student of the export, named as in tables, where there are several.")
@click.option("--seed", type=int, help="The seed of the export, where there are several.")
@results_option()
def import_(
    file: str, row: str, preset: str | None, student: str | None, seed: int | None, results: str | None
) -> None:
    """Read the date and the scores, in per cent, that you copied from the server's page into a TOML file:

    \b
    date = 2026-01-31
    MRPC = "88.9/84.8"     as the page prints it: F1/accuracy
    RTE = 66.4
    MNLI-m = 84.6
    MNLI-mm = 83.4

    The scores are stored with the runs of the last export of ROW. Every task that a run answered must be there. Scores
    of tasks that were filled may be there, and are ignored.
    """
    from kdbench.reporting import printing
    from kdbench.results import submission_records
    from kdbench.results.submission_zip import find_server

    store = printing.open_store(results, raw=True)
    wanted = submission_records.WantedExport(row, preset, student, seed)
    found, before = submission_records.import_scores(store, find_server(SERVER), user_path(file), wanted)
    console = printing.make_console()
    for name, part in found.parts.items():
        old = before.parts[name].scores
        replaced = f"; replaces {_score_words(old)} of {before.scored}" if old not in ({}, part.scores) else ""
        printing.print_line(console, f"{name.removesuffix('.tsv')}: {_score_words(part.scores)} ({part.run}){replaced}")
    kept = count(len(found.parts), "file")
    printing.print_line(console, f"Stored the scores of {kept} for {found.row}, seed {found.seed}, of {found.scored}.")


def _export_record(choice: ServerRuns, server: Server, out: Path, answered: Collection[str]) -> Submission:
    """Build the record of an export: the SHA-256 of the zip, and which run answered which file.

    Args:
        answered: names of the files that are not filled.
    """
    from kdbench.reporting.study_choice import student_title
    from kdbench.results import submission_zip
    from kdbench.results.submission_records import Submission, SubmittedFile

    parts = {
        name: SubmittedFile(
            task=task, split=submission_zip.required_files(server)[name].split, run=choice.runs[task].id
        )
        for name, task in submission_zip.task_by_file(server).items()
        if name in answered
    }
    return Submission(
        server=server.title, row=choice.row, preset=choice.study.preset, student=student_title(choice.study),
        seed=choice.seed, parts=parts, exported=datetime.datetime.now(tz=datetime.UTC),
        zip=hashlib.sha256(out.read_bytes()).hexdigest(),
    )  # fmt: skip


def _print_export(choice: ServerRuns, server: Server, answered: Collection[str], console: Console) -> None:
    """Print which run answered which file of the zip, and which files were filled."""
    from rich.table import Table

    from kdbench.reporting import printing
    from kdbench.results import submission_zip

    study, tasks, files = choice.study, submission_zip.task_by_file(server), submission_zip.required_files(server)
    printing.print_line(
        console,
        f"{study.title(choice.row)}, preset {study.preset}, {study.pairing}, seed {choice.seed}; "
        f"feedback {study.study['feedback']}, selection {study.study['selection']}.",
    )
    # one row for each file, filled or answered
    table = Table(box=None, pad_edge=False)
    for name in ("File", "Rows", "Predicted by"):
        table.add_column(name, justify="right" if name == "Rows" else "left")
    for name, file in files.items():
        by = choice.runs[tasks[name]].id if name in answered else _why_filled(tasks[name], file.filler, choice)
        table.add_row(name, f"{file.rows:,}", by)
    printing.print_table(console, table)
    # warn of the filled files
    if filled := [file.name for name, file in files.items() if name not in answered]:
        printing.print_line(
            console,
            f"Filled, so that the server's scores there and its average say nothing about {study.title(choice.row)}: "
            f"{', '.join(filled)}.",
        )


def _why_filled(task: str, filler: str, choice: ServerRuns) -> str:
    """Say why a file was filled.

    Args:
        filler: the class that stands in every row of the file.
    """
    from kdbench.results.selection import select_row

    if task in choice.runs:
        return f"nobody, {filler} everywhere: its rows are not at hand"
    every = choice.study.whole or choice.study  # also with the tasks that were not chosen
    seeds = [cell.cell.seed for cell in select_row(every, choice.row).shown.get(task, ())]
    why = f"done with seed {', '.join(map(str, seeds))} only" if seeds else "no run is done"
    return f"nobody, {filler} everywhere: {'left out' if choice.seed in seeds else why}"


def _score_words(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{metric} {number:g}" for metric, number in scores.items())
