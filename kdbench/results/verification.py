"""Verify the contents of a results folder against the checksums of its runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from kdbench.core.errors import UserError
from kdbench.core.records import read_record
from kdbench.results.checksums import CHECKSUMS
from kdbench.results.predictions import read_predictions
from kdbench.results.store import RunFolder, Store
from kdbench.results.submission_records import Submission
from kdbench.results.sweep_files import Sweep


@dataclass
class Verification:
    """Hold what was found in a results folder.

    Attributes:
        whole: finished runs whose files are as written, or as collected.
        unchecked: finished runs of earlier versions without checksums; their records and predictions are readable.
        unfinished: runs that are not finished, which have nothing to verify yet.
        damaged: file or run -> what is wrong.
    """

    whole: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the lines to print: damaged files, then counts."""
        out = [f"{name}: {problem}" for name, problem in self.damaged.items()]
        parts = [f"{len(self.whole)} finished runs whole", f"{len(self.damaged)} damaged"]
        parts += [f"{len(self.unchecked)} without checksums (readable)"] if self.unchecked else []
        parts += [f"{len(self.unfinished)} not done"] if self.unfinished else []
        return [*out, ", ".join(parts) + "."]


def verify_results(store: Store) -> Verification:
    """Verify every run and record of a results folder.

    The checksums of a collected study are checked when it is opened.

    Raises:
        UserError: there is no such folder.
    """
    if not store.root.is_dir():
        raise UserError(f"There is no results folder {store.root}; give another with --results DIR.")
    found = Verification()
    # records of sweeps and submissions
    for folder, kind in ((store.sweeps_folder, Sweep), (store.submissions_folder, Submission)):
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            try:
                read_record(file, kind)
            except (UserError, OSError) as error:
                found.damaged[str(file)] = str(error)
    # runs
    for run in store.runs():
        _check_run(run, found, is_collected=store.is_collected)
    return found


def _check_run(run: RunFolder, found: Verification, *, is_collected: bool) -> None:
    """Verify one run, and add the finding; the checksums of a collection are those of all its runs together."""
    # unfinished runs have nothing to check, failed ones may be damaged
    state = run.state()
    if state.status != "done":
        if state.kind in ("permission", "damaged"):
            found.damaged[run.id] = state.message
        else:
            found.unfinished.append(run.id)
        return
    # files, result and predictions
    try:
        problem = run.damage() or ("" if run.has_result() else "result.json is damaged")
        if not problem and run.predictions.exists():
            read_predictions(run)
    except UserError as error:
        problem = str(error)
    # file the run
    if problem:
        found.damaged[run.id] = f"{problem} in {run.path}"
    elif is_collected or (run.path / CHECKSUMS).exists():
        found.whole.append(run.id)
    else:
        found.unchecked.append(run.id)
