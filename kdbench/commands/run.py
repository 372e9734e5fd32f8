"""`kdbench run`: train what was asked for, then show the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.plan import Plan
    from kdbench.schedule import Outcome
    from kdbench.settings import Execution, Recording
    from kdbench.store import Store


@click.command(short_help="Train methods on tasks, going on where an earlier run stopped.")
@click.option("--methods", help="all, or names such as kd,lgtm (kdbench list methods).")
@click.option("--tasks", help="glue, all, or names such as mrpc,rte.")
@click.option("--seeds", help="0,1,2 or 0-4.")
@click.option("--preset", help="tiny (default), minilm, bert-6l, bert-4l (see: kdbench list presets).")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE[,...]",
              help="A hyperparameter of all methods, or METHOD.KEY; several values: a grid.")  # fmt: skip
@click.option("--glue-dir", metavar="DIR", help="Read GLUE from a folder in the classic layout.")
@click.option(
    "--feedback", help="What feedback comes from: train:F (a share held out; default train:0.1) or validation."
)
@click.option("--selection", help="What picks checkpoints and grid points: train:F (default train:0.1) or validation.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
@click.option("--jobs", metavar="N", help="Runs at once, each on its share of the cores (default: 1).")
@click.option("--device", help="auto, cpu, cuda or cuda:N.")
@click.option("--devices", metavar="DEVICE,...", help="One run at once on each of them, such as cuda:0,cuda:1.")
@click.option("--precision", help="fp32, fp32-fast or bf16.")
@click.option("--offline", is_flag=True, help="Never ask the network, not even for hub models or data.")
@click.option("--dry-run", is_flag=True, help="Show the graph of runs and stop.")
def command(sets: tuple[str, ...], dry_run: bool, offline: bool, **given: Any) -> int:
    """Train every method on every task with every seed, and whatever teachers they need, each once.

    Done runs are skipped, interrupted ones go on. Settings may also stand in kdbench.toml in this folder;
    the command line wins.
    """
    if offline:
        _go_offline()
    plan, config = _plan(sets, given)
    from kdbench.config import Invocation
    from kdbench.settings import Recording
    from kdbench.store import Store

    recording = config.group(Recording)
    folder = Path(config.group(Invocation).results).expanduser()
    console = _console()
    if dry_run:
        _dry_run(plan, Store(folder, create=False), console)
        return 0
    from kdbench import pool, preflight

    executions = pool.executions(config)
    for remark in preflight.check(plan, executions):
        console.print(remark, highlight=False)
    store = Store(folder)
    _remember(plan, store)
    return _close(plan, store, _train(plan, store, executions, recording, console), console)


def _train(
    plan: Plan, store: Store, executions: Sequence[Execution], recording: Recording, console: Console
) -> Outcome:
    """In this process, or in several at once."""
    from kdbench import pool
    from kdbench.serial import run_all
    from kdbench.views.boards import board_for

    with board_for(plan, console) as board:
        if len(executions) == 1:
            return run_all(plan, store, executions[0], recording, board)
        return pool.run_pool(plan, store, executions, recording, board)


def _go_offline() -> None:
    """The libraries read these when they are first imported."""
    import os

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"):
        os.environ[name] = "1"


def _plan(sets: tuple[str, ...], given: dict[str, Any]) -> tuple[Plan, Any]:
    from kdbench import config, plan

    # options of the command line are keys like any other, stronger than --set of the same key
    layer = {**config.parse_sets(sets), **{k: v for k, v in given.items() if v is not None}}
    merged = config.assemble(layer, Path.cwd())
    return plan.make(merged), merged


def _console() -> Console:
    from rich.console import Console

    return Console()


def _remember(plan: Plan, store: Store) -> None:
    """Write down what was asked for, so completely that it can be shown without importing a method."""
    from dataclasses import asdict

    from kdbench.config import owner
    from kdbench.plan import model_ref

    rows = {row: owner(row) for row in sorted({cell.row for cell in plan.cells})}
    titles = {row: method.variants[row][0] if row in method.variants else method.title for row, method in rows.items()}
    store.add_sweep(
        plan.id,
        {
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": ["kdbench", *sys.argv[1:]],
            "preset": plan.preset,
            "study": plan.study.model_dump(mode="json"),
            "models": {role: model_ref(getattr(plan.study, role)).fingerprint for role in ("student", "teacher")},
            "rows": {row: {"title": titles[row], "position": method.position} for row, method in rows.items()},
            "cells": [asdict(cell) for cell in plan.cells],
            "runs": {run: spec.model_dump(mode="json") for run, spec in plan.runs.items()},
        },
    )


def _dry_run(plan: Plan, store: Store, console: Console) -> None:
    from kdbench import preflight
    from kdbench.views.plan import show

    preflight.check_local(plan)
    show(plan, store, console)


def _close(plan: Plan, store: Store, outcome: Outcome, console: Console) -> int:
    """The last lines: what happened, the table, and what to do next."""
    from kdbench.views.table import show_table

    if outcome.stopped:
        console.print("Stopped; nothing is lost. The same command goes on where it stopped.")
        return 130
    show_table("1", store, plan.preset, "terminal", console)
    console.print(
        f"{len(outcome.trained)} trained, {len(outcome.done)} done before, {len(outcome.failed)} failed, "
        f"{len(outcome.blocked)} held back, {len(outcome.elsewhere)} left to another process."
    )
    for run, why in outcome.failed.items():
        console.print(f"  {run}: {why}", markup=False, soft_wrap=True)
    for run, parent in outcome.blocked.items():
        console.print(f"  {run} waits for {parent}", markup=False, soft_wrap=True)
    for run in outcome.elsewhere:
        console.print(f"  {run} is left to another process", markup=False, soft_wrap=True)
    return 1 if outcome.failed or outcome.blocked else 0
