"""The graph of runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.core.errors import UserError
from kdbench.planning.make_plan import parse_seeds
from tests.kdbench.small_runs import plan


def test_a_teacher_is_trained_once_for_all_who_need_it(tmp_path: Path) -> None:
    """3 rates x 2 seeds of KD on 2 tasks: one teacher a task and seed."""
    made = plan(tmp_path, "student_lr=1e-3,2e-3,3e-3", methods="kd", tasks="rte,mrpc", seeds="0,1")
    kinds = Counter(spec.method for spec in made.runs.values())
    assert kinds == {"kd": 12, "finetune": 4}
    assert sorted(made.shared().values()) == [3, 3, 3, 3]


def test_runs_come_after_what_they_need(tmp_path: Path) -> None:
    made = plan(tmp_path, methods="all", tasks="glue", seeds="0-2")
    seen: set[str] = set()
    for run, spec in made.runs.items():
        assert set(spec.needs.values()) <= seen
        assert spec.id == run
        seen.add(run)


def test_a_grid_is_every_combination_and_qualified_keys_reach_one_method(tmp_path: Path) -> None:
    made = plan(tmp_path, "student_lr=1e-3,2e-3", "kd.temperature=1,4", methods="kd,finetune")
    counts = Counter(cell.row for cell in made.cells)
    assert counts == {"kd": 4, "finetune": 2}
    choices = {tuple(sorted(cell.choice.items())) for cell in made.cells if cell.row == "kd"}
    assert choices == {(("student_lr", r), ("temperature", t)) for r in (1e-3, 2e-3) for t in (1.0, 4.0)}


def test_the_command_line_wins_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    (tmp_path / "kdbench.toml").write_text("student_lr = 7e-4\nwarmup = 0.25\n[kd]\ntemperature = 3.0\n")
    made = plan(tmp_path, "warmup=0.5", methods="kd")
    spec = next(spec for spec in made.runs.values() if spec.method == "kd")
    assert (spec.training.student_lr, spec.training.warmup, spec.options["temperature"]) == (7e-4, 0.5, 3.0)
    assert spec.training.max_grad_norm == 1.0  # from the preset


@given(st.sets(st.integers(0, 50), min_size=1))
def test_seeds_are_read_back_from_any_spelling(seeds: set[int]) -> None:
    assert parse_seeds(",".join(map(str, sorted(seeds)))) == sorted(seeds)
    low, high = min(seeds), max(seeds)
    assert parse_seeds(f"{low}-{high}") == list(range(low, high + 1))


@pytest.mark.parametrize("text", ["5-3", "0,5-3", "", "1,,2", "a"])
def test_seeds_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not valid; write 0,1,2 or 0-4"):
        parse_seeds(text)
