"""Runs that are done, at a cost of the test's choice."""

from __future__ import annotations

from kdbench.core.atomic_files import write_json
from kdbench.core.spec import RunSpec
from kdbench.results.store import RunFolder, Store


def finish(at: Store, spec: RunSpec, step_seconds: float, steps: int = 10) -> None:
    """A run that is done, with a cost of our choice, and nothing else in its folder."""
    folder = at.run(spec.id)
    folder.begin(spec, {})
    checkpoint = {"step": steps, "selection": {}, "report": {}}
    write_json(folder.path / "result.json", {"best": checkpoint, "last": checkpoint})
    write_json(folder.model / "config.json", {})
    charge(folder, step_seconds, steps)
    folder.set_state("done")


def charge(folder: RunFolder, step_seconds: float, steps: int) -> None:
    write_json(folder.path / "cost.json", {"train_seconds": step_seconds * steps, "steps": steps})
