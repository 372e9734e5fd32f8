"""What a cost estimate looks at, and the lines that a user sees of it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kdbench.planning import cost_estimate as estimating
from kdbench.planning import run_scale
from kdbench.planning.cost_estimate import CostEstimate, estimate_cost, estimate_lines
from kdbench.planning.plan import Plan
from kdbench.results import store
from kdbench.results.store import Store
from tests.kdbench import small_runs
from tests.kdbench.charged_runs import finish

pytestmark = pytest.mark.usefixtures("two_cores")


def many(plan: Plan, seeds: int) -> Plan:
    """The plan with more seeds, made quickly; needs go to the runs of the same seed."""
    out = Plan(plan.preset, plan.study)
    for seed in range(seeds):
        names: dict[str, str] = {}
        for run, spec in plan.runs.items():
            needs = {role: names[parent] for role, parent in spec.needs.items()}
            copy = spec.model_copy(update={"seed": seed, "needs": needs})
            names[run] = copy.id
            out.runs[copy.id] = copy
    return out


@pytest.mark.slow
def test_ten_thousand_runs_are_not_ten_thousand_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Counter[str] = Counter()
    reads: Counter[Path] = Counter()

    def assign(*args: Any) -> Any:
        looks["assign"] += 1
        return genuine_assign(*args)

    def read(path: Path, kind: Any) -> Any:
        reads[path] += 1
        return genuine_read(path, kind)

    def cost(*args: Any) -> Any:
        looks["cost"] += 1
        return genuine_cost(*args)

    genuine_assign, genuine_read, genuine_cost = run_scale.assign_roles, store.read_record, estimating._Prices._cost
    monkeypatch.setattr(estimating._Prices, "_cost", cost)
    monkeypatch.setattr(run_scale, "assign_roles", assign)
    monkeypatch.setattr(store, "read_record", read)
    at, plan = Store(tmp_path / "results"), many(small_runs.plan(tmp_path, methods="kd,lgtm", tasks="rte,sst2"), 1700)
    elsewhere = small_runs.plan(tmp_path, methods="kd", tasks="mrpc")
    for spec in [*list(plan.runs.values())[:12], *elsewhere.runs.values()]:
        finish(at, spec, 1.0)

    found = estimate_cost(plan, at)

    assert found.runs == len(plan.runs) - 12 == 10_188
    assert looks["cost"] == 6  # of three methods, on two tasks
    assert looks["assign"] == 4  # with feedback and without, of two tasks
    measured = {path: n for path, n in reads.items() if path.name in ("cost.json", "spec.json")}
    assert set(measured.values()) == {1}
    assert len([path for path in measured if path.name == "spec.json"]) == 2  # the plan knows the others
    assert len([path for path in measured if path.name == "cost.json"]) == 14


def test_the_lines_that_a_user_sees() -> None:
    found = CostEstimate(84, 12345, 3.2 * 3600, 25 * 60, 120_400_000, "from 12 finished runs of the same methods")
    assert estimate_lines(found) == [
        "84 runs to train, 12,345 steps: about 3.2 h one after the other, at least 25 min with any number of jobs; "
        "120 MB on disk.",
        "From 12 finished runs of the same methods.",
    ]
    large = CostEstimate(1, 5, 40 * 86400.0, 40 * 86400.0, 4_300_000_000, "a guess", ("One.", "Two."))
    assert estimate_lines(large) == [
        "1 run to train, 5 steps: about 40 days one after the other, at least 40 days with any number of jobs; "
        "4.3 GB on disk.",
        "A guess.",
        "One. Two.",
    ]


def test_torch_is_not_loaded() -> None:
    script = "import sys, kdbench.planning.cost_estimate; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
