"""Write the README.md of a collected study; the same study gives the same text."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from kdbench.results.data_origin import describe_data, describe_train_rows
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import Run, StudyResults, task_title
from kdbench.results.study_part import describe_left_out

TEMPLATE = Path(str(files("kdbench.results.archive"))) / "collected.md"  # what is the same for all
MAX_LISTED = 40  # runs without a result
MAX_MESSAGE = 300  # characters


def readme_text(name: str, store: Store) -> str:
    """Build the text as markdown."""
    found = studies(store)
    runs = {run_id: run for study in found for run_id, run in study.runs.items()}
    parts = [
        f"# {name}",
        "Results of kdbench, collected from the folders of the runs: what tables and figures are made of.",
        *(part for study in found for part in _study(study)),
        *_machines(runs.values()),
        *_unfinished(found),
        "## Tables and figures",
        _commands(name, found),
        TEMPLATE.read_text(encoding="utf-8"),
    ]
    return "\n\n".join(parts)


def _study(study: StudyResults) -> Iterator[str]:
    """Yield the heading and the table of facts of one study."""
    setup = study.study
    yield f"## Preset {study.preset}: {study.pairing}"
    # facts in a table
    counts = Counter(run.state.status for run in study.runs.values())
    others = "".join(f", {number} {status}" for status, number in sorted(counts.items()) if status != "done")
    rows = {
        "models": "; ".join(f"{role} {setup.get(role)} ({known})" for role, known in sorted(study.models.items())),
        "methods": ", ".join(study.title(row) for row in study.rows),
        "tasks, data": "; ".join(f"{task_title(task)} {study.data[task]}" for task in study.tasks),
        "source": describe_data(study),
        "seeds": ", ".join(map(str, sorted({cell.cell.seed for cell in study.cells}))),
        "feedback, selection": f"{setup['feedback']}, {setup['selection']}",
        "rows of train": describe_train_rows(study) or "all",
        "runs": f"{len(study.runs)}: {counts['done']} done{others}",
        "trained": _when(study.runs.values()),
        **({"left out": gone} if (gone := describe_left_out(study)) else {}),
    }
    cells = "\n".join(f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items())
    yield f"| | |\n|---|---|\n{cells}"


def _when(runs: Iterable[Run]) -> str:
    """Return the days from the first start to the last update of finished runs."""
    moments = [m for run in runs for m in (run.state.started, run.state.updated) if m and run.state.status == "done"]
    days = [datetime.datetime.fromtimestamp(m, datetime.UTC).date().isoformat() for m in moments]
    return " to ".join(dict.fromkeys((min(days), max(days)))) if days else "nothing yet"


def _machines(runs: Iterable[Run]) -> Iterator[str]:
    """Yield a section with the kinds of machines and versions, each with its number of runs."""
    kinds: Counter[str] = Counter()
    for run in runs:
        if (run.folder.path / "environment.json").exists():
            kinds.update({_machine(there) for there in run.environments if there})
    if kinds:
        yield "## Machines and versions"
        yield "\n".join(f"- {number} of the runs: {kind}" for kind, number in sorted(kinds.items()))


def _machine(there: Mapping[str, Any]) -> str:
    """Describe a machine and its package versions."""
    versions = {"kdbench": there.get("kdbench"), "python": there.get("python"), **(there.get("packages") or {})}
    commit = f" (commit {there['commit']})" if there.get("commit") else ""
    sizes = f"cores {there.get('cores')}, threads {there.get('threads')}"
    device = f"{there.get('device')}, {there.get('gpu') or there.get('cpu')}, {sizes}"
    known = [f"{name} {value}{commit if name == 'kdbench' else ''}" for name, value in versions.items() if value]
    return f"{device}; {', '.join(known)}"


def _unfinished(found: Iterable[StudyResults]) -> Iterator[str]:
    """Yield a section with the runs that are not finished, and why."""
    lines = {
        run.id: f"- `{run.id}`: {_why(study, run)}"
        for study in found for run in study.runs.values() if run.state.status != "done"
    }  # fmt: skip
    if lines:
        more = [f"- and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
        yield "## Not there"
        yield "\n".join([*(lines[run_id] for run_id in sorted(lines)[:MAX_LISTED]), *more])


def _why(study: StudyResults, run: Run) -> str:
    """Say why a run is not finished."""
    blocker, state = study.blocker(run), run.state
    if blocker:
        return f"blocked by `{blocker.id}`, which failed"
    if state.status != "failed":
        return "not trained" if state.status == "pending" else f"{state.status} at step {state.step} of {state.total}"
    message = " ".join(state.message.split())[:MAX_MESSAGE]
    return f"failed ({state.kind or 'unknown'}): {message or 'no reason given'}"


def _commands(name: str, found: Iterable[StudyResults]) -> str:
    """List commands that show the study."""
    where = f"--results results/{name}"
    rows = next((pair for study in reversed(list(found)) if (pair := _comparable_rows(study))), ("A", "B"))
    commands = {
        f"kdbench table all {where}": "also --format latex, markdown or csv",
        f"kdbench figure all {where}": "what there are series for",
        f"kdbench compare {rows[0]} {rows[1]} {where}": "is one better?",
        f"kdbench status {where}": "and kdbench list runs, kdbench show RUN",
        f"kdbench collect {name} --results DIR": "makes this folder anew from runs",
    }
    space = max(map(len, commands)) + 4
    listed = "\n".join(f"    {command:<{space}}# {remark}" for command, remark in commands.items())
    return f"Where this folder lies at `results/{name}`; nothing else is needed, and nothing is trained:\n\n{listed}"


def _comparable_rows(study: StudyResults) -> tuple[str, str] | None:
    """Return the first row and the last, or rows nearest to these, that have predictions of a seed in common."""
    kept = {
        row: {(c.cell.task, c.cell.seed) for c in select_row(study, row).cells if c.run.folder.predictions.exists()}
        for row in study.rows
    }
    pairs = ((first, last) for first, last in product(kept, reversed(kept)) if first != last)
    return next((pair for pair in pairs if kept[pair[0]] & kept[pair[1]]), None)
