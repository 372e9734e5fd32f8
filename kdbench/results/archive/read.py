"""Read a collected study as a results folder, unpacked into a temporary folder that is deleted at exit."""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from lzma import LZMAError
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from kdbench.core.spec import Name
from kdbench.results.archive import compression, format

RUN_FILES = ("spec", "state", "environment", "result", "cost", "deployment")

MADE_BY_HAND = (
    ValueError, LookupError, TypeError, EOFError, LZMAError, RecursionError, OverflowError, MemoryError,
)  # fmt: skip

_open = ExitStack()
atexit.register(_open.close)


class StoredRun(BaseModel):
    """A line of runs.jsonl. Missing parts are null; a run without a state was not begun."""

    model_config = ConfigDict(extra="ignore")

    id: Name
    spec: dict[str, Any]
    state: dict[str, Any] | None
    environment: dict[str, Any] | None
    result: dict[str, Any] | None
    cost: dict[str, Any] | None
    deployment: dict[str, Any] | None = Field(default=None, exclude_if=lambda value: value is None)


class StoredSweep(BaseModel):
    """An entry of sweeps.json: a sweep that names its runs."""

    model_config = ConfigDict(extra="allow")

    id: Name
    runs: list[Name]


def unpack_study(root: Path) -> Path:
    """Return the results folder of a collected study; the same folder as long as the study does not change.

    Raises:
        UserError: the study is damaged or has another format.
    """
    seal = format.read_seal(root)
    return _unpack(root.resolve(), root, tuple(sorted(seal.files.items())))


@cache
def _unpack(where: Path, root: Path, digests: tuple[tuple[str, str], ...]) -> Path:
    """Unpack every file of a study into a new temporary folder.

    Args:
        where: `root` without links; like the digests it only tells studies apart.
        digests: checksums of the files, so that a changed study is unpacked anew.
    """
    target = Path(_open.enter_context(tempfile.TemporaryDirectory(prefix="kdbench-", ignore_cleanup_errors=True)))
    specs: dict[str, Any] = {}
    logits: dict[str, Any] = {}
    steps: dict[str, Callable[[Path], None]] = {
        format.RUNS: lambda file: specs.update(_runs(file, target)),
        format.SWEEPS: lambda file: _sweeps(file, target, specs),
        format.SUBMISSIONS: lambda file: _submissions(file, target),
        format.SERIES: lambda file: _series(file, target),
        format.LOGITS: lambda file: logits.update(compression.read_logits(file)),
        format.PREDICTIONS: lambda file: _predictions(file, target, logits),
    }
    for name, step in ((name, step) for name, step in steps.items() if name in dict(digests)):
        try:
            step(root / name)
        except MADE_BY_HAND:  # its checksum fits
            raise format.damage_error(root, name) from None
    return target


def _runs(file: Path, target: Path) -> dict[str, Any]:
    """Write the files of each run, and return the specs of all runs, begun or not."""
    specs = {}
    with file.open(encoding="utf-8", newline="\n") as lines:
        for run in map(StoredRun.model_validate, map(json.loads, lines)):
            specs[run.id] = run.spec
            parts = {name: getattr(run, name) for name in RUN_FILES} if run.state is not None else {}
            for name, value in parts.items():
                if value is not None:
                    _put(_folder(target, run.id) / f"{name}.json", value)
    return specs


def _sweeps(file: Path, target: Path, specs: Mapping[str, Any]) -> None:
    """Write the sweeps, with the specs of their runs."""
    for raw in json.loads(file.read_bytes()):
        sweep = StoredSweep.model_validate(raw)
        _put(target / "sweeps" / f"{sweep.id}.json", {**raw, "runs": {run: specs[run] for run in sweep.runs}})


def _submissions(file: Path, target: Path) -> None:
    for raw in json.loads(file.read_bytes()):
        _put(target / "submissions" / f"{_name(raw['id'])}.json", raw)


def _series(file: Path, target: Path) -> None:
    for run, rows in compression.read_series(file):
        (_folder(target, run) / "series.jsonl").write_text("".join(rows), encoding="utf-8")


def _predictions(file: Path, target: Path, logits: Mapping[str, Any]) -> None:
    """Write the predicted classes of each run, and its logits where they were kept."""
    from safetensors.numpy import save_file

    of_run: dict[str, dict[str, Any]] = {}
    for name, values in logits.items():
        run, _, place = name.partition("/")
        of_run.setdefault(run, {})[place] = values
    for run, answers in compression.read_predictions(file).items():
        tensors = {f"best/{one.split}/{kind}": getattr(one, kind) for one in answers for kind in ("classes", "labels")}
        tensors |= of_run.get(run, {})
        save_file(tensors, _folder(target, run) / "predictions.safetensors")


def _folder(target: Path, run: str) -> Path:
    return target / "runs" / _name(run)


def _name(text: str) -> str:
    """Check a name that becomes part of a path."""
    return TypeAdapter(Name).validate_python(text)


def _put(file: Path, value: Any) -> None:
    """Write a JSON file. No other process reads it, so it need not be durable."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
