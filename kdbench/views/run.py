"""Everything about one run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.errors import UserError
from kdbench.results import Run, StudyResults, Sweep, studies, sweeps, task_title
from kdbench.spec import RunSpec
from kdbench.store import Store
from kdbench.views import printing
from kdbench.views.standing import Standings
from kdbench.views.status import progress

TAIL = 15  # lines of error.txt


def find(store: Store, text: str, *, methods: bool = False) -> Run:
    """The run whose name contains `text`, begun or only asked for.

    Args:
        methods: `text` might have been meant as the name of a method.

    Raises:
        UserError: none or several do.
    """
    asked = {run_id: run for study in studies(store) for run_id, run in study.runs.items()}
    begun = {run.id for run in store.runs()}
    waiting = [run_id for run_id in asked if text in run_id]
    if not any(text in run_id for run_id in begun) and len(waiting) == 1:
        return asked[waiting[0]]
    if methods and not waiting and not any(text in run_id for run_id in begun):
        from kdbench.views.method import unknown_name

        raise unknown_name(text, sorted({*asked, *begun})[:12])
    folder = store.find(text)
    return asked.get(folder.id) or Run(folder.spec, folder, folder.state())


def with_children(run_ids: Iterable[str], known: Mapping[str, Run]) -> list[str]:
    """The runs, and all that need them, directly or not."""
    wanted = set(run_ids)
    grown = True
    while grown:
        more = {run_id for run_id, run in known.items() if wanted & set(run.spec.needs.values())}
        grown = not more <= wanted
        wanted |= more
    return sorted(wanted)


def show(run: Run, store: Store, console: Console) -> None:
    """Print what the run is, how it stands, what it gave, and how to make it again."""
    found = studies(store)
    study = next((s for s in reversed(found) if run.id in s.runs), None)
    standings = Standings(store)
    _head(run, study, standings, console)
    if run.result is not None:
        console.print()
        printing.print_table(console, _scores(run.result))
    for title, values in _groups(run.spec, run.result).items():
        _group(title, values, console)
    _group("Needs and is needed", _relations(run, found, standings), console)
    _group("Cost and machine", _machine(run), console)
    _group("Files", {"collected in": store.root} if store.is_collected else _files(run), console)
    _again(run, sweeps(store), console)


def _head(run: Run, study: StudyResults | None, standings: Standings, console: Console) -> None:
    spec, state = run.spec, run.state
    stands = standings.word(study, run)
    printing.line(console, Text.assemble((run.id, "bold"), "  ", (stands, printing.STYLES.get(stands, ""))))
    printing.line(console, f"{spec.method} on {task_title(spec.task)}, seed {spec.seed}")
    blocker = study.blocker(run) if study else None
    if blocker:
        printing.line(console, f"It waits for {blocker.id}, which failed.")
    if stands == "running":
        printing.line(console, progress(state))
    elif stands == "interrupted":
        printing.line(console, f"Stopped at step {state.step} of {state.total}, {printing.ago(state.updated)}.")
    elif stands == "failed":
        printing.line(
            console, f"{state.kind or 'failed'}: {' '.join(state.message.split()) or 'no reason given'}", "red"
        )
        _tail(run, console)


def _tail(run: Run, console: Console) -> None:
    """The end of the stored traceback, where there is one."""
    file = run.folder.path / "error.txt"
    if file.exists():
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        cut = f" (last {TAIL} of {len(lines)} lines)" if len(lines) > TAIL else ""
        printing.line(console, f"{file}{cut}:", "dim")
        for text in lines[-TAIL:]:
            printing.line(console, f"  {text}", "dim")


def _scores(result: Mapping[str, Any]) -> Table:
    """Checkpoints by splits; scores in per cent, losses in nats."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    splits = list(result["best"]["report"])
    for name in ("checkpoint", "step"):
        table.add_column(name, no_wrap=True)
    for name in ("selection", *splits):
        table.add_column(name, no_wrap=True)
    for name in ("best", "last"):
        part = result[name]
        values = [_metrics(part["selection"]), *(_metrics(part["report"][split]) for split in splits)]
        table.add_row(name, str(part["step"]), *values)
    if result.get("teacher"):
        table.add_row(
            "teacher, last", str(result["last"]["step"]), "", *(_metrics(result["teacher"][s]) for s in splits)
        )
    return table


