"""What a training is said to cost, against what can be counted by hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from kdbench.core.errors import Stopped
from kdbench.distill.cost_meter import CostMeter
from kdbench.results.store import Store
from kdbench.training.runner import execute
from tests.kdbench.small_runs import CPU, FEW, plan, the_run, train

# passes of a row trained on, by hand: what the step of each method does
STEP = {
    # the loss; the teacher's logits are computed once for all epochs (2)
    "kd": {"student": {"forward": 1, "backward": 1}, "teacher": {"forward": 0.5}},
    # look-ahead and its use on feedback, the influence, the student's own gradient
    "lgtm": {"student": {"forward": 2, "tangent": 1, "backward": 3}, "teacher": {"forward": 2, "backward": 1}},
    # each is the other's target once
    "dml": {"student": {"forward": 2, "backward": 1}, "teacher": {"forward": 2, "backward": 1}},
    "meta_distill": {"student": {"forward": 3, "tangent": 1, "backward": 3}, "teacher": {"forward": 2, "backward": 1}},
}


def cost(tmp_path: Path, method: str, *sets: str) -> dict[str, Any]:
    made, store = plan(tmp_path, "batch_size=8", *sets, methods=method), Store(tmp_path / "results")
    train(made, store)
    return store.run(the_run(made).id).cost()


@pytest.mark.slow
@pytest.mark.parametrize("method", STEP)
def test_passes_equal_those_counted_by_hand(tmp_path: Path, method: str) -> None:
    # a number of rows that batches divide, so that feedback batches are as large as the others
    found = cost(tmp_path, method, "feedback=train:0.25", "selection=validation", "train_rows=32")
    shares = {name: {k: n / found["rows"] for k, n in kinds.items()} for name, kinds in found["passes"].items()}
    assert shares == STEP[method]
    assert found["rows"] == found["steps"] * 8
    assert 0 < found["step_seconds"] <= found["train_seconds"]
    assert found["peak_memory"] > 50e6  # of a process with torch in it


@pytest.mark.slow
def test_a_pass_in_pieces_is_one_pass(tmp_path: Path) -> None:
    made = plan(tmp_path, "epochs=1", methods="lgtm")
    costs = []
    for rows in (0, 5):
        store = Store(tmp_path / str(rows))
        train(made, store, CPU.model_copy(update={"micro_batch": rows}))
        costs.append(store.run(the_run(made).id).cost()["passes"])
    assert costs[0] == costs[1]


@pytest.mark.slow
def test_an_interruption_costs_nothing_twice(tmp_path: Path) -> None:
    made, costs = plan(tmp_path, methods="kd"), []
    for stops in (0, 2):
        store = Store(tmp_path / str(stops))
        (first, *_) = [spec for spec in made.runs.values() if spec.method != "kd"]
        execute(first, store, CPU, FEW)
        for _ in range(stops):
            asked = iter([False, True])
            with pytest.raises(Stopped):
                execute(the_run(made), store, CPU, FEW, should_stop=lambda asked=asked: next(asked, True))
        execute(the_run(made), store, CPU, FEW)
        costs.append(store.run(the_run(made).id).cost())
    assert costs[0]["passes"] == costs[1]["passes"]
    assert costs[0]["rows"] == costs[1]["rows"]
    assert all(0 < cost["cpu_seconds"] <= 1.1 * cost["train_seconds"] for cost in costs)  # one thread


def test_the_processors_time_goes_on_from_a_checkpoint() -> None:
    first = CostMeter(torch.device("cpu"))
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    stored = first.state()
    assert 0.05 <= stored["processor"] < 1
    other = CostMeter(torch.device("cpu"))
    other.load_state(stored)
    assert stored["processor"] - 0.01 <= other.report(1.0)["cpu_seconds"] < 1
    del stored["processor"]  # of a checkpoint from before it was counted
    other.load_state(stored)
    assert other.report(1.0)["cpu_seconds"] is None


def test_what_is_aside_is_not_counted() -> None:
    meter = CostMeter(torch.device("cpu"))
    logits = torch.zeros(4, 2, requires_grad=True)
    with meter.not_counted(), meter.not_counted():
        meter.count_pass("student", logits * 1)
    meter.count_pass("student", logits * 1)
    assert meter.counts.passes == {"student": {"forward": 4}}
    assert meter.counts.not_counted > 0
