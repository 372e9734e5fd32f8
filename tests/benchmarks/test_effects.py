"""What faster settings do to results is measured on runs, seed by seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import effects, report
from benchmarks.__main__ import command
from kdbench.core.atomic_files import read_json
from tests.benchmarks.small import WORK


@pytest.mark.slow
def test_every_setting_is_trained_once_and_the_plain_one_is_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ROWS": 64, "EPOCHS": 1}.items():
        monkeypatch.setattr(effects, name, value)
    args = ["effects", "--rounds", "1", "--student", WORK.student, "--threads", "1", "--out", str(tmp_path)]
    command(args, standalone_mode=False)
    done = sorted((tmp_path / "effects" / "runs").iterdir())
    first = {path.name: (path / "result.json").stat().st_mtime_ns for path in done}
    assert len(done) == len(effects.SETTINGS)
    command(args, standalone_mode=False)
    assert {path.name: (path / "result.json").stat().st_mtime_ns for path in done} == first
    measured = read_json(tmp_path / "effects.json")["measured"]
    assert [one["setting"] for one in measured] == list(effects.SETTINGS)
    assert len({one["loss"] for one in measured}) > 3  # fast float32 may give the same digits as plain
    assert "packed dropout" in report.write(tmp_path).read_text()


def test_the_interval_is_students() -> None:
    """By hand: differences 1, 2 and 3 have mean 2, standard error 1 / sqrt(3), and t of two degrees is 4.303."""
    plain, other, *_ = effects.SETTINGS
    losses = {plain: [0.5, 0.5, 0.5], other: [1.5, 2.5, 3.5]}
    measured = [
        {"setting": title, "seed": seed, "accuracy": 0.8, "loss": loss, "step": 1.0}
        for title, values in losses.items() for seed, loss in enumerate(values)
    ]  # fmt: skip
    row = next(line for line in effects.table(measured) if other in line)
    assert row.endswith("|2.500|+2.000 (-0.484 to +4.484)|")
