"""The metrics equal scikit-learn's, refuse what cannot be scored, and need no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from tasks import metrics
from tasks.metrics import score
from tasks.mnli import Mnli
from tasks.mrpc import Mrpc

PROJECT = Path(__file__).resolve().parents[2]
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)
ALONE = """
import socket
def refuse(*_, **__):
    raise SystemExit("the network was asked")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from tasks.metrics import score
print(score(("f1", "accuracy"), [1, 0, 1, 1], [1, 0, 0, 1]))
"""


@given(PAIRS)
@settings(deadline=None, max_examples=60)
def test_equal_to_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    predicted, true = [p for p, _ in pairs], [t for _, t in pairs]
    found = score(("accuracy", "f1"), predicted, true)
    assert found["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    ones = f1_score([t == 1 for t in true], [p == 1 for p in predicted], zero_division=0)
    assert found["f1"] == pytest.approx(ones)


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ([0, 0], [0, 0], 0.0),
        ([1, 1], [0, 0], 0.0),
        ([0, 0], [1, 1], 0.0),
        ([1, 0], [1, 0], 1.0),
        ([1, 1], [1, 0], 2 / 3),
    ],
)
def test_f1_at_the_edges(predicted: list[int], true: list[int], expected: float) -> None:
    assert score(("f1",), predicted, true) == {"f1": pytest.approx(expected)}


def test_arrays_are_scored_too_and_calls_do_not_add_up() -> None:
    assert score(("accuracy",), np.array([0, 1, 1]), np.array([0, 1, 0])) == {"accuracy": pytest.approx(2 / 3)}
    assert score(("accuracy",), [0], [0]) == {"accuracy": 1.0}


def test_tasks_give_their_own_metrics() -> None:
    assert list(Mrpc().score([1, 0], [1, 1])) == ["f1", "accuracy"]
    assert Mnli().score([2, 1, 0], [2, 1, 1]) == {"accuracy": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("names", "predicted", "true", "expected"),
    [
        (("accuracy",), [], [], "nothing to score"),
        (("accuracy",), [0, 1], [0], "2 predictions for 1 references"),
        (("accuracy",), [0, 1], [0, -1], "unlabelled"),
        (("recall",), [0], [0], "Unknown metric 'recall'; valid: accuracy, f1"),
    ],
)
def test_what_cannot_be_scored(names: tuple[str, ...], predicted: list[int], true: list[int], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        score(names, predicted, true)


def test_one_metric_object_per_process() -> None:
    score(("accuracy",), [0], [0])
    before = metrics._metric(os.getpid())
    score(("f1",), [1], [1])
    assert metrics._metric(os.getpid()) is before


def test_fresh_processes_ask_no_network_share_nothing_and_leave_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path / "tmp"), "HF_HOME": str(tmp_path)}
    environment.pop("HF_EVALUATE_OFFLINE", None)
    (tmp_path / "tmp").mkdir()
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", ALONE],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for job in jobs:
        printed, errors = job.communicate()
        assert printed.strip() == "{'f1': 0.8, 'accuracy': 0.75}", errors
    assert not list((tmp_path / "tmp").glob("kdbench-metric-*"))
    assert not (tmp_path / "metrics").exists()