def _metrics(values: Mapping[str, float]) -> str:
    return "  ".join(f"{key} {v:.3f}" if key == "loss" else f"{key} {100 * v:.1f}" for key, v in values.items())


def _groups(spec: RunSpec, result: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The spec, and the sizes that it led to, as groups of named values."""
    rows = (result or {}).get("rows", {})
    splits = {"selection": spec.selection, "feedback": spec.feedback}
    data = {"source": spec.data.source, "folder": spec.data.path, "fingerprint": spec.data.fingerprint}
    return {
        "Settings": spec.training.model_dump(),
        f"Options of {spec.method} (version {spec.method_version})": spec.options,
        "Models": {role: f"{ref.name}  ({ref.fingerprint})" for role, ref in
                   (("student", spec.student), ("teacher, trained along", spec.teacher)) if ref},
        "Data": data,
        "Splits": {**splits, "rows": "  ".join(f"{name} {n}" for name, n in rows.items()) or None},
    }  # fmt: skip


def _group(title: str, values: Mapping[str, Any], console: Console) -> None:
    """A heading, and what there is below it; nothing for nothing."""
    known = {key: item for key, item in values.items() if item is not None}
    if not known:
        return
    console.print()
    printing.line(console, title, "bold")
    space = max(map(len, known)) + 2
    for key, item in known.items():
        printing.line(console, f"  {key:<{space}}{printing.value(item)}")


def _relations(run: Run, found: list[StudyResults], standings: Standings) -> dict[str, str]:
    """Parents by role, and children."""
    known = {run_id: (study, other) for study in found for run_id, other in study.runs.items()}
    out = {}
    for role, parent in run.spec.needs.items():
        stands = f"  {standings.word(*known[parent])}" if parent in known else ""
        out[f"needs, as {role}"] = f"{parent}{stands}"
    children = [run_id for run_id, (_, other) in known.items() if run.id in other.spec.needs.values()]
    if children:
        out["needed by"] = ", ".join(children)
    return out


def _machine(run: Run) -> dict[str, Any]:
    """What was written when it began, and what it cost."""
    try:
        there = run.folder.environment()
    except (OSError, UserError):
        return {}
    try:
        cost = run.folder.cost()
        spent = f"{printing.duration(cost['train_seconds'])} for {printing.count(cost['steps'], 'step')}"
    except (OSError, UserError, KeyError):
        spent = None
    packages = "  ".join(f"{name} {version}" for name, version in (there.get("packages") or {}).items())
    commit = f", commit {there['commit']}" if there.get("commit") else ""
    return {
        "training": spent,
        "host": run.state.host or None,
        "job": run.state.job or None,
        "device": f"{there.get('device')}  {there.get('gpu') or there.get('cpu')}",
        "cores, threads": f"{there.get('cores')}, {there.get('threads')}",
        "kdbench": f"{there.get('kdbench')}{commit}",
        "python": f"{there.get('python')}  {there.get('platform')}",
        "packages": packages,
    }


def _files(run: Run) -> dict[str, str]:
    """Names and sizes; of a folder the sum."""
    path = run.folder.path
    if not path.is_dir():
        return {}
    sizes = {}
    for item in sorted(path.iterdir()):
        parts = [item] if item.is_file() else [p for p in item.rglob("*") if p.is_file()]
        if item.name != "lock":
            sizes[item.name + "/" * item.is_dir()] = _size(sum(p.stat().st_size for p in parts))
    return {"folder": str(path), **sizes}


def _size(number: int) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number //= 1000
    return f"{number} GB"


def _again(run: Run, known: list[Sweep], console: Console) -> None:
    """The stored commands that ask for this run; done runs are skipped, so they also go on with it."""
    asked = [sweep for sweep in known if run.id in {cell.run for cell in sweep.cells}]
    needing = [sweep for sweep in known if run.id in sweep.runs]
    console.print()
    if asked:
        printing.line(console, "Made by", "bold")
    elif needing:
        printing.line(console, "Made because other runs need it, by", "bold")
    else:
        printing.line(console, "No stored command asks for this run.")
    for command in dict.fromkeys(shlex.join(sweep.command) for sweep in asked or needing):
        printing.line(console, f"  {command}")
    if asked or needing:
        printing.note(console, "(with the kdbench.toml of the folder it ran in, if there was one)")
