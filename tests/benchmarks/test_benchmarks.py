"""Every contestant can be measured, and measurements become the right table. No time is asserted."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import harness, report
from benchmarks.__main__ import command
from benchmarks.batches import order
from benchmarks.harness import many
from benchmarks.kernels import product
from benchmarks.stopwatch import Stopwatch
from benchmarks.suites import CONTESTANTS, OVERHEAD, SUITES, Contestant
from benchmarks.work import BATCH, How, tokens
from kdbench.core.atomic_files import write_json
from kdbench.core.errors import UserError
from kdbench.models import matmul_precision
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.benchmarks.small import WORK


@pytest.mark.slow
@pytest.mark.parametrize("contestant", CONTESTANTS.values(), ids=CONTESTANTS)
def test_a_contestant_makes_its_steps(contestant: Contestant, monkeypatch: pytest.MonkeyPatch) -> None:
    if contestant.package:
        pytest.importorskip(contestant.package, reason="make benchmark installs it", exc_type=ImportError)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    timing = import_module(contestant.module).measure(WORK, contestant.how, **contestant.options)
    assert timing.steps == WORK.steps
    assert timing.seconds > 0
    own_run = contestant.name.startswith(("kdbench", "method-"))
    assert 0 < timing.inside < timing.seconds if own_run else timing.inside == 0
    if not contestant.name.startswith("method-"):
        cached = contestant.name.startswith(("kdbench", "textbrewer-cache")) or contestant.name == "bare"
        assert (timing.once > 0) == cached


def test_tables_name_contestants_that_are_measured() -> None:
    for suite in SUITES.values():
        measured = {contestant.name for contestant in suite.contestants}
        named = {name for table in suite.tables for name in (*table.rows, table.baseline)}
        assert named == measured


def test_rows_of_like_length_are_the_same_rows_with_less_padding() -> None:
    lengths = tokens(WORK).lengths
    sorted_, as_they_come = (order(WORK, How(padding, "fp32"), 8) for padding in ("bucketed", "dynamic"))
    assert sorted(np.ravel(sorted_)) == sorted(np.ravel(as_they_come))

    def padded(batches: list[list[int]]) -> int:
        return sum(len(rows) * max(lengths[rows]) for rows in batches)

    assert padded(sorted_) < padded(as_they_come)
    assert all(len(rows) == BATCH for rows in sorted_)


def test_a_stopwatch_counts_steps() -> None:
    watch = Stopwatch(warmup=2)
    for _ in range(4):
        watch.lap()
    assert watch.seconds(2) >= 0
    with pytest.raises(RuntimeError, match="4 steps"):
        watch.seconds(3)


def measured(folder: Path, **seconds: list[float]) -> str:
    """The report on contestants of the suite `runner` that took so many seconds for ten steps."""
    found: list[dict[str, Any]] = [
        {"contestant": name.replace("_", "-"), "round": i, "seconds": value, "steps": 10,
         "once": 6.0 if name == "bare" else 0.0, "peak": 2_000_000, "load": 0.5}
        for name, values in seconds.items() for i, value in enumerate(values)
    ]  # fmt: skip
    machine = {"cpu": "one", "commit": "abc", "packages": {"torch": "2", "transformers": "5"}}
    write_json(folder / "runner.json", {"work": WORK.as_json(), "rows": 640, "environment": machine, "measured": found})
    return report.write(folder).read_text()


def test_the_table(tmp_path: Path) -> None:
    """A teacher's pass of 6 s over the rows of 10 steps: 0.1 s a step when spread over six epochs, 0.6 s in full."""
    text = measured(tmp_path, bare=[10.0, 20.0, 11.0], kdbench_fp32_fast=[5.5, 10.5, 4.0])
    bare, own = (line.split("|")[1:-1] for line in text.splitlines() if line.startswith(("|a loop", "|kdbench")))
    assert bare[3:] == ["1.200 (1.100-2.100)", "1.700 (1.600-2.600)", "24", "1.00 (1.00-1.00)", "2"]
    assert own[3:] == ["0.550 (0.400-1.050)", "0.550 (0.400-1.050)", "11", "2.00 (2.00-3.00)", "2"]
    assert "The runner adds -47.5 % (-63.6 to -45.0) to" in text
    assert "made sentence pairs" in text
    assert "Patched" not in text
    assert "3 interleaved rounds of 3 steps" in text


