"""A whole study beside plain scripts: the scripts' losses, and the totals."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from benchmarks import side_by_side, whole_study
from benchmarks.contestants.plain_script import _loss
from kdbench.distill.losses import dist, hidden_state_distance


def outputs(seed: int, layers: int) -> SimpleNamespace:
    """Logits [8, 6] and hidden states [8, 5, 4] of the embeddings and of each layer."""
    draw = torch.Generator().manual_seed(seed)
    states = [torch.randn(8, 5, 4, dtype=torch.float64, generator=draw) for _ in range(layers + 1)]
    return SimpleNamespace(logits=torch.randn(8, 6, dtype=torch.float64, generator=draw), hidden_states=states)


def test_losses_of_the_scripts_are_those_of_the_methods() -> None:
    labels, s, t = torch.arange(8) % 6, outputs(1, 2), outputs(2, 4)
    hard = functional.cross_entropy(s.logits, labels)
    p, q = t.logits.softmax(1), s.logits.log_softmax(1)
    kd = 0.6 * hard + 0.4 * (p * (p.log() - q)).sum(1).mean()
    assert _loss("finetune", labels, s, None) == hard
    assert _loss("kd", labels, s, t).item() == pytest.approx(kd.item())
    found = _loss("dist", labels, s, t).item()
    assert found == pytest.approx((hard + dist(t.logits, s.logits, 2.0, 2.0, 1.0, 1e-8, smooth=False)).item())
    first = [states[:, 0] for states in (t.hidden_states[2], s.hidden_states[1])]
    apart = hidden_state_distance(*(z[:, None] for z in first), normalize=True, reduction="mean")
    assert _loss("pkd", labels, s, t).item() == pytest.approx((kd + 100 * apart).item())


def test_totals_are_of_the_runs_that_both_make() -> None:
    """kdbench: 30 s, 24 of them in runs; a script makes one of the two runs, of 16 s, in 88: 88 / (16 + 6) = 4."""
    runs = [
        {"run": "a", "method": "kd", "steps": 5, "training": 9.0, "kdbench": 16.0, "other": 88.0, "other_cpu": 70.0},
        {"run": "b", "method": "dml", "steps": 5, "training": 9.0, "kdbench": 8.0, "other": None, "other_cpu": None},
    ]
    total = {"command": 30.0, "cpu": 50.0, "jobs": 2, "limit": 5, "made_data": True, "threads": 1}
    here = {"cpu": "one", "cores": 2, "packages": {"torch": "2", "transformers": "5"}}
    text = "\n".join(whole_study.section({"measured": [total, *runs], "environment": here}))
    assert "|`a`|5|16.0|88.0|5.5|" in text
    assert "|`b`|5|8.0|||" in text
    assert "takes 30 s for all 2 runs. The 1 runs that scripts make too take 88 s with scripts and 22 s with" in text
    assert "4.0 times as fast (goal: 4)" in text
    assert "at most 5 steps a run" in text


def test_the_table_of_runs_side_by_side() -> None:
    """Ratios are round by round to one run with one thread."""
    rates = {(1, 1): (10.0, 20.0, 30.0), (1, 2): (5.0, 20.0, 45.0), (2, 1): (20.0, 36.0, 60.0)}
    measured = [
        {"jobs": jobs, "threads": threads, "round": i, "rows_per_second": rate, "rows_per_cpu_second": rate / jobs}
        for (jobs, threads), values in rates.items() for i, rate in enumerate(values)
    ]  # fmt: skip
    lines = side_by_side.table(measured)
    assert lines[3] == "|1|2|20|1.00 (0.50-1.50)|20|1.00 (0.50-1.50)|"
    assert lines[4] == "|2|1|36|2.00 (1.80-2.00)|18|1.00 (0.90-1.00)|"
    assert side_by_side.best_gain(measured) == (1.8, 2)
