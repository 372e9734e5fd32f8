"""What a dry run shows."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from kdbench.plan import Plan
from kdbench.store import Store

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
    console.print(
        f"{len(plan.runs)} runs for {len(plan.cells)} cells: {len(done)} done, {len(plan.runs) - len(done)} to train; "
        f"{len(shared)} of them serve {sum(shared.values())} others."
    )
    most = sorted(shared.items(), key=lambda item: -item[1])
    for run, count in most[:FEW]:
        console.print(f"  {run} is trained once for {count} run{'s' * (count > 1)}", highlight=False)
    if len(most) > FEW:
        console.print(f"  and {len(most) - FEW} more")


def _settings(plan: Plan, console: Console) -> None:
    study = plan.study
    console.print(
        f"preset {plan.preset}: {study.teacher} teaches {study.student}, data {study.glue_dir or study.source}"
    )
    console.print(f"feedback from {study.feedback}, selection on {study.selection}")
    asked = [plan.runs[cell.run].training for cell in plan.cells]
    values = {key: dict.fromkeys(getattr(training, key) for training in asked) for key in type(asked[0]).model_fields}
    texts = [f"{key}={', '.join(f'{v}' for v in known if v is not None)}" for key, known in values.items()]
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
    for (task, method), count in sorted(counts.items()):
        table.add_row(task, method, str(count), str(finished[task, method]))
    return table
