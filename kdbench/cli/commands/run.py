"""`kdbench run`: train what was asked for, then show the table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.core.atomic_files import user_path

if TYPE_CHECKING:
    from kdbench.planning.config import Config, Layer
    from kdbench.planning.executor import ExecutionRequest, Executor
    from kdbench.planning.exhibits import Request
    from kdbench.planning.plan import Plan

MANY_RUNS = 3000  # above, it asks in any case


@click.command(short_help="Train methods on tasks, going on where an earlier run stopped.")
@click.option("--for", "wanted", metavar="NAME,...",
              help="The runs that tables and figures need, such as table1,figure3; or all.")  # fmt: skip
@click.option("--methods", help="all, or names such as kd,lgtm (kdbench list methods), or files such as ./mine.py.")
@click.option("--tasks", help="glue, all, or names such as mrpc,rte.")
@click.option("--seeds", help="0,1,2 or 0-4.")
@click.option("--preset", help="tiny (default), minilm, bert-6l, bert-4l (see: kdbench list presets).")
@click.option("--teacher", metavar="NETWORK", help="The teacher's network: a folder, a hub name, minilm or tiny-LxH.")
@click.option("--teacher-is-finetuned", is_flag=True,
              help="It was fine-tuned on the task already: take it as it is.")  # fmt: skip
@click.option("--student", metavar="NETWORK", help="The network that each student starts from.")
@click.option("--epochs", metavar="N[,...]", help="Passes over the training set; several values: a grid.")
@click.option("--batch-size", metavar="N[,...]", help="Examples in a batch.")
@click.option("--lr", "student_lr", metavar="RATE[,...]", help="The student's learning rate (its key: student_lr).")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE[,...]",
              help="Any hyperparameter of all methods; METHOD.KEY of one, teacher.KEY of the teacher's own training, "
                   "EXECUTOR.KEY; several values: a grid.")  # fmt: skip
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
@click.option("--yes", is_flag=True, help="Do not ask before it begins.")
def command(wanted: str | None, sets: tuple[str, ...], dry_run: bool, yes: bool, offline: bool, **given: Any) -> int:
    """Train every method on every task with every seed, and whatever teachers they need, each once.

    Done runs are skipped, interrupted ones go on. Settings may also stand in kdbench.toml in this folder;
    the command line wins. With --for, tables and figures say what is trained, as far as the command line does not.
    On a terminal it asks before it begins, unless methods and tasks (or --for) are said, and before thousands of runs.
    """
    if offline:
        _go_offline()
    from kdbench.reporting.show_table import show_tables
    from kdbench.training.executors import sweep_record

    given["teacher_is_finetuned"] = given["teacher_is_finetuned"] or None
    orders, is_said = _orders(wanted, sets, given)
    if dry_run:
        for executor, order in orders:
            _dry_run(executor, order)
        return 0
    is_large = sum(len(order.plan.runs) for _, order in orders) > MANY_RUNS
    is_to_ask = not yes and (is_large or not is_said) and sys.stdin.isatty() and sys.stdout.isatty()
    if is_to_ask and not _agreed(orders):
        click.echo("Nothing was begun.")
        return 0
    sweep_record.check_requests(orders)
    for executor, order in orders:
        order.store.begin()
        sweep_record.store_sweep(executor, order)
    return sweep_record.execute_requests(orders, show_tables)


def _orders(
    wanted: str | None, sets: tuple[str, ...], given: dict[str, Any]
) -> tuple[list[tuple[Executor, ExecutionRequest]], bool]:  # fmt: skip
    """What is to be carried out, one after the other; and whether the user said which methods and tasks."""
    from kdbench.core.console import make_console
    from kdbench.core.settings import Invocation
    from kdbench.planning import config, config_check
    from kdbench.results.store import Store
    from kdbench.training.executors import sweep_record

    layer = config.parse_sets(sets, {k: v for k, v in given.items() if v is not None})
    plans = _plans(wanted, layer)
    asked: Invocation = plans[0][1].group(Invocation)
    rows = dict.fromkeys(cell.row for plan, _, _ in plans for cell in plan.cells)
    needs = any(spec.needs for plan, _, _ in plans for spec in plan.runs.values())
    config_check.check_read(layer, rows, asked.executor, has_teacher=needs or wanted is not None)
    is_said = wanted is not None or plans[0][1].says("methods", "tasks")
    _tell_left_out(asked.methods)
    results = asked.results
    store, console = Store(user_path(results), create=False), make_console()
    store.check_raw()
    return [sweep_record.build_request(merged, plan, store, console, tables) for plan, merged, tables in plans], is_said


def _agreed(orders: Sequence[tuple[Executor, ExecutionRequest]]) -> bool:
    """Show what would be trained, and ask; there is nothing to ask where nothing is left to train."""
    from kdbench.planning import cost_estimate
    from kdbench.reporting import printing

    found = [cost_estimate.estimate(order.plan, order.store) for _, order in orders]
    if not any(one.runs for one in found):
        return True
    for (_, order), one in zip(orders, found, strict=True):
        study, cells = order.plan.study, order.plan.cells
        names = [", ".join(dict.fromkeys(words)) for words in ([c.row for c in cells], [c.task for c in cells])]
        printing.line(order.console, f"Methods {names[0]} on {names[1]}: {study.teacher} teaches {study.student}.")
        for line in cost_estimate.lines(one):
            printing.line(order.console, line)
    return click.confirm("Train them? (--dry-run shows more, --yes does not ask)", default=True)


def _plans(wanted: str | None, layer: Layer) -> list[tuple[Plan, Config, tuple[str, ...]]]:
    """The plans, each with its settings and the tables to show: those of a preset after the last plan of it."""
    from kdbench.core.settings import Invocation
    from kdbench.planning import config, exhibits, plan

    if wanted is None:
        merged = config.assemble(layer, Path.cwd())
        return [(plan.make(merged), merged, ("1",))]
    from kdbench.reporting.figures import FIGURES
    from kdbench.reporting.tables import TABLES

    found = exhibits.named(wanted, (TABLES, FIGURES))
    named = [part.strip() for part in wanted.split(",")]
    if exhibits.ALL in named:
        kept = _of_preset(found, config.assemble(layer, Path.cwd()).group(Invocation).preset)
        found = {name: some for name, some in found.items() if name in kept or name in named}
    each = {name: exhibits.configs(some, layer, Path.cwd()) for name, some in found.items()}
    tables: dict[str, dict[str, None]] = {}  # by preset
    for name in filter(TABLES.all().__contains__, each):
        for _, merged in each[name]:
            tables.setdefault(merged.group(Invocation).preset, {})[name] = None
    made = exhibits.plans(exhibits.configs([r for some in found.values() for r in some], layer, Path.cwd()))
    last = {plan.preset: i for i, (plan, _) in enumerate(made)}
    return [
        (plan, merged, tuple(tables.get(plan.preset, ())) if i == last[plan.preset] else ())
        for i, (plan, merged) in enumerate(made)
    ]


def _of_preset(found: Mapping[str, Sequence[Request]], preset: str) -> dict[str, Sequence[Request]]:
    """Without the tables that are about another preset, of which it tells."""
    from kdbench.reporting.printing import line, make_console

    kept = {name: some for name, some in found.items() if {r.settings.get("preset", preset) for r in some} == {preset}}
    for name in found.keys() - kept.keys():
        console = make_console(stderr=True)
        line(console, f"{name} is about another preset than {preset} and left out; ask for it with --for {name}.")
    return kept


def _tell_left_out(methods: str | list[str]) -> None:
    """Name the methods that `all` leaves out because they do not load."""
    from kdbench.distill.method import METHODS
    from kdbench.reporting.printing import line, make_console

    asked = methods.split(",") if isinstance(methods, str) else methods
    for name, why in METHODS.broken.items() if "all" in map(str.strip, asked) else ():
        line(make_console(stderr=True), f"The method '{name}' is left out, because it does not load: {why}.")


def _go_offline() -> None:
    """The libraries read these when they are first imported."""
    import os

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"):
        os.environ[name] = "1"


def _dry_run(executor: Executor, order: ExecutionRequest) -> None:
    from kdbench.planning import cost_estimate
    from kdbench.reporting import printing
    from kdbench.reporting.show_plan import show
    from kdbench.training import preflight

    for name in (order.execution.device, *order.devices):
        preflight.check_device_name(name)
    preflight.check_local(order.plan)
    show(order.plan, order.store, order.console)
    for line in cost_estimate.lines(cost_estimate.estimate(order.plan, order.store)):
        printing.line(order.console, line)
    executor.preview(order)
