"""Scores that a task in Python computes itself: what cannot be selected by, or averaged, is refused before training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.data.task import Examples, Task, TaskData
from kdbench.data.task_registry import TASKS
from kdbench.data.tokens import Tokens
from kdbench.results.comparison import scale_interval
from kdbench.results.significance import Difference, paired_difference
from kdbench.training.deployment.measure import _form
from kdbench.training.evaluator import score_logits
from tests.kdbench.small_runs import added_plugins, refusal

TRUE = [0, 1, 1, 0, 1, 1]
DATA = TaskData({"train": Examples(["a"] * 6, None, TRUE), "validation": Examples(["a"] * 6, None, TRUE)})
Score = Callable[[Sequence[Any], Sequence[Any]], dict[str, Any]]


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> float:
    return sum(p == r for p, r in zip(predictions, references, strict=True)) / len(references)


def precision(predictions: Sequence[Any], references: Sequence[Any]) -> float:
    hits = sum(p == r == 1 for p, r in zip(predictions, references, strict=True))
    return hits / sum(p == 1 for p in predictions)


def own_task(compute: Score) -> type[Task]:
    class Own(Task):
        """Scores of its own."""

        title = "Own"
        labels = ("no", "yes")
        metrics = ("accuracy", "other")

        def load(self, location: DataLocation) -> TaskData:
            return DATA

        def score(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
            return compute(predictions, references)

    Own.name = "own"
    return Own


WRONG: dict[str, tuple[Score, str]] = {
    "another name": (
        lambda p, r: {"acc": accuracy(p, r), "other": 1.0},
        r"Task 'own' has the metric 'accuracy' and its score computes acc, other; give both the same names\.",
    ),
    "not finite": (
        lambda p, r: {"accuracy": accuracy(p, r), "other": math.nan if 1 not in p else 1.0},
        r"Task 'own' scores other=nan; return numbers of which 1 is the best, such as 1 - error\.",
    ),
    "an error": (
        lambda p, r: {"accuracy": accuracy(p, r), "other": precision(p, r)},
        r"Task 'own' cannot score 6 rows with 1 distinct prediction "
        r"\(ZeroDivisionError: .* \(test_own_scores\.py, line \d+\)\); return a number for each metric",
    ),
    "an error of a look-up": (
        lambda p, r: {"accuracy": {1: 1.0}[p[0]], "other": 1.0},
        r"Task 'own' cannot score 6 rows with 2 distinct predictions \(KeyError: 0 \(test_own_scores\.py",
    ),
    "no dictionary": (
        cast(Score, accuracy),
        r"Task 'own' scores by a float; return a dictionary with a number for each metric \(accuracy, other\)\.",
    ),
    "a word": (
        lambda p, r: {"accuracy": accuracy(p, r), "other": "good"},
        r"Task 'own' scores other='good'; return numbers of which 1 is the best",
    ),
    "nothing": (
        lambda p, r: {"accuracy": accuracy(p, r), "other": None},
        r"Task 'own' scores other=None; return numbers of which 1 is the best",
    ),
    "per cent": (
        lambda p, r: {"accuracy": 100 * accuracy(p, r), "other": 1.0},
        "Task 'own' scores accuracy=100; return numbers of which 1 is the best",
    ),
    "lower is better": (
        lambda p, r: {"accuracy": accuracy(p, r), "other": 1 - accuracy(p, r)},
        r"Task 'own' scores wrong answers to validation higher than right ones \(other 0\.6667 and 0\), and the",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_scores_that_nothing_can_be_selected_by_are_refused(name: str) -> None:
    compute, why = WRONG[name]
    with pytest.raises(UserError, match=why):
        own_task(compute)().check_own_scores(DATA)


def test_right_scores_pass() -> None:
    own_task(lambda p, r: {"accuracy": np.float64(accuracy(p, r)), "other": 0.5})().check_own_scores(DATA)
    # the coefficient of determination has no lower end
    low = own_task(lambda p, r: {"accuracy": accuracy(p, r), "other": 1 - 9 * (1 - accuracy(p, r))})()
    low.check_own_scores(DATA)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (
            lambda counts: {"accuracy": counts[..., 0, 0] / counts.sum((-1, -2))},
            r"computes accuracy 1 by score and 0\.3333 by score_counts for the same answers; let both compute the same",
        ),
        (lambda counts: {"f1": 1.0}, r"cannot score confusion matrices \(KeyError: 'accuracy'\)"),
        (lambda counts: {"accuracy": 1.0}, r"cannot score confusion matrices \(TypeError: .*leave score_counts out"),
    ],
)
def test_intervals_are_of_the_same_scores(wrong: Any, why: str) -> None:
    """Resampling computes scores from confusion matrices, where a task has code for them."""

    class Counted(Task):
        labels, metrics = ("no", "yes"), ("accuracy",)

        def load(self, location: DataLocation) -> TaskData:
            return DATA

        def score_counts(self, counts: Any) -> dict[str, Any]:
            return right(counts) if self.is_right else wrong(counts)

    Counted.name, Counted.is_right = "own", False  # type: ignore[attr-defined]
    right = lambda counts: {"accuracy": np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-1, -2))}  # noqa: E731
    with pytest.raises(UserError, match=why):
        Counted().check_own_scores(DATA)
    Counted.is_right = True  # type: ignore[attr-defined]
    Counted().check_own_scores(DATA)


@pytest.fixture
def worse() -> Iterator[None]:
    with added_plugins(TASKS, own=own_task(WRONG["lower is better"][0])):
        yield


def test_a_run_is_refused_before_it_trains(worse: None, tmp_path: Any) -> None:
    said = refusal("run", "--methods", "finetune", "--tasks", "own", "--results", str(tmp_path / "results"))
    assert "higher than right ones" in said
    assert not list(tmp_path.glob("results/runs/*"))


def test_an_evaluation_refuses_them_too() -> None:
    """Predictions of a network may be none that were tried before."""
    logits, labels = torch.tensor([[1.0, 0.0]] * 6), torch.tensor(TRUE)
    with pytest.raises(UserError, match="other=nan"):
        score_logits(own_task(WRONG["not finite"][0])(), logits, labels)
    found = score_logits(own_task(lambda p, r: {"accuracy": accuracy(p, r), "other": 0})(), logits, labels)
    assert (found["accuracy"], found["other"]) == (pytest.approx(2 / 6), 0.0)


def test_a_measured_form_refuses_them_too() -> None:
    """Weights of 8 bits may predict one class only, where the network that was evaluated did not."""
    labels = np.array(TRUE, np.int64)
    tokens = Tokens(np.arange(6, dtype=np.int32), np.zeros(6, np.int8), np.arange(7, dtype=np.int64), labels)
    logits = {"validation": torch.tensor([[1.0, 0.0]] * 6)}
    task = own_task(WRONG["an error"][0])()
    with pytest.raises(UserError, match="cannot score 6 rows with 1 distinct prediction"):
        _form(
            task, lambda inputs: torch.zeros(len(inputs["input_ids"]), 2), 0, {"validation": tokens}, logits, logits, 0
        )


def test_resampled_rows_without_a_class_are_scored_or_refused() -> None:
    compute: Score = lambda p, r: {"accuracy": accuracy(p, r), "other": precision(r, p)}  # noqa: E731
    counts = np.array([[[3.0, 0.0], [0.0, 0.0]]])
    with pytest.raises(UserError, match="ZeroDivisionError"):
        own_task(compute)().score_counts(counts)


def test_the_interval_of_a_signed_score_of_its_own_holds_its_mean() -> None:
    """Scores of a task's own may lie below 0; those of `kdbench.data.metrics` but correlations do not."""
    found: Difference = paired_difference(np.array([-30.0, -34.0]), np.array([[-31.0, -33.0], [-29.0, -35.0]] * 50))
    low, high = scale_interval(own_task(WRONG["per cent"][0])(), found)
    assert low < found.value < high
    plain = cast(Any, SimpleNamespace(metrics=("accuracy",), has_own_score=False))
    assert scale_interval(plain, found)[0] == 0.0
