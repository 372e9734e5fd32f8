"""Tell of methods whose code has changed since runs in the results folder were trained."""

from __future__ import annotations

from kdbench.core.formatting import count
from kdbench.distill.method_files import code_of
from kdbench.distill.method_registry import METHODS
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.results.sweep_files import read_sweeps


def changed_methods(plan: Plan, store: Store) -> list[str]:
    """Return remarks on the methods of a plan that were other code, or another file, when runs were trained."""
    return [*_same_version(plan, store), *_other_files(plan, store)]


def _same_version(plan: Plan, store: Store) -> list[str]:
    """Return remarks on runs of the plan that keep their results, although a package's file has changed."""
    code: dict[str, str] = {}
    kept: dict[str, int] = {}
    for run, spec in plan.runs.items():
        before = store.run(run).environment().get("method_code") if spec.method_file is None else ""
        if before and before != (code.get(spec.method) or code.setdefault(spec.method, code_of(spec))):
            kept[spec.method] = kept.get(spec.method, 0) + 1
    return [
        f"{METHODS.file_of(name)} has changed since {count(number, 'run')} of this command began. Its version is still "
        f"{METHODS.get(name).version}, so that what is done is not trained again; raise `version` in the file if "
        "results change."
        for name, number in kept.items()
    ]  # fmt: skip


def _other_files(plan: Plan, store: Store) -> list[str]:
    """Return remarks on methods without a version whose runs here are those of another file."""
    files = {spec.method: spec.method_file for spec in plan.runs.values() if spec.method_file}
    others: dict[str, set[str]] = {}
    for sweep in read_sweeps(store) if files else []:
        for run, spec in sweep.runs.items():
            file, other = files.get(spec.method), spec.method_file
            if file and not file.is_same(other) and store.run(run).has_result():
                others.setdefault(spec.method, set()).add(run)
    return [
        f"{files[name].subject} has changed since method '{name}' was trained here; {count(len(runs), 'earlier run')} "
        f"{'is' if len(runs) == 1 else 'are'} kept; tables show those of the file as it was last trained."
        for name, runs in others.items()
    ]  # fmt: skip
