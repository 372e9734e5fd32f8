"""`kdbench run`: train the runs that were asked for, then print the table."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli.results_option import results_option
from kdbench.core.atomic_files import user_path
from kdbench.core.formatting import count

if TYPE_CHECKING:
    from rich.table import Table
    from rich.tree import Tree

    from kdbench.core.toml_files import Layer
    from kdbench.planning.config import Config
    from kdbench.planning.executor import ExecutionRequest, Executor
    from kdbench.planning.exhibits import Request
    from kdbench.planning.plan import Plan

MANY_RUNS = 3000  # of more, the user is asked in any case
MAX_TREE_RUNS = 40  # of more, runs are counted, not drawn
MAX_SHARED_RUNS = 8  # shared runs that a dry run names


@click.command(short_help="Train methods on tasks, going on where an earlier run stopped.")
@click.option("--for", "wanted", metavar="NAME,...",
              help="The runs that tables and figures need, such as table1,figure3; or all.")  # fmt: skip
@click.option("--methods", help="all, other groups (paper, logits, features, everything), names such as kd,lgtm "
              "(kdbench list methods), or files such as ./mine.py (default: all).")  # fmt: skip
@click.option("--tasks", help="glue (default), all, or names such as mrpc,rte.")
@click.option("--data", metavar="FILE", help="Your own data: a file, a folder or hf:OWNER/NAME; see kdbench new-task.")
@click.option("--name", help="With --data: the name of its task (default: that of the file or its folder).")
@click.option("--dev", metavar="FILE", help="With --data: rows that select checkpoints.")
@click.option("--test", metavar="FILE", help="With --data: rows that tables report.")
@click.option("--text", metavar="COLUMN[,COLUMN]", help="With --data: the column of the texts, or two for pairs.")
@click.option("--label", metavar="COLUMN", help="With --data: the column of the labels.")
@click.option("--kind", help="With --data: classification or regression (default: by the labels).")
@click.option("--encoding", help="With --data: the encoding of text files (default: utf-8).")
@click.option("--seeds", help="0,1,2 or 0-4 (default: 0).")
@click.option("--preset", help="tiny (default), minilm, bert-6l, bert-4l (see: kdbench list presets).")
@click.option("--teacher", metavar="NETWORK", help="The teacher's network: a folder, a hub name, minilm or tiny-LxH.")
@click.option("--teacher-is-finetuned", is_flag=True,
              help="The teacher is already fine-tuned on the task: use it unchanged.")  # fmt: skip
@click.option("--teacher-outputs", metavar="FILE",
              help="A file with the teacher's logits or probabilities, in place of its network: .parquet, .npz, .csv, "
                   ".tsv or .jsonl.")  # fmt: skip
@click.option("--teacher-outputs-are", type=click.Choice(["auto", "logits", "probabilities"]),
              help="What the file holds (default: auto, by the name of a .npz matrix or by the numbers).")  # fmt: skip
@click.option("--student", metavar="NETWORK", help="The network that each student starts from.")
@click.option("--epochs", metavar="N[,...]", help="Passes over the training set. Several values make a grid.")
@click.option("--batch-size", metavar="N[,...]", help="Examples in a batch. Several values make a grid.")
@click.option(
    "--lr",
    "student_lr",
    metavar="RATE[,...]",
    help="The student's learning rate (the key student_lr). Several values make a grid.",
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE[,...]",
              help="Set KEY for all methods, METHOD.KEY for one method, teacher.KEY for the teacher's own training, or "
                   "EXECUTOR.KEY. Several values make a grid; of a key set twice the last value counts.")  # fmt: skip
@click.option("--glue-dir", metavar="DIR", help="Read GLUE from a folder in the classic layout.")
@click.option("--data-dir", metavar="DIR", help="Read declared tasks from folders by their names in this folder.")
@click.option(
    "--feedback",
    help="Source of feedback data: train:F (the share F of train, held out; default train:0.1) or validation.",
)
@click.option(
    "--selection", help="Data that select checkpoints and grid points: train:F (default train:0.1) or validation."
)
@results_option()
@click.option("--executor", metavar="NAME", help="local (default), or slurm: submit it to the cluster's queue.")
@click.option(
    "--jobs",
    metavar="N",
    help="Train N runs at once on this machine, each on its share of the cores (default: 0, one for each core of a "
    "CPU, as far as memory and the number of runs allow, and 1 on a GPU).",
)
@click.option("--device", help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--devices", metavar="DEVICE,...", help="Train one run at a time on each of these devices, such as cuda:0,cuda:1."
)
@click.option("--runs-per-job", metavar="N", help="Train N runs in each job of the queue (default: 1).")
@click.option("--precision", help="fp32, fp32-fast or bf16.")
@click.option("--offline", is_flag=True, help="Never use the network, not even for hub models or data.")
@click.option("--dry-run", is_flag=True, help="Show the graph of runs, the estimated cost and the jobs; train nothing.")
@click.option("--yes", is_flag=True, help="Start without asking.")
def command(wanted: str | None, sets: tuple[str, ...], dry_run: bool, yes: bool, offline: bool, **given: Any) -> int:
    """Train every method on every task with every seed. Teachers and other shared runs are trained once.

    Finished runs are skipped; interrupted runs are resumed. Settings can also be written into kdbench.toml in this
    folder; the command line wins. With --for, the tables and figures determine the settings that the command line
    leaves open. On a terminal, you are asked before training starts, unless you name methods and tasks (or --for);
    before thousands of runs you are always asked.
    """
    if offline:
        # libraries of Hugging Face read these variables when they are first imported
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"):
            os.environ[name] = "1"
    from kdbench.models.outputs_reference import outputs_teacher
    from kdbench.reporting.show_table import show_tables
    from kdbench.training.executors import sweep_record

    given["teacher_is_finetuned"] = given["teacher_is_finetuned"] or None
    given |= outputs_teacher(given.pop("teacher_outputs"), given.pop("teacher_outputs_are"), given["teacher"])
    _declare_data(given, write=not dry_run)
    requests, is_explicit = _execution_requests(wanted, sets, given)
    if dry_run:
        for executor, request in requests:
            _print_dry_run(executor, request)
        return 0
    # ask, where a person is there to answer
    is_large = sum(len(request.plan.runs) for _, request in requests) > MANY_RUNS
    needs_answer = not yes and (is_large or not is_explicit) and sys.stdin.isatty() and sys.stdout.isatty()
    if needs_answer and not _confirm_training(requests):
        click.echo("Nothing was begun.")
        return 0
    return sweep_record.start_requests(requests, show_tables)


def _declare_data(given: dict[str, Any], *, write: bool) -> None:
    """Make a task of the data that --data names, and ask for it; take the options of --data out of `given`."""
    own = {key: given.pop(key) or "" for key in ("data", "name", "dev", "test", "text", "label", "kind", "encoding")}
    if not own["data"]:
        if unread := [key for key, value in own.items() if value]:
            raise click.UsageError(f"--{unread[0]} describes the data of --data FILE; give that too.")
        return
    from kdbench.data.new_declaration import Wishes, declare, split_columns
    from kdbench.reporting import printing

    text, encoding = split_columns(own["text"]), own["encoding"] or "utf-8"
    made = declare(Wishes(own["data"], own["dev"], own["test"], text, own["label"], own["kind"], encoding, own["name"]))
    if write:
        made.write()
    wrote = f"{'wrote' if write else 'would write'} {made.path}: the task '{made.name}', which you can edit."
    for line in (*made.told, *([wrote] if made.is_new else [])):
        printing.print_line(printing.make_console(), line)
    given["tasks"] = f"{given['tasks']},{made.name}" if given["tasks"] else made.name


def _execution_requests(
    wanted: str | None, sets: tuple[str, ...], given: dict[str, Any]
) -> tuple[list[tuple[Executor, ExecutionRequest]], bool]:  # fmt: skip
    """Build the requests to execute one after the other, and tell whether the user named methods and tasks.

    Args:
        wanted: the argument of --for.
        sets: the arguments of --set.
        given: the other options of the command line by key; None where an option was not given.
    """
    from kdbench.core.console import make_console
    from kdbench.core.settings import Invocation
    from kdbench.planning import config
    from kdbench.planning.make_plan import check_all_read
    from kdbench.results.store import Store
    from kdbench.training.executors import sweep_record

    layer = config.parse_sets(sets, {k: v for k, v in given.items() if v is not None})
    plans = _plans_with_tables(wanted, layer)
    asked: Invocation = plans[0][1].group(Invocation)
    check_all_read(layer, [plan for plan, _, _ in plans], asked.executor, for_exhibit=wanted is not None)
    is_explicit = wanted is not None or plans[0][1].says("methods", "tasks")
    _warn_broken_methods(asked.methods)
    store, console = Store(user_path(asked.results), create=False), make_console()
    store.check_raw()
    return [
        sweep_record.build_request(merged, plan, store, console, tables) for plan, merged, tables in plans
    ], is_explicit


def _confirm_training(requests: Sequence[tuple[Executor, ExecutionRequest]]) -> bool:
    """Print what would be trained and its estimated cost, and ask; return True unasked if all runs are done."""
    from kdbench.planning import cost_estimate
    from kdbench.reporting import printing

    estimates = [cost_estimate.estimate_cost(request.plan, request.store) for _, request in requests]
    if not any(estimate.runs for estimate in estimates):
        return True
    for (_, request), estimate in zip(requests, estimates, strict=True):
        study, cells = request.plan.study, request.plan.cells
        rows, tasks = (", ".join(dict.fromkeys(names)) for names in ([c.row for c in cells], [c.task for c in cells]))
        text = f"Methods {rows} on {tasks}: {study.teacher} teaches {study.student}."
        for line in (text, *cost_estimate.estimate_lines(estimate)):
            printing.print_line(request.console, line)
    return click.confirm("Train them? (--dry-run shows more, --yes does not ask)", default=True)


def _plans_with_tables(wanted: str | None, layer: Layer) -> list[tuple[Plan, Config, tuple[str, ...]]]:
    """Make the plans, each with its settings and the tables to print when it is done.

    Several plans may share a preset; the tables of a preset are printed after the last of them.
    """
    from kdbench.core.registry import ALL
    from kdbench.core.settings import Invocation
    from kdbench.distill.method_registry import in_group
    from kdbench.planning import config, exhibits
    from kdbench.planning.make_plan import make_plan

    if wanted is None:
        merged = config.assemble_config(layer, Path.cwd())
        asked = make_plan(merged)
        usual = all(in_group(cell.row, ALL) for cell in asked.cells)
        return [(asked, merged, ("1",) if usual else ("scores",))]
    from kdbench.reporting.figures import FIGURES
    from kdbench.reporting.tables import TABLES

    # the requests of all tables and figures that were named, or of all that are about this preset
    found = exhibits.requests_by_name(wanted, (TABLES, FIGURES))
    named = [part.strip() for part in wanted.split(",")]
    if ALL in named:
        kept = _only_preset(found, config.assemble_config(layer, Path.cwd()).group(Invocation).preset)
        found = {name: some for name, some in found.items() if name in kept or name in named}
    # preset -> the tables that need it
    each = {name: exhibits.request_configs(some, layer, Path.cwd()) for name, some in found.items()}
    tables: dict[str, dict[str, None]] = {}
    for name in filter(TABLES.all().__contains__, each):
        for _, merged in each[name]:
            tables.setdefault(merged.group(Invocation).preset, {})[name] = None
    # requests on the same data and splits become one plan
    requests = [request for some in found.values() for request in some]
    made = exhibits.merge_plans(exhibits.request_configs(requests, layer, Path.cwd()))
    last = {plan.preset: i for i, (plan, _) in enumerate(made)}
    return [
        (plan, merged, tuple(tables.get(plan.preset, ())) if i == last[plan.preset] else ())
        for i, (plan, merged) in enumerate(made)
    ]


def _only_preset(found: Mapping[str, Sequence[Request]], preset: str) -> dict[str, Sequence[Request]]:
    """Leave out the tables and figures that are about another preset, and name them on standard error."""
    from kdbench.reporting.printing import make_console, print_line

    kept = {name: some for name, some in found.items() if {r.settings.get("preset", preset) for r in some} == {preset}}
    console = make_console(stderr=True)
    for name in (name for name in found if name not in kept):
        print_line(console, f"{name} is about another preset than {preset} and left out; ask for it with --for {name}.")
    return kept


def _warn_broken_methods(methods: str | list[str]) -> None:
    """Name on standard error the methods that a group may leave out because they do not load."""
    from kdbench.distill.method_registry import METHODS, method_groups
    from kdbench.reporting.printing import make_console, print_line

    asked = methods.split(",") if isinstance(methods, str) else methods
    for name, why in METHODS.broken.items() if set(method_groups()) & set(map(str.strip, asked)) else ():
        print_line(make_console(stderr=True), f"The method '{name}' is left out, because it does not load: {why}.")


def _print_dry_run(executor: Executor, request: ExecutionRequest) -> None:
    """Print the settings, the graph of runs from needed to needing, the counts, the estimated cost, and the jobs."""
    from kdbench.planning import cost_estimate
    from kdbench.reporting import printing
    from kdbench.training import preflight
    from kdbench.training.executors.changed_methods import changed_methods

    plan, store, console = request.plan, request.store, request.console
    for name in (request.execution.device, *request.devices):
        preflight.check_device_name(name)
    remarks = [*preflight.check_local(plan), *changed_methods(plan, store)]
    begun = (run for run in store.runs() if run.id in plan.runs)
    done = {run.id for run in begun if run.is_done(plan.runs[run.id].snapshots)}
    _print_settings(request)
    for line in remarks:
        printing.print_line(console, line)
    console.print(_run_tree(plan, done) if len(plan.runs) <= MAX_TREE_RUNS else _run_counts(plan, done))
    # runs that several others need, most needed first
    shared = plan.shared()
    verb = "serves" if len(shared) == 1 else "serve"
    serving = f"; {len(shared)} of them {verb} {count(sum(shared.values()), 'other')}" if shared else ""
    console.print(
        f"{count(len(plan.runs), 'run')} for {count(len(plan.cells), 'cell')}: {len(done)} done, "
        f"{len(plan.runs) - len(done)} to train{serving}."
    )
    most = sorted(shared.items(), key=lambda item: -item[1])
    for run, number in most[:MAX_SHARED_RUNS]:
        console.print(f"  {run} is trained once for {count(number, 'run')}", highlight=False)
    if len(most) > MAX_SHARED_RUNS:
        console.print(f"  and {len(most) - MAX_SHARED_RUNS} more")
    for line in cost_estimate.estimate_lines(cost_estimate.estimate_cost(plan, store)):
        printing.print_line(console, line)
    executor.preview(request)


def _print_settings(request: ExecutionRequest) -> None:
    """Print preset, networks, data, splits, and the values that each hyperparameter has in the plan."""
    plan, console = request.plan, request.console
    study = plan.study
    teacher = f"{study.teacher} (taken as it is)" if study.teacher_is_finetuned else study.teacher
    data = dict.fromkeys(spec.data for spec in plan.runs.values())
    places = dict.fromkeys(ref.path or ref.source for ref in data)
    console.print(
        f"preset {plan.preset}: {teacher} teaches {study.student}, data {', '.join(places)}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    kept = " (left out of every training)" if study.hold_out_feedback == "all" else ""
    console.print(f"feedback from {study.feedback}{kept}, selection on {study.selection}")
    # key -> its values over all cells, in order of appearance
    values: dict[str, dict[Any, None]] = {}
    for spec in (plan.runs[cell.run] for cell in plan.cells):
        own = {} if study.teacher_is_finetuned else spec.teacher_training
        for key, item in {**spec.training.model_dump(), **{f"teacher.{k}": v for k, v in own.items()}}.items():
            values.setdefault(key, {})[item] = None
    known = {key: [item for item in items if item is not None] for key, items in values.items()}
    texts = [f"{key}={', '.join(map(str, items))}" for key, items in known.items() if items]
    console.print("  " + "  ".join(texts), highlight=False)


def _run_tree(plan: Plan, done: set[str]) -> Tree:
    """Draw the runs as a tree; a run stands below each run that it needs."""
    from rich.tree import Tree

    from kdbench.core.spec import dependents

    children = dependents(plan.runs)
    # draw from the runs that need nothing
    tree = Tree("runs", hide_root=True)

    def grow(branch: Tree, run: str) -> None:
        node = branch.add(f"{run}{'  (done)' if run in done else ''}", highlight=False)
        for child in children.get(run, []):
            grow(node, child)

    for run, spec in plan.runs.items():
        if not spec.needs:
            grow(tree, run)
    return tree


def _run_counts(plan: Plan, done: set[str]) -> Table:
    """Count the runs, and those that are done, by task and method."""
    from rich.table import Table

    table = Table("task", "method", "runs", "done", box=None)
    counts = Counter((spec.task, spec.method) for spec in plan.runs.values())
    finished = Counter((plan.runs[run].task, plan.runs[run].method) for run in done)
    for (task, method), number in sorted(counts.items()):
        table.add_row(task, method, str(number), str(finished[task, method]))
    return table
