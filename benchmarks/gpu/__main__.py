"""`python -m benchmarks.gpu`: one stage after the other, each in a process and with seconds of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from benchmarks.gpu import tables
from benchmarks.gpu.inputs import Measurement
from kdbench.core.atomic_files import write_json
from kdbench.core.environment import core_count

SECONDS = 470
GRACE = 15.0  # seconds after which a stage that goes on beyond its time is ended
# share of the seconds that are left when a stage begins, the last one's is all
STAGES: Mapping[str, float] = MappingProxyType(
    {"machine": 0.15, "correctness": 0.2, "kd": 0.3, "graphs": 0.2, "lgtm": 0.35, "side_by_side": 0.45, "study": 1.0}
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--device", default="cuda:0", help="cuda:N, or cpu to try the script out.")
@click.option("--small", is_flag=True, help="Tiny networks and few steps, to try the script out.")
@click.option("--seconds", default=float(SECONDS), type=click.FloatRange(1), help="Time for all stages together.")
@click.option("--out", default="build/gpu", type=Path, help="Where figures and tables go.")
@click.option("--data-dir", default="", help="Read TREC from DIR/trec; without it, made questions are taken.")
@click.option("--stage", type=click.Choice(list(STAGES)), help="Only this stage, in this process.")
def command(device: str, small: bool, seconds: float, out: Path, data_dir: str, stage: str | None) -> None:
    """Check kdbench on a GPU, and measure it there."""
    data_dir = str(Path(data_dir).expanduser().resolve()) if data_dir else ""
    how = Measurement(out.resolve(), device, small, core_count(), data_dir)
    if stage:
        _play(stage, how, seconds)
        return
    end = time.monotonic() + seconds
    for name, share in STAGES.items():
        _run_stage(name, how, max(1.0, share * (end - time.monotonic())))
        click.echo(f"{name} ends with {end - time.monotonic():.0f} s left; {tables.write(how.out)}", err=True)
    click.echo((how.out / "gpu.md").read_text())


def _run_stage(name: str, how: Measurement, seconds: float) -> None:
    """Run a stage in a process of its own, and end it where it takes too long; what it has stored stays."""
    device, variables = _only_gpu(how.device)
    arguments = ["--stage", name, "--device", device, "--seconds", f"{seconds:.1f}", "--out", str(how.out)]
    arguments += ["--small"] if how.small else []
    arguments += ["--data-dir", how.data_dir] if how.data_dir else []
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", *arguments], start_new_session=True, env={**os.environ, **variables}
    )
    try:
        code = process.wait(seconds + GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with the processes that it has started
        process.wait()
        code = None
    if code != 0:
        why = "its time was over" if code is None else f"it ended with exit code {code}"
        write_json(how.out / f"{name}.problem.json", {"stage": name, "problem": why})


def _only_gpu(device: str) -> tuple[str, dict[str, str]]:
    """Return a device's name in a process that sees no other GPU, and the process's variables."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return device, {}
    seen, number = os.environ.get("CUDA_VISIBLE_DEVICES", ""), int(index or 0)
    return "cuda:0", {"CUDA_VISIBLE_DEVICES": seen.split(",")[number] if seen else str(number)}


def _play(name: str, how: Measurement, seconds: float) -> None:
    """Make a stage's measurements until its time is over, and store them after each."""
    end, measured = time.monotonic() + seconds, list[dict[str, Any]]()
    (how.out / f"{name}.problem.json").unlink(missing_ok=True)
    for found in _STAGES[name](how, seconds):
        measured.append(found)
        click.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()), err=True)
        write_json(how.out / f"{name}.json", measured)
        if time.monotonic() > end:
            break


def _machine(how: Measurement, seconds: float) -> Iterator[dict[str, Any]]:
    import torch

    from benchmarks.gpu.inputs import make_inputs
    from benchmarks.operations import largest_rate
    from kdbench.core.environment import environment

    make_inputs(how)
    rates = {name: largest_rate(how.device, name, small=how.small) for name in ("float32", "bfloat16")}
    yield {
        "environment": environment(how.device), "small": how.small, "seconds": seconds, "cuda": torch.version.cuda,
        "product_tflops": rates, "sizes": vars(how.sizes),
    }  # fmt: skip


def _correctness(how: Measurement, seconds: float) -> Iterator[dict[str, Any]]:
    from benchmarks.gpu import correctness

    return correctness.check(how)


def _steps(suite: str, how: Measurement, seconds: float) -> Iterator[dict[str, Any]]:
    from benchmarks.gpu import steps

    return steps.measure(suite, how)


def _side_by_side(how: Measurement, seconds: float) -> Iterator[dict[str, Any]]:
    from benchmarks import side_by_side
    from benchmarks.gpu.steps import BF16, BUCKETED

    shares = [(jobs, max(1, how.threads // max(how.sizes.jobs))) for jobs in how.sizes.jobs]
    return side_by_side.play(how.work, 1 if how.small else 3, shares, BUCKETED if how.small else BF16)


def _study(how: Measurement, seconds: float) -> Iterator[dict[str, Any]]:
    from benchmarks.gpu import small_study

    return small_study.train(how, seconds)


_STAGES: Mapping[str, Callable[[Measurement, float], Iterator[dict[str, Any]]]] = MappingProxyType({
    "machine": _machine, "correctness": _correctness, "side_by_side": _side_by_side, "study": _study,
    **{suite: partial(_steps, suite) for suite in ("kd", "graphs", "lgtm")},
})  # fmt: skip


if __name__ == "__main__":
    command()
