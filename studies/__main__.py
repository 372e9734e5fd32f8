"""`python -m studies FILE`: train a study part by part, collect it and write its page; see the Makefile."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from kdbench.analysis.study_page import TUNING
from kdbench.analysis.study_page.__main__ import write_page
from kdbench.core.errors import UserError
from kdbench.core.formatting import count, duration
from kdbench.results.store import Store
from kdbench.results.sweep_files import read_sweeps
from studies.declaration import Command, Rates, Study, check_data, part_commands, read_study
from studies.tuning import chosen_rates

DRY_RUN = "--dry-run"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=Path)
@click.option("--part", default="", help="One part of the study; all of them without.")
@click.option("--data-dir", default="", metavar="DIR", help="The folder with the folders of the data sets.")
@click.option("--list", "listed", is_flag=True, help="Print the commands and run none.")
@click.argument("more", nargs=-1)
def command(file: Path, part: str, data_dir: str, listed: bool, more: tuple[str, ...]) -> int:
    """Train the study that FILE declares, then collect it and write its page. It goes on where it stopped.

    MORE, after --, are further options of `kdbench run`, such as --jobs 2, or --dry-run, which trains nothing.
    """
    study = read_study(file)
    parts = study.select(part)
    if listed:
        for one in (one for name in parts for one in part_commands(study, name, data_dir, more, _rates(study))):
            click.echo(shlex.join(one.words))
        return 0
    check_data(study, parts, data_dir)
    for name in parts:
        if code := _train(part_commands(study, name, data_dir, more, _rates(study))):
            return code
    if DRY_RUN not in more:
        collect(study)
    return 0


def _rates(study: Study) -> Rates:
    """Return the rates that the kept tuning has chosen, or a tuning that was a part before."""
    return chosen_rates(Path("results") / f"{study.name}{TUNING}", Path(study.runs + TUNING))


def _train(commands: Sequence[Command]) -> int:
    """Run the commands of a part one after the other, and print the recorded times; return the first exit code."""
    for one in commands:
        click.echo(f"\n{shlex.join(one.words)}")
        if code := _kdbench(one.words[1:]):
            click.echo(f"Part {one.part} stopped at {one.task}. make study goes on there.", err=True)
            return code
    for one in commands if DRY_RUN not in commands[0].words else ():
        runs, seconds = recorded_time(one)
        click.echo(f"Part {one.part}, {one.task}: {count(runs, 'run')} with {duration(seconds)} of training in all.")
    return 0


def _kdbench(words: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-m", "kdbench", *words], check=False).returncode


def recorded_time(one: Command) -> tuple[int, float]:
    """Return the finished runs of a command and the sum of their recorded training times, in seconds."""
    store = Store(one.results, create=False)
    runs = {run for sweep in read_sweeps(store) if sweep.command == one.words for run in sweep.runs}
    costs = [cost for run in sorted(runs) if (cost := store.run(run).cost())]
    return len(costs), sum(float(cost["train_seconds"]) for cost in costs)


def collect(study: Study) -> None:
    """Join what is done, folder by folder, with what was collected before, and write the page.

    Raises:
        UserError: kdbench refuses to collect, as where a run ended otherwise in the earlier collection.
    """
    for ending in sorted({part.ending for part in study.parts.values()}):
        if (Path(study.runs + ending) / "store.json").is_file():
            out = Path("results") / f"{study.name}{ending}"
            words = ["collect", study.name + ending, "--results", study.runs + ending, "--out", str(out)]
            words += ["--results", str(out)] if out.is_dir() else []
            words += ["--without-logits", ",".join(study.without_logits)] if study.without_logits else []
            if _kdbench(words):
                raise UserError(
                    f"The results in {study.runs}{ending} were not collected. To collect them alone, without those in "
                    f"{out}, move {out} away and run make study again."
                )
    folder = Path("results") / study.name
    if folder.is_dir() and study.page:
        write_page(folder, Path(study.page))
        click.echo(f"Wrote {study.page}.")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        sys.exit(command(standalone_mode=False) or 0)
    except (UserError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"make study: {text}", file=sys.stderr)
        sys.exit(2)
