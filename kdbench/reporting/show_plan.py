"""What a dry run shows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from kdbench.core.formatting import count
from kdbench.planning.plan import Plan
from kdbench.results.store import Store

MANY = 40  # runs: more are counted, not drawn
FEW = 8


def show(plan: Plan, store: Store, console: Console) -> None:
    """The settings, the graph of runs as a tree from what is needed to what needs it, and the counts."""
    begun = (run for run in store.runs() if run.id in plan.runs)
    done = {run.id for run in begun if run.is_done(plan.runs[run.id].snapshots)}
    _settings(plan, console)
    if len(plan.runs) <= MANY:
        console.print(_tree(plan, done))
    else:
        console.print(_counts(plan, done))
    shared = plan.shared()
    serving = f"; {len(shared)} of them serve {count(sum(shared.values()), 'other')}" if shared else ""
    console.print(
        f"{count(len(plan.runs), 'run')} for {count(len(plan.cells), 'cell')}: {len(done)} done, "
        f"{len(plan.runs) - len(done)} to train{serving}."
    )
    most = sorted(shared.items(), key=lambda item: -item[1])
    for run, number in most[:FEW]:
        console.print(f"  {run} is trained once for {count(number, 'run')}", highlight=False)
    if len(most) > FEW:
        console.print(f"  and {len(most) - FEW} more")


def _settings(plan: Plan, console: Console) -> None:
    study = plan.study
    teacher = f"{study.teacher} (taken as it is)" if study.teacher_is_finetuned else study.teacher
    console.print(
        f"preset {plan.preset}: {teacher} teaches {study.student}, data {study.glue_dir or study.source}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    console.print(f"feedback from {study.feedback}, selection on {study.selection}")
    asked = [plan.runs[cell.run] for cell in plan.cells]
    values: dict[str, dict[Any, None]] = {}
    for spec in asked:
        own = {} if study.teacher_is_finetuned else spec.teacher_training
        for key, item in {**spec.training.model_dump(), **{f"teacher.{k}": v for k, v in own.items()}}.items():
            values.setdefault(key, {})[item] = None
    known = {key: [item for item in items if item is not None] for key, items in values.items()}
    texts = [f"{key}={', '.join(map(str, items))}" for key, items in known.items() if items]
    console.print("  " + "  ".join(texts), highlight=False)


def _tree(plan: Plan, done: set[str]) -> Tree:
    children: dict[str, list[str]] = {}
    for run, spec in plan.runs.items():
        for parent in spec.needs.values():
            children.setdefault(parent, []).append(run)
    tree = Tree("runs", hide_root=True)

    def grow(branch: Tree, run: str) -> None:
        node = branch.add(f"{run}{'  (done)' if run in done else ''}", highlight=False)
        for child in children.get(run, []):
            grow(node, child)

    for run, spec in plan.runs.items():
        if not spec.needs:
            grow(tree, run)
    return tree


def _counts(plan: Plan, done: set[str]) -> Table:
    table = Table("task", "method", "runs", "done", box=None)
    counts = Counter((spec.task, spec.method) for spec in plan.runs.values())
    finished = Counter((plan.runs[run].task, plan.runs[run].method) for run in done)
    for (task, method), number in sorted(counts.items()):
        table.add_row(task, method, str(number), str(finished[task, method]))
    return table
