"""`kdbench run`: train what was asked for, then show the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.config import Config
    from kdbench.executor import Executor, Order
    from kdbench.plan import Plan

STOPPED = 130  # the exit code after Ctrl-C


@click.command(short_help="Train methods on tasks, going on where an earlier run stopped.")
@click.option("--for", "wanted", metavar="NAME,...",
              help="The runs that tables and figures need, such as table1,figure3; or all.")  # fmt: skip
@click.option("--methods", help="all, or names such as kd,lgtm (kdbench list methods).")
@click.option("--tasks", help="glue, all, or names such as mrpc,rte.")
@click.option("--seeds", help="0,1,2 or 0-4.")
@click.option("--preset", help="tiny (default), minilm, bert-6l, bert-4l (see: kdbench list presets).")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE[,...]",
              help="A hyperparameter of all methods, METHOD.KEY or EXECUTOR.KEY; several values: a grid.")  # fmt: skip
@click.option("--glue-dir", metavar="DIR", help="Read GLUE from a folder in the classic layout.")
@click.option(
    "--feedback", help="What feedback comes from: train:F (a share held out; default train:0.1) or validation."
)
@click.option("--selection", help="What picks checkpoints and grid points: train:F (default train:0.1) or validation.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
@click.option("--executor", metavar="NAME", help="local (default), or slurm: submit it to the cluster's queue.")
@click.option("--jobs", metavar="N", help="Runs at once on this machine, each on its share of the cores (default: 1).")
@click.option("--device", help="auto, cpu, cuda or cuda:N.")
@click.option("--devices", metavar="DEVICE,...", help="One run at once on each of them, such as cuda:0,cuda:1.")
@click.option("--runs-per-job", metavar="N", help="Runs that one job of the queue carries (default: 1).")
@click.option("--precision", help="fp32, fp32-fast or bf16.")
@click.option("--offline", is_flag=True, help="Never ask the network, not even for hub models or data.")
@click.option("--dry-run", is_flag=True, help="Show the graph of runs, their cost and the jobs, and stop.")
def command(wanted: str | None, sets: tuple[str, ...], dry_run: bool, offline: bool, **given: Any) -> int:
    """Train every method on every task with every seed, and whatever teachers they need, each once.

    Done runs are skipped, interrupted ones go on. Settings may also stand in kdbench.toml in this folder;
    the command line wins. With --for, tables and figures say what is trained, as far as the command line does not.
    """
    if offline:
        _go_offline()
    orders = _orders(wanted, sets, given)
    if dry_run:
        for executor, order in orders:
            _dry_run(executor, order)
        return 0
    for executor, order in orders:
        for remark in executor.check(order):
            order.console.print(remark, highlight=False)
    return _carry_out(orders)


def _orders(wanted: str | None, sets: tuple[str, ...], given: dict[str, Any]) -> list[tuple[Executor, Order]]:
    """What is to be carried out, one after the other. Tables are shown after the last."""
    from kdbench import config, sweeps
    from kdbench.store import Store

    # options of the command line are keys like any other, stronger than --set of the same key
    layer = {**config.parse_sets(sets), **{k: v for k, v in given.items() if v is not None}}
    plans, tables = _plans(wanted, layer)
    results = plans[0][1].group(config.Invocation).results
    store, console = Store(Path(results).expanduser(), create=False), _console()
    store.check_raw()
    shown = [()] * (len(plans) - 1) + [tables]
    return [sweeps.order(c, plan, store, console, show) for (plan, c), show in zip(plans, shown, strict=True)]


def _plans(wanted: str | None, layer: dict[str, Any]) -> tuple[list[tuple[Plan, Config]], tuple[str, ...]]:
    """The plans, each with its settings, and the tables to show."""
    from kdbench import config, plan, requests

    if wanted is None:
        merged = config.assemble(layer, Path.cwd())
        return [(plan.make(merged), merged)], ("1",)
    from kdbench.figures import FIGURES
    from kdbench.tables import TABLES

    found = requests.named(wanted, (TABLES, FIGURES))
    each = [request for some in found.values() for request in some]
    tables = tuple(name for name in found if name in TABLES.all())
    return requests.plans(requests.configs(each, layer, Path.cwd())), tables


def _carry_out(orders: list[tuple[Executor, Order]]) -> int:
    from kdbench import sweeps

    for executor, order in orders:
        order.store.begin()
        sweeps.remember(executor, order)
    worst = 0
    for executor, order in orders:
        code = executor.carry_out(order)
        if code == STOPPED:
            return code
        worst = max(worst, code)
    return worst


def _go_offline() -> None:
    """The libraries read these when they are first imported."""
    import os

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"):
        os.environ[name] = "1"


def _console() -> Console:
    from rich.console import Console

    return Console()


def _dry_run(executor: Executor, order: Order) -> None:
    from kdbench import estimate, preflight
    from kdbench.views import printing
    from kdbench.views.plan import show

    preflight.check_local(order.plan)
    show(order.plan, order.store, order.console)
    for line in estimate.lines(estimate.estimate(order.plan, order.store)):
        printing.line(order.console, line)
    executor.preview(order)
