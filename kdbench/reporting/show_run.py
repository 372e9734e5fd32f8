"""Find a run by a part of its name, and print everything about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.core.formatting import ago, count, duration, size, value
from kdbench.core.spec import RunSpec, dependents
from kdbench.planning import reproduce
from kdbench.reporting import printing, provenance
from kdbench.reporting.run_status import RunStatuses
from kdbench.reporting.show_status import describe_progress
from kdbench.results import class_use
from kdbench.results.read_studies import asked_runs, read, studies
from kdbench.results.store import Store
from kdbench.results.study import Run, StudyResults, task_title
from kdbench.results.sweep_files import Sweep, read_sweeps

TAIL = 15  # lines of error.txt


def find_run(store: Store, text: str, *, methods: bool = False) -> Run:
    """Return the run whose name contains `text`, begun or not.

    Args:
        methods: the user may have meant the name of a method, so errors list methods too.

    Raises:
        UserError: no run, or several runs, have it in their names.
    """
    # a run that was asked for may not have begun
    asked = asked_runs(store)
    begun = {run.id for run in store.runs()}
    waiting = [run_id for run_id in asked if text in run_id]
    if not any(text in run_id for run_id in begun) and len(waiting) == 1:
        return asked[waiting[0]]
    # the user may have meant a method
    if methods and not waiting and not any(text in run_id for run_id in begun):
        from kdbench.reporting.show_method import unknown_name

        raise unknown_name(text, sorted({*asked, *begun})[:12])
    folder = store.find(text)
    return asked.get(folder.id) or read(folder, folder.spec)


def with_dependents(run_ids: Iterable[str], known: Mapping[str, Run]) -> list[str]:
    """Return the runs and all runs that need them, directly or not, sorted."""
    wanted = set(run_ids)
    grown = True
    while grown:
        more = {run_id for run_id, run in known.items() if wanted & set(run.spec.needs.values())}
        grown = not more <= wanted
        wanted |= more
    return sorted(wanted)


def show_run(run: Run, store: Store, console: Console) -> None:
    """Print status, scores, facts, relations, cost and files of a run, and the commands that reproduce it."""
    found = studies(store)
    study = next((s for s in reversed(found) if run.id in s.runs), None)
    statuses = RunStatuses(store)
    _head(run, study, statuses, console)
    if run.result is not None:
        console.print()
        printing.print_table(console, _scores(run))
        for warning in class_use.collapse_warnings(run.class_use, run.task.labels):
            printing.print_line(console, warning, "yellow")
    for title, values in provenance.run_facts(run).items():
        print_group(title, values, console)
    print_group("Needs and is needed", _relations(run, found, statuses), console)
    print_group("Cost and machine", _machine(run), console)
    print_group("Files", {"collected in": store.root} if store.is_collected else _files(run), console)
    _again(run, study, read_sweeps(store), console)


def _head(run: Run, study: StudyResults | None, statuses: RunStatuses, console: Console) -> None:
    """Print the id and status of a run, and its progress or what went wrong."""
    # id, status, method, task and seed
    spec, state = run.spec, run.state
    stands = statuses.status_of(study, run)
    printing.print_line(
        console, Text.assemble((run.id, "bold"), "  ", (stands, printing.STATUS_STYLES.get(stands, "")))
    )
    printing.print_line(console, f"{spec.method} on {task_title(spec.task)}, seed {spec.seed}")
    if problem := _file_problem(spec):
        printing.print_line(console, problem, "yellow")
    # what a run that is not done waits for, or where it stopped
    if stands == "blocked":
        printing.print_line(console, provenance.describe_problem(run, study))
    elif stands == "running":
        printing.print_line(console, describe_progress(run))
    elif stands == "interrupted":
        printing.print_line(console, f"Stopped at step {state.step} of {state.total}, {ago(state.updated)}.")
    elif stands == "failed":
        printing.print_line(console, provenance.describe_problem(run, study), "red")
        # the end of the stored traceback, if there is one
        count, lines = error_tail(run)
        if lines:
            cut = f" (last {TAIL} of {count} lines)" if count > TAIL else ""
            printing.print_line(console, f"{run.folder.path / 'error.txt'}{cut}:", "dim")
            for text in lines:
                printing.print_line(console, f"  {text}", "dim")


def _file_problem(spec: RunSpec) -> str:
    """Say that the file of the run's method is missing or has changed; "" where it is the same, or a version tells."""
    change = spec.method_file.find_change() if spec.method_file else ""
    return f"The file of its method, {spec.method_file.subject}, {change}." if spec.method_file and change else ""


def error_tail(run: Run) -> tuple[int, list[str]]:
    """Return the number of lines of the stored traceback, and the last lines."""
    file = run.folder.path / "error.txt"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    return len(lines), lines[-TAIL:]


