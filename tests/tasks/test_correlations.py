"""Metrics of a regression: scipy's correlations, on all rows and on resampled ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kdbench.data.metrics import resolve, score, score_weights

NAMES, LABELS = ("pearson", "spearman"), ("score",)


def of_scipy(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    return {
        "pearson": float(stats.pearsonr(predicted, true).statistic),
        "spearman": float(stats.spearmanr(predicted, true).statistic),
    }


def some_rows(seed: int, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """True values with ties, and predictions that follow them."""
    rng = np.random.default_rng(seed)
    true = np.round(5 * rng.random(rows), 1)
    return np.round(true + rng.normal(size=rows), 1), true


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_scipy_with_ties(seed: int) -> None:
    predicted, true = some_rows(seed)
    assert score(NAMES, predicted.tolist(), true.tolist(), LABELS) == pytest.approx(of_scipy(predicted, true))
    assert score(NAMES, (1e4 + predicted).tolist(), true.tolist(), LABELS) == pytest.approx(of_scipy(predicted, true))


def test_by_hand() -> None:
    assert score(NAMES, [1.0, 2.0, 4.0], [0.0, 1.0, 2.0], LABELS) == {
        "pearson": pytest.approx(3 / math.sqrt(2 * 14 / 3)), "spearman": pytest.approx(1.0),
    }  # fmt: skip
    assert score(NAMES, [3.0, 2.0, 1.0], [0.0, 1.0, 2.0], LABELS) == {
        "pearson": pytest.approx(-1.0), "spearman": pytest.approx(-1.0),
    }  # fmt: skip


def test_weights_are_rows_drawn_several_times() -> None:
    first, true = some_rows(0)
    predicted = np.stack([first, some_rows(1)[0]])
    weights = np.random.default_rng(0).multinomial(len(true), np.full(len(true), 1 / len(true)), size=4)
    found = score_weights(NAMES, weights.astype(float), predicted, true, LABELS)
    for r, drawn in enumerate(np.repeat(np.arange(len(true)), row) for row in weights):
        for k, own in enumerate(predicted):
            expected = of_scipy(own[drawn], true[drawn])
            assert {name: found[name][r, k] for name in NAMES} == pytest.approx(expected)


def test_what_is_not_defined_counts_as_0() -> None:
    true = [0.0, 1.5, 2.0, 5.0]
    assert score(NAMES, [2.5] * 4, true, LABELS) == {"pearson": 0.0, "spearman": 0.0}
    rounded = [float(np.float32(2.5) + np.float32(i) * np.finfo(np.float32).eps) for i in range(4)]
    assert score(NAMES, rounded, true, LABELS) == {"pearson": 0.0, "spearman": 0.0}, "differs by rounding alone"
    assert score(NAMES, true, [1.0] * 4, LABELS) == {"pearson": 0.0, "spearman": 0.0}
    # a resample of one item, drawn four times
    weights = np.array([[0.0, 4.0, 0.0, 0.0]])
    found = score_weights(NAMES, weights, np.array([[0.1, 1.3, 2.2, 4.9]]), np.array(true), LABELS)
    assert {name: values.tolist() for name, values in found.items()} == {"pearson": [[0.0]], "spearman": [[0.0]]}


def test_metrics_fit_the_kind_of_task() -> None:
    with pytest.raises(ValueError, match="'accuracy' is no metric of a regression; valid: pearson, spearman"):
        resolve(("accuracy",), LABELS)
    with pytest.raises(ValueError, match="Unknown metric 'pearson'; valid: accuracy"):
        resolve(("pearson",), ("no", "yes"))
    with pytest.raises(ValueError, match="no finite numbers"):
        score(NAMES, [1.0, 2.0], [math.nan, 1.0], LABELS)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_of_another_scale_beside_them_change_nothing(name: str) -> None:
    """As those of a training that has diverged."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=50)
    close = true + rng.normal(size=50)
    weights = rng.multinomial(50, np.full(50, 0.02), size=5).astype(float)
    alone = score_weights([name], weights, close[None], true, LABELS)[name][:, 0]
    beside = score_weights([name], weights, np.stack([close, 1e7 * close]), true, LABELS)[name]
    assert (alone > 0.3).all()
    assert beside == pytest.approx(np.stack([alone, alone], axis=1), abs=1e-9)
