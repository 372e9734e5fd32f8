"""`kdbench glue`: predictions for GLUE's test server, and its scores."""

from __future__ import annotations

import click

from kdbench.core.atomic_files import user_path

SERVER = "glue"  # the group of tasks


@click.group(short_help="Write the zip that GLUE's test server takes; read its scores back.")
def command() -> None:
    """Test scores come from GLUE's server only, which takes a zip of predictions by hand.

    \b
    kdbench glue export lgtm --out lgtm.zip       predict the test splits with the students of a row
    kdbench glue check lgtm.zip                   would the server take it?
    kdbench glue import scores.toml --row lgtm    store what the server said
    """


@command.command("export", short_help="Predict the test splits with the students of a row, as a checked zip.")
@click.argument("row")
@click.option("--out", metavar="FILE", help="The zip to write (default: ROW.zip).")
@click.option("--preset", help="Only results of this preset.")
@click.option("--seed", type=int, help="The students of this seed (default: the first that is done).")
@click.option("--tasks", "--task", help="Only these, the others are filled: names such as mrpc,rte.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
@click.option("--glue-dir", metavar="DIR", help="Where the test files are (default: beside the training data).")
@click.option("--device", default="auto", help="auto (default), cpu, cuda or cuda:N.")
def export(
    row: str, out: str | None, preset: str | None, seed: int | None, tasks: str | None, results: str | None,
    glue_dir: str | None, device: str,
) -> None:  # fmt: skip
    """Predict the test split of every task that ROW (a method or variant) has a finished run of.

    It is the run that tables show. Files of other tasks are filled with the most frequent class of their training
    sets, because the server wants all eleven. Nothing is written unless every file is as the server wants it.
    """
    from kdbench.planning.plan import select_tasks
    from kdbench.reporting import printing, show_submission
    from kdbench.results.submission_zip import find_server
    from kdbench.training import test_predictions as students

    server, store, console = find_server(SERVER), printing.open_store(results, raw=True), printing.make_console()
    choice = students.choose(store, server, row, preset, seed, select_tasks(tasks) if tasks else None)
    target = user_path(out or f"{row}.zip")
    show_submission.write(choice, server, store, target, glue_dir, students.device(device), console)


@command.command("check", short_help="Say whether the server would take a zip.")
@click.argument("file", metavar="FILE.zip")
def check(file: str) -> None:
    """Check names, headers, label words, numbers of rows and their order; the first mistake is one sentence."""
    from kdbench.reporting import printing
    from kdbench.results import submission_zip

    server = submission_zip.find_server(SERVER)
    submission_zip.check_zip(user_path(file), server)
    printing.print_line(printing.make_console(), f"{file} is what {server.title}'s server takes.")


@command.command("import", short_help="Store the server's scores with the runs that they belong to.")
@click.argument("file", metavar="FILE.toml")
@click.option("--row", required=True, help="The method or variant that was exported.")
@click.option("--preset", help="The preset of the export, where there are several.")
@click.option("--seed", type=int, help="The seed of the export, where there are several.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def import_(file: str, row: str, preset: str | None, seed: int | None, results: str | None) -> None:
    """Read the scores that you copied from the server's page, in per cent, and the day:

    \b
    date = 2026-01-31
    MRPC = "88.9/84.8"     as the page prints it: F1/accuracy
    RTE = 66.4
    MNLI-m = 84.6
    MNLI-mm = 83.4

    They go to the runs of the last export of that row. Every task that it answered must be there; scores of tasks
    that were filled may be, and are left out.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.show_submission import tell_scores
    from kdbench.results import submission_records
    from kdbench.results.submission_zip import find_server

    store = printing.open_store(results, raw=True)
    found, before = submission_records.import_scores(store, find_server(SERVER), user_path(file), row, preset, seed)
    tell_scores(found, before, printing.make_console())