def _scores(run: Run) -> Table:
    """Build the table of scores: checkpoints by splits."""
    table, (head, rows) = printing.make_table(), score_rows(run)
    for name in head:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def score_rows(run: Run) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of scores: checkpoints by splits.

    Scores are in per cent, losses in nats. A last column says which classes are predicted, where that is known.
    """
    assert run.result is not None
    # predicted classes of each network, if known
    result, use = run.result, run.class_use
    splits = list(result["best"]["report"])
    rows = []
    used = [
        "; ".join(dict.fromkeys(one.words(run.task.labels) for one in use.get(name, {}).values()))
        for name in ("best", "last", *(["teacher"] if result.get("teacher") else []))
    ]
    # checkpoints of the student, then the teacher
    for name in ("best", "last"):
        part = result[name]
        values = [_metrics(part["selection"]), *(_metrics(part["report"][split]) for split in splits)]
        rows.append([name, str(part["step"]), *values])
    if result.get("teacher"):
        rows.append(
            ["teacher, last", str(result["last"]["step"]), "", *(_metrics(result["teacher"][s]) for s in splits)]
        )
    # the last column only where something is known
    head = ["checkpoint", "step", "selection", *splits]
    if any(used):
        head.append("predicts")
        rows = [[*row, text] for row, text in zip(rows, used, strict=True)]
    return head, rows


def _metrics(values: Mapping[str, float]) -> str:
    """Format scores in per cent with one digit, and losses in nats with three."""
    return "  ".join(f"{key} {v:.3f}" if key == "loss" else f"{key} {100 * v:.1f}" for key, v in values.items())


def print_group(title: str, values: Mapping[str, Any], console: Console) -> None:
    """Print a heading with named values below it; nothing where no value is known."""
    known = {key: item for key, item in values.items() if item is not None}
    if not known:
        return
    printing.print_heading(console, title)
    space = max(map(len, known)) + 2
    for key, item in known.items():
        printing.print_line(console, f"  {key:<{space}}{value(item)}")


def _relations(run: Run, found: list[StudyResults], statuses: RunStatuses) -> dict[str, str]:
    """Return the needed runs by role with their statuses, and the runs that need this one."""
    known = {run_id: (study, other) for study in found for run_id, other in study.runs.items()}
    out = {}
    for role, parent in run.spec.needs.items():
        stands = f"  {statuses.status_of(*known[parent])}" if parent in known else ""
        out[f"needs, as {role}"] = f"{parent}{stands}"
    children = dependents({run_id: other.spec for run_id, (_, other) in known.items()})
    if run.id in children:
        out["needed by"] = ", ".join(children[run.id])
    return out


def _machine(run: Run) -> dict[str, Any]:
    """Return cost (time, passes a row, peak memory) and machine of a run; {} where no machine was recorded."""
    there = provenance.machine_facts(run)
    if not there:
        return {}
    cost = provenance.cost_numbers(run)
    spent = None
    if {"train_seconds", "steps"} <= cost.keys():
        spent = f"{duration(cost['train_seconds'])} for {count(int(cost['steps']), 'step')}"
    passes = [
        f"{name.removeprefix('passes ')} {rows / cost['rows']:.2g}"
        for name, rows in cost.items()
        if name.startswith("passes ")
    ]
    peak = f"{size(cost['peak_memory'])} at its highest" if "peak_memory" in cost else None
    return {"training": spent, "passes a row": ", ".join(passes) or None, "memory": peak, **there}


def _files(run: Run) -> dict[str, str]:
    """Return the sizes of the files in the run's folder; of a folder the sum."""
    path = run.folder.path
    if not path.is_dir():
        return {}
    sizes = {}
    for item in sorted(path.iterdir()):
        parts = [item] if item.is_file() else [p for p in item.rglob("*") if p.is_file()]
        if item.name != "lock":
            sizes[item.name + "/" * item.is_dir()] = size(sum(p.stat().st_size for p in parts))
    return {"folder": str(path), **sizes}


def _again(run: Run, study: StudyResults | None, known: list[Sweep], console: Console) -> None:
    """Print the command for this run alone, and the stored commands that asked for it. They also resume the run."""
    if study:
        printing.print_heading(console, "Make it again")
        printing.print_line(console, f"  {shlex.join(reproduce.run_command(run, study))}")
    commands, asked = reproduce.stored_commands(run.id, known)
    if not commands:
        printing.print_heading(console, "No stored command asks for this run.", "")
        return
    print_commands("Made by" if asked else "Made because other runs need it, by", map(shlex.join, commands), console)


def print_commands(title: str, commands: Iterable[str], console: Console) -> None:
    """Print the stored commands that asked for runs below a heading."""
    printing.print_heading(console, title)
    for text in commands:
        printing.print_line(console, f"  {text}")
    printing.print_note(console, "(with the kdbench.toml of the folder it ran in, if there was one)")
