"""Write a collected study."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from kdbench.core.atomic_files import replacing
from kdbench.core.errors import UserError
from kdbench.core.spec import RUN_NAME
from kdbench.results.archive import compression, format
from kdbench.results.archive.choose_sweeps import RowRun
from kdbench.results.archive.gather import gather_results
from kdbench.results.archive.readme import readme_text
from kdbench.results.store import Store

RESERVED_NAMES = ("runs", "sweeps", "cache", "slurm", "submissions")  # what results folders hold themselves


def collect_study(
    name: str,
    stores: Sequence[Store],
    target: Path,
    preset: str | None,
    without_logits: Collection[str] = (),
    cells: Collection[RowRun] | None = None,
    prefer_first: bool = False,
) -> Store:
    """Write the contents of results folders to `target`, replace an earlier collection there, and return it.

    Files that do not belong to the collection stay in the folder.

    Args:
        without_logits: tasks whose logits are left out.
        cells: collect only these, by row and run; None for all.
        prefer_first: see `gather_results`.

    Raises:
        UserError: the name is not valid, `target` is something else, or see `gather_results`.
    """
    check_target(name, target)
    found = gather_results(stores, preset, without_logits, cells, prefer_first)
    with replacing(target) as folder:
        folder.mkdir()
        # files that do not belong to the collection stay
        for item in sorted(target.iterdir()) if target.is_dir() else []:
            if item.name not in format.FILES:
                (shutil.copytree if item.is_dir() else shutil.copy2)(item, folder / item.name)
        (folder / format.RUNS).write_text(
            format.json_lines(run.model_dump(mode="json") for run in found.runs), encoding="utf-8"
        )
        _put(folder / format.SWEEPS, found.sweeps)
        _put(folder / format.SUBMISSIONS, found.submissions)
        compression.write_series(folder / format.SERIES, found.series())
        compression.write_predictions(folder / format.PREDICTIONS, found.answers())
        if logits := found.logits():
            compression.write_logits(folder / format.LOGITS, logits)
        format.write_seal(folder, name)
        # made from what was written, which so is known to be readable
        (folder / format.README).write_text(readme_text(name, Store(folder, create=False)), encoding="utf-8")
    return Store(target, create=False)


def check_target(name: str, target: Path) -> None:
    """Check the name and the place of a collection.

    Raises:
        UserError: the name cannot be a folder's, or `target` exists and is something else.
    """
    if not re.fullmatch(RUN_NAME, name) or name in RESERVED_NAMES:
        raise UserError(
            f"'{name}' cannot be the name of a study: give letters, digits, '_', and after the first also '.' and '-', "
            f"and none of {', '.join(RESERVED_NAMES)}."
        )
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() and not (format.is_collected(target) and _name(target) == name):
        raise UserError(f"{target} is there and is not the collected study '{name}'; give another with --out DIR.")


def _name(target: Path) -> object:
    """Return the name of the study in a folder, whole or not; None where the marker is damaged."""
    try:
        found = json.loads((target / format.MARKER).read_bytes())
    except (ValueError, RecursionError):
        return None
    return found.get("name") if isinstance(found, dict) else None


def _put(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
