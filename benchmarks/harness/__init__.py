"""What the harness costs around the training: each file measures one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import many, startup, sweep


def play(rounds: int, runs: int = many.RUNS, *, whole_sweep: bool = False) -> Iterator[dict[str, Any]]:
    """Titles and seconds of every round.

    Args:
        runs: of the plan and of the table.
        whole_sweep: also train the tiny sweep, once, which takes minutes.
    """
    heavy = ", ".join(startup.imported()) or "neither torch nor transformers"
    yield _timed(f"`kdbench --help`, importing {heavy}", startup.measure, rounds)
    with TemporaryDirectory() as made:
        count = many.store(Path(made), runs)
        yield _timed(f"`kdbench run --dry-run` of {count} runs", lambda folder: many.measure_plan(folder, runs), rounds)
        yield _timed(f"`kdbench table 1` of {count} finished runs", lambda _: many.measure_table(Path(made)), rounds)
    if whole_sweep:
        yield _timed("`kdbench run --methods all --tasks glue`, from nothing to the table", sweep.measure, 1)


def _timed(title: str, measure: Callable[[Path], float], rounds: int) -> dict[str, Any]:
    """Each round in an empty folder."""
    seconds = []
    for _ in range(rounds):
        with TemporaryDirectory() as folder:
            seconds.append(measure(Path(folder)))
    return {"title": title, "seconds": seconds}
