"""The metrics equal scikit-learn's, refuse what cannot be scored, and need no network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, matthews_corrcoef

from kdbench.analysis.metric_labels import part_names
from kdbench.data import metrics
from kdbench.data.metrics import score, score_counts
from kdbench.data.task import Task
from kdbench.tasks.mnli import Mnli
from kdbench.tasks.mrpc import Mrpc

PROJECT = Path(__file__).resolve().parents[2]
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)
ALONE = """
import socket
def refuse(*_, **__):
    raise SystemExit("the network was asked")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from kdbench.data.metrics import score
print(score(("f1", "accuracy"), [1, 0, 1, 1], [1, 0, 0, 1]))
"""


def of_scikit_learn(predicted: list[int], true: list[int]) -> dict[str, float]:
    """Classes that occur nowhere are no classes to scikit-learn; it warns of those that are predicted only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = f1_score(true, predicted, labels=[1], average=None, zero_division=0)[0]
        macro = f1_score(true, predicted, average="macro", zero_division=0)
        return {
            "accuracy": accuracy_score(true, predicted), "macro_f1": macro, "f1:b": one,
            "matthews": matthews_corrcoef(true, predicted),
            "balanced_accuracy": balanced_accuracy_score(true, predicted),
        }  # fmt: skip


@pytest.mark.slow
@given(PAIRS)
@settings(deadline=None, max_examples=100)
def test_equal_to_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    predicted, true = [p for p, _ in pairs], [t for _, t in pairs]
    expected = of_scikit_learn(predicted, true)
    found = score(("f1", *expected), predicted, true, "abc")
    assert found == pytest.approx(expected | {"f1": expected["macro_f1"]})


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=12))
@settings(deadline=None, max_examples=20)
def test_of_two_classes_f1_is_that_of_class_1(pairs: list[tuple[int, int]]) -> None:
    predicted, true = [p for p, _ in pairs], [t for _, t in pairs]
    expected = of_scikit_learn(predicted, true)
    assert score(("f1", *expected), predicted, true, "ab") == pytest.approx(expected | {"f1": expected["f1:b"]})


@given(st.integers(2, 150), st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_counts_give_the_scores(classes: int, seed: int) -> None:
    rng, names = np.random.default_rng(seed), ("accuracy", "f1", "macro_f1", "f1:1", "matthews", "balanced_accuracy")
    true = rng.choice(rng.integers(0, classes, 40), (2, 3, 90))  # some classes have no row
    predicted = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, classes, true.shape))
    counts = np.zeros((*true.shape[:-1], classes, classes))
    for place in np.ndindex(*true.shape):
        counts[(*place[:-1], true[place], predicted[place])] += 1
    labels = [str(i) for i in range(classes)]
    found = score_counts(names, counts, labels)
    for place in np.ndindex(*true.shape[:-1]):
        expected = score(names, predicted[place].tolist(), true[place].tolist(), labels)
        assert {name: values[place] for name, values in found.items()} == pytest.approx(expected)


def test_a_thousand_matrices_of_150_classes_are_scored_in_a_moment() -> None:
    counts = np.ones((1000, 150, 150))
    started = time.process_time()
    score_counts(("accuracy", "macro_f1", "matthews", "balanced_accuracy"), counts)
    assert time.process_time() - started < 5  # 0.3 s; by a loop over rows it takes minutes


def test_a_task_is_named_what_it_is_scored_by() -> None:
    class Three(Mnli):
        metrics = ("f1", "accuracy", "f1:neutral")

    class Two(Mrpc):
        metrics = ("f1", "accuracy")

    assert Three.metrics == ("macro_f1", "accuracy", "f1:neutral")
    assert Two.metrics == ("f1", "accuracy")
    found = Three().score([0, 1, 1, 2], [0, 1, 2, 2])
    assert found == {"macro_f1": pytest.approx(7 / 9), "accuracy": 0.75, "f1:neutral": pytest.approx(2 / 3)}
    parts = ["macro-F1", "Acc.", "F1 of neutral"]
    assert part_names(Three) == [f"{part} {split}" for split in ("m", "mm") for part in parts]
    with pytest.raises(ValueError, match="'f1:maybe' names no class; the classes are entailment, neutral, contradi"):

        class Wrong(Mnli):
            metrics = ("f1:maybe",)


def test_so_of_a_task_of_ones_own() -> None:
    """One that is no GLUE task, from its class and from a file."""

    class Own(Task):
        title, labels, metrics = "Own", ["neg", "neu", "pos"], ["f1", "f1:pos"]
        load = None  # type: ignore[assignment]  # nothing is read here

    assert Own.metrics == ("macro_f1", "f1:pos")
    assert part_names(Own) == ["macro-F1", "F1 of pos"]
    assert Own().score([0, 1, 1, 2], [0, 1, 2, 2]) == {"macro_f1": pytest.approx(7 / 9), "f1:pos": pytest.approx(2 / 3)}
    with pytest.raises(ValueError, match="Unknown metric 'recall'; valid: accuracy, f1"):

        class Wrong(Own):  # before anything is trained
            metrics = ("recall",)

    class Scored(Own):
        metrics = ("recall",)

        def score(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
            return {"recall": 0.5}

    assert Scored.metrics == ("recall",)


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
        (("recall",), [0], [0], "Unknown metric 'recall'; valid: accuracy, f1, macro_f1"),
        (("f1:1",), [2], [1], "not between 0 and 1"),
    ],
)
def test_what_cannot_be_scored(names: tuple[str, ...], predicted: list[int], true: list[int], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        score(names, predicted, true, "01")


def test_one_metric_object_per_process() -> None:
    score(("accuracy",), [0], [0])
    before = metrics._metric(os.getpid())
    score(("f1",), [1], [1])
    assert metrics._metric(os.getpid()) is before


@pytest.mark.slow
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
