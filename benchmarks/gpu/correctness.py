"""Check that kdbench computes on a device what it computes elsewhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.gpu.inputs import Measurement
from kdbench.core.errors import Stopped
from kdbench.core.settings import Execution
from kdbench.planning.make_plan import select_methods
from kdbench.results.store import Store
from kdbench.training.conformance.small_run import (
    RECORDING,
    Observed,
    SmallRun,
    amplify_differences,
    difference,
    first_batches,
    make_steps,
)
from kdbench.training.runner import execute
from kdbench.training.setup import prepare

TOLERANCE = 1e-3  # of a float32 gradient and loss, relative
STEPS = 2
GOLDEN = (
    "test_lgtm_golden.py",
    "test_losses_golden.py",
    "test_later_losses_golden.py",
    "test_token_features_golden.py",
)
FILES = ("model/model.safetensors", "series.jsonl", "result.json", "predictions.safetensors")
ROOT = Path(__file__).resolve().parents[2]


def check(how: Measurement) -> Iterator[dict[str, Any]]:
    """Make every check.

    Yields:
        check; passed (True, False, or None where it was not possible); detail.
    """
    yield {"check": "a run that was interrupted has the bytes of one that was not", **_caught(_resumes, how)}
    for method in select_methods(how.sizes.methods):
        yield {"check": f"{method}: first gradient and losses beside the CPU's", **_caught(_like_cpu, how, method)}
    yield {"check": "golden values of the original implementations", **_golden(how)}


def _caught(made: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Return a check's result; an error is a check that failed."""
    try:
        return made(*given)
    except Exception as error:
        return {"passed": False, "detail": f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"}


def _resumes(how: Measurement) -> dict[str, Any]:
    """Train LGTM at a stretch and with an interruption, and compare the bytes of what is stored."""
    execution = Execution(device=how.device, threads=1)
    with TemporaryDirectory() as made:
        run, stores = SmallRun(Path(made), "lgtm", {}), [Store(Path(made) / name) for name in ("whole", "halves")]
        for spec in run.plan.runs.values():
            asked = count(1)
            with suppress(Stopped):
                execute(spec, stores[1], execution, RECORDING, should_stop=lambda asked=asked: next(asked) == 5)  # type: ignore[misc]
            for store in stores:
                execute(spec, store, execution, RECORDING)
        different = [
            name for name in FILES
            if len({(store.run(run.spec.id).path / name).read_bytes() for store in stores}) > 1
        ]  # fmt: skip
    return {
        "passed": not different,
        "detail": f"different: {', '.join(different)}" if different else "LGTM, same bytes",
    }


def _like_cpu(how: Measurement, method: str) -> dict[str, Any]:
    """Make the first steps on the CPU and on the device, without dropout."""
    with TemporaryDirectory() as made:
        run = SmallRun(Path(made), method, {})
        run.train_needs(run.store)
        seen = [_first_steps(run, device) for device in ("cpu", how.device)]
    worst = 0.0
    for name in seen[0].gradients:
        here, there = (torch.cat([g.flatten().cpu() for g in s.gradients[name][0]]) for s in seen)
        worst = max(worst, difference(here, there))
    for here, there in zip(*(s.logs for s in seen), strict=True):
        worst = max([worst, *(difference(here[key].cpu(), there[key].cpu()) for key in here)])
    return {"passed": worst < TOLERANCE, "detail": f"largest relative difference {worst:.1e} (at most {TOLERANCE:.0e})"}


def _first_steps(run: SmallRun, device: str) -> Observed:
    setup = amplify_differences(prepare(run.spec, run.store, Execution(device=device, threads=1), RECORDING))
    return make_steps(setup, first_batches(setup, STEPS))


def _golden(how: Measurement) -> dict[str, Any]:
    """Run the tests of golden values with all tensors on the device."""
    if importlib.util.find_spec("pytest") is None:
        return {"passed": None, "detail": "pytest is not installed"}
    import pytest

    torch.set_default_device(how.device)
    files = [str(ROOT / "tests" / "methods" / name) for name in (GOLDEN[:1] if how.small else GOLDEN)]
    try:
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *files]))
    finally:
        torch.set_default_device("cpu")
    return {"passed": code == 0, "detail": f"{', '.join(GOLDEN)}: pytest's exit code {code}"}
