"""`kdbench measure`: measure trained networks in use, for `kdbench table deploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Measure size, speed and 8-bit forms of trained networks.")
@click.argument("rows", default="all")
@click.option("--seed", type=int, help="The seed whose network is measured (default: the first that is done).")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of every form.")
@click.option("--seconds", type=click.FloatRange(0), default=2.0, show_default=True,
              help="About how long each latency is measured.")  # fmt: skip
@click.option("--again", is_flag=True, help="Measure networks again that were measured before.")
@study_options("methods", tasks="Tasks to measure (default: all tasks of the study).")
@results_option()
def command(
    rows: str, seed: int | None, threads: int, seconds: float, again: bool, choice: StudyChoice, results: str | None
) -> None:  # fmt: skip
    """Measure the networks of ROWS (`kd,lgtm`, or all), and the teacher's, on this CPU.

    Counted are parameters and operations, measured are latency and throughput at the task's own lengths, and size. With
    the extra `deploy` the same is done for ONNX and for ONNX with 8-bit weights, with their change in score. Results go
    into the folders of the runs, for kdbench table deploy and kdbench figure pareto. Nothing else should run meanwhile.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.measure_rows import measure_rows

    store = printing.open_store(results, raw=True)
    measure_rows(store, rows, seed, threads, seconds, choice, printing.make_console(), again=again)
