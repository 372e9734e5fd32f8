"""`python -m benchmarks`: measure, keep the figures, write the tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from benchmarks import (
    bill,
    effects,
    embedding,
    harness,
    products,
    report,
    rounds,
    side_by_side,
    study,
    suites,
    whole_study,
)
from benchmarks.harness import many
from benchmarks.work import Work, check, training_rows
from kdbench.core.atomic_files import write_json
from kdbench.core.environment import environment
from kdbench.core.errors import UserError

STEPS = 38  # a third of an epoch of MRPC
WARMUP = 4
ALONE = ("effects", "embedding", "side-by-side", "whole-study")  # not in `all`
PARTS = ("products", *suites.SUITES, "study", "harness")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("what", type=click.Choice([*PARTS, "all", *ALONE, "report"]))
@click.option("--glue-dir", metavar="DIR", default="", help="Read MRPC from a folder in the classic GLUE layout.")
@click.option("--data-dir", metavar="DIR", default="", help="Read TREC from DIR/trec, for the parts on short texts.")
@click.option("--rounds", "number", metavar="N", default=5, type=click.IntRange(1), help="Interleaved rounds.")
@click.option("--steps", metavar="N", default=STEPS, help="Timed steps; LGTM and Meta Distill make a third of them.")
@click.option("--warmup", metavar="N", default=WARMUP, type=click.IntRange(1), help="Steps before them.")
@click.option("--threads", metavar="N", default=os.cpu_count(), type=click.IntRange(1), help="CPU threads.")
@click.option("--teacher", default=Work.teacher, help="As kdbench names networks.")
@click.option("--student", default=Work.student, help="As kdbench names networks.")
@click.option("--runs", metavar="N", default=many.RUNS, type=click.IntRange(1), help="Of the plan, of the table.")
@click.option("--sweep", is_flag=True, help="Also the tiny sweep of all methods, which takes minutes.")
@click.option("--out", metavar="DIR", default="build/benchmark", type=Path, help="Where figures and tables go.")
def command(what: str, number: int, runs: int, sweep: bool, out: Path, **given: Any) -> None:
    """Measure a part or all of them; write speed.md from whatever DIR has. README.md says what each part is.

    The effects are those of the faster settings on results, over as many seeds as there are rounds.
    """
    wanted = {"all": tuple(p for p in PARTS if p != "runner"), "report": ()}.get(what, (what,))
    for name in ("glue_dir", "data_dir"):
        given[name] = str(Path(given[name]).expanduser().resolve()) if given[name] else ""
    work = Work(seed=0, **given)
    chosen = {name: suites.SUITES[name] for name in wanted if name in suites.SUITES}
    for suite in chosen.values():
        suites.check_packages(suite)
        check(suites.shared(suite, work))
    if "products" in wanted:
        _keep(products.play(work, number), work, out / "products.json")
    for name, suite in chosen.items():
        its = suites.shared(suite, work)
        _keep(rounds.play(suite, its, number), its, out / f"{name}.json")
    if "study" in wanted:
        _keep(iter([study.measure(work)]), work, out / "study.json")
    if "embedding" in wanted:
        _keep(embedding.play(work, steps=number * work.steps), work, out / "embedding.json")
    if "side-by-side" in wanted:
        shares = side_by_side.shares(work.threads)
        _keep(side_by_side.play(work, number, shares), work, out / "side-by-side.json")
    if "whole-study" in wanted:
        _keep(whole_study.play(work, work.steps), work, out / "whole-study.json")
    if "effects" in wanted:
        _keep(effects.play(work, number, (out / "effects").resolve()), work, out / "effects.json")
    if "harness" in wanted:
        measured: list[dict[str, Any]] = []
        for found in _told(harness.play(number, runs, whole_sweep=sweep)):
            measured.append(found)
            write_json(out / "harness.json", {"environment": environment("cpu"), "measured": measured})
    click.echo(report.write(out))
    if (out / "study.json").exists():
        click.echo(bill.write(out))


def _keep(found: Iterable[dict[str, Any]], work: Work, file: Path) -> None:
    """Store what is measured, after every measurement."""
    measured = []
    for one in _told(found):
        measured.append(one)
        stored = {"work": work.as_json(), "rows": training_rows(work), "environment": environment("cpu")}
        write_json(file, {**stored, "measured": measured})


def _told(found: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Each with a line for who waits."""
    for one in found:
        click.echo(", ".join(f"{key} {value}" for key, value in one.items()), err=True)
        yield one


if __name__ == "__main__":
    try:
        sys.exit(command(standalone_mode=False) or 0)
    except (UserError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"benchmarks: {text}", file=sys.stderr)
        sys.exit(2)