def test_the_table_tells_what_is_spent_around_the_steps(tmp_path: Path) -> None:
    found = {"steps": 1, "once": 0.0, "peak": 1, "load": 0.0, "seconds": 10.0, "round": 0}
    machine = {"cpu": "one", "commit": "abc", "packages": {"torch": "2", "transformers": "5"}}
    both = [{"contestant": name, **found, "inside": 9.97} for name in OVERHEAD]
    stored = {"work": WORK.as_json(), "rows": 1, "environment": machine, "measured": both}
    write_json(tmp_path / "runner.json", stored)
    assert "within one, 0.3 % of its time is outside of KD's steps" in report.write(tmp_path).read_text()


@pytest.mark.parametrize(("error", "setting"), [(1e-3, "highest"), (1e-7, "medium")])
def test_peers_have_the_product_that_kdbench_chose(
    error: float, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor with AMX the fast product rounds to bfloat16, so that everybody has the plain one."""
    monkeypatch.setattr(
        matmul_precision, "product_error", lambda setting, *_: error if setting == matmul_precision.FAST else 1e-7
    )
    with product(How("bucketed", "fp32-fast")):
        assert torch.get_float32_matmul_precision() == setting
    found = {"steps": 1, "once": 0.0, "peak": 1, "load": 0.0, "seconds": 1.0, "round": 0, "setting": setting}
    machine = {"cpu": "one", "commit": "abc", "packages": {"torch": "2", "transformers": "5"}}
    both = [{"contestant": name, **found} for name in OVERHEAD]
    write_json(tmp_path / "runner.json", {"work": WORK.as_json(), "rows": 1, "environment": machine, "measured": both})
    text = report.write(tmp_path).read_text()
    assert text.count("plain float32 (the fast one is less exact here)") == (2 if setting == "highest" else 0)
    assert text.count("|fast float32|") == (0 if setting == "highest" else 2)


def test_the_table_tells_what_was_patched(tmp_path: Path) -> None:
    found = {"steps": 1, "once": 0.0, "peak": 1, "load": 0.0, "seconds": 1.0, "round": 0}
    machine = {"cpu": "one", "commit": "abc", "packages": {"torch": "2", "transformers": "5"}}
    both = [{"contestant": name, **found} for name in ("trainer", "torchdistill")]
    write_json(tmp_path / "kd.json", {"work": WORK.as_json(), "rows": 1, "environment": machine, "measured": both})
    text = report.write(tmp_path).read_text()
    assert "Patched: torchdistill is given" in text
    assert "TextBrewer is given" not in text


@pytest.mark.parametrize(
    ("args", "words"),
    [(["kd", "--steps", "999"], "1 to 18 steps"), (["runner", "--student", "tiny-0x1"], "at least one layer"),
     (["lgtm", "--glue-dir", "nowhere"], "nowhere")],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_measured(args: list[str], words: str, tmp_path: Path) -> None:
    if args[0] == "kd":
        pytest.importorskip("textbrewer", reason="make benchmark installs it")
        pytest.importorskip("torchdistill", reason="make benchmark installs it", exc_type=ImportError)
    result = CliRunner().invoke(command, [*args, "--out", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_the_embeddings_table_has_ratios_of_medians(tmp_path: Path) -> None:
    found = {"method": "kd", "trimmed_rows": 8, "whole_rows": 30, "trimmed": [0.1, 0.2, 0.3], "whole": [0.2, 0.3, 0.4]}
    stored = {"work": WORK.as_json(), "rows": 1, "environment": {"cpu": "one"}, "measured": [found]}
    write_json(tmp_path / "embedding.json", stored)
    assert "|`kd`|8 of 30|300 (200-400)|200 (100-300)|1.50|" in report.write(tmp_path).read_text()


def test_short_texts_need_their_data(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["embedding", "--out", str(tmp_path)])
    assert "--data-dir DIR" in str(result.exception)


@pytest.mark.slow
def test_stored_runs_can_be_looked_at(tmp_path: Path) -> None:
    assert many.store(tmp_path, runs=1) == 84
    (study,) = studies(Store(tmp_path / "results"))
    assert not [cell for cell in study.cells if cell.run.state.status != "done"]
    for part in harness.looking(84):
        took = harness.measure(part, 1, tmp_path)
        assert took["cpu"][0] > 0
        assert took["peak"] > 10e6
