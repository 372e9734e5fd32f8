"""Formulas of fidelity and calibration against scikit-learn, torchmetrics, scipy, and numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy

from kdbench.results import calibration, fidelity
from kdbench.results.calibration import Confidences
from kdbench.results.item_statistics import ItemStatistic, average_over_seeds, mean_of, share_among
from kdbench.results.predictions import compact_logits

CASES = [(2, 0), (3, 1), (7, 2)]  # classes, seed


def drawn(classes: int, seed: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of a teacher and of a student, and labels that the teacher knows better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    truth = 2.0 * np.eye(classes)[labels]
    teacher = truth + rng.normal(size=(rows, classes))
    return teacher, 0.5 * teacher + rng.normal(size=(rows, classes)), labels


@pytest.mark.parametrize(("classes", "seed"), CASES)
def test_divergence_and_loyalty_are_scipys(classes: int, seed: int) -> None:
    teacher, student, _ = drawn(classes, seed)
    p, q = softmax(teacher, 1), softmax(student, 1)
    np.testing.assert_allclose(fidelity.divergence(teacher, student), entropy(p, q, axis=1), atol=1e-12)
    expected = 1 - jensenshannon(p, q, axis=1)
    np.testing.assert_allclose(fidelity.probability_loyalty(teacher, student), expected, atol=1e-12)
    assert fidelity.probability_loyalty(teacher, teacher + 3.0) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize(("classes", "seed"), CASES)
def test_agreement_is_accuracy_with_the_teacher_as_the_truth(classes: int, seed: int) -> None:
    from sklearn.metrics import accuracy_score

    teacher, student, labels = drawn(classes, seed)
    t, s = teacher.argmax(1), student.argmax(1)
    wrong = t != labels
    assert fidelity.agreement(t, s).value == accuracy_score(t, s)
    assert fidelity.agreement_where_wrong(t, s, labels).value == pytest.approx(accuracy_score(t[wrong], s[wrong]))
    cells = {name: one.value for name, one in fidelity.right_and_wrong(t, s, labels).items()}
    assert sum(cells.values()) == pytest.approx(1.0)
    assert cells["both_right"] + cells["student_only"] == pytest.approx(accuracy_score(labels, s))
    assert cells["both_right"] + cells["teacher_only"] == pytest.approx(accuracy_score(labels, t))


def test_agreement_where_wrong_needs_an_error() -> None:
    labels = np.array([0, 1])
    assert fidelity.agreement_where_wrong(labels, labels, labels) is None


def test_agreement_of_seeds_is_the_mean_over_pairs() -> None:
    seeds = [np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), np.array([1, 1, 1, 0])]
    assert fidelity.agreement_of_seeds(seeds).value == pytest.approx((3 + 3 + 2) / 12)
    assert fidelity.agreement_of_seeds(seeds[:1]) is None


@pytest.mark.parametrize(("classes", "seed"), CASES)
def test_proper_scores_are_scikit_learns(classes: int, seed: int) -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    _, student, labels = drawn(classes, seed)
    log_p = calibration.log_probabilities(student)
    probabilities = softmax(student, 1)
    np.testing.assert_allclose(np.exp(log_p), probabilities, atol=1e-12)
    assert calibration.log_loss(log_p, labels).value == pytest.approx(log_loss(labels, probabilities))
    truth = np.eye(classes)[labels]
    expected = brier_score_loss(truth, probabilities, scale_by_half=False)
    assert calibration.brier_score(log_p, labels).value == pytest.approx(expected)


@pytest.mark.parametrize(("classes", "seed"), CASES)
def test_the_calibration_error_of_equal_widths_is_torchmetrics(classes: int, seed: int) -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    _, student, labels = drawn(classes, seed)
    found = calibration.confidences(calibration.log_probabilities(student), labels)
    widths = np.minimum((found.confidence * calibration.BINS).astype(int), calibration.BINS - 1)
    expected = multiclass_calibration_error(
        torch.from_numpy(softmax(student, 1)), torch.from_numpy(labels), classes, n_bins=calibration.BINS, norm="l1"
    )
    assert calibration.calibration_error(found, widths).value == pytest.approx(float(expected), abs=1e-6)


def test_bins_of_equal_mass_are_scikit_learns_quantiles() -> None:
    from sklearn.calibration import calibration_curve

    _, student, labels = drawn(2, 5)
    found = calibration.confidences(calibration.log_probabilities(student), labels)
    bins = calibration.equal_mass_bins(found.confidence)
    assert np.bincount(bins).tolist() == [20] * 15
    accuracy, confidence = calibration_curve(found.correct, found.confidence, n_bins=15, strategy="quantile")
    own_confidence, own_accuracy = calibration.reliability(found, bins)
    np.testing.assert_allclose(own_confidence, confidence)
    np.testing.assert_allclose(own_accuracy, accuracy)
    error = calibration.calibration_error(found, bins).value
    assert error == pytest.approx(np.abs(accuracy - confidence).mean())


def test_equal_confidences_share_a_bin() -> None:
    """Else the error would depend on the order of rows."""
    assert set(calibration.equal_mass_bins(np.full(50, 0.7))) == {1}
    mixed = calibration.equal_mass_bins(np.array([0.5] * 40 + [0.6, 0.7, 0.8, 0.9] * 5))
    assert len(set(mixed[:40])) == 1


def test_the_bias_of_the_calibration_error_is_what_calibrated_networks_show() -> None:
    """ECE of networks whose confidences are right by construction, on 250 and on 4,000 items."""
    rng, means = np.random.default_rng(0), []
    for rows in (250, 4000):
        confidence = rng.uniform(0.5, 1.0, rows)
        bins = calibration.equal_mass_bins(confidence)
        errors = [
            calibration.calibration_error(Confidences(confidence, rng.uniform(size=rows) < confidence), bins).value
            for _ in range(200)
        ]
        expected = calibration.bias_of_calibration_error(Confidences(confidence, confidence > 0), bins)
        means.append(float(np.mean(errors)))
        assert means[-1] == pytest.approx(expected, rel=0.08)
    assert means[0] > 3 * means[1]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_of_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(3)
    logits = 2 * rng.normal(size=(40_000, 3))
    p = softmax(logits, 1)
    labels = (p.cumsum(1) < rng.uniform(size=(len(p), 1))).sum(1)  # labels as often as the probabilities say
    assert calibration.fit_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.03)


def test_no_other_temperature_has_a_smaller_loss() -> None:
    from scipy.optimize import minimize_scalar

    _, student, labels = drawn(3, 4)

    def loss(log_temperature: float) -> float:
        log_p = calibration.log_probabilities(student, math.exp(log_temperature))
        return calibration.log_loss(log_p, labels).value

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert calibration.fit_temperature(student, labels) == pytest.approx(math.exp(best.x), rel=1e-4)


def test_logits_that_are_always_right_get_the_lowest_temperature() -> None:
    labels = np.array([0, 1, 1])
    found = calibration.fit_temperature(np.eye(2)[labels], labels)
    assert found == pytest.approx(calibration.COOLEST, rel=1e-6)
    assert np.isfinite(calibration.log_probabilities(np.eye(2)[labels], found)).all()


def test_risk_by_coverage_by_hand() -> None:
    found = Confidences(np.array([0.9, 0.6, 0.8, 0.7]), np.array([True, False, False, True]))
    np.testing.assert_allclose(calibration.risk_at(found, np.array([0.25, 0.5, 0.75, 1.0])), [0, 1 / 2, 1 / 3, 1 / 2])
    # equal confidences count with their mean
    level = Confidences(np.full(4, 0.9), np.array([True, False, False, True]))
    np.testing.assert_allclose(calibration.risk_at(level, np.array([0.25, 1.0])), [0.5, 0.5])


def bootstrap(statistic: object, rows: int, rng: np.random.Generator) -> float:
    values = [statistic(rng.integers(0, rows, rows)) for _ in range(600)]  # type: ignore[operator]
    return float(np.std(values))


def test_first_order_errors_are_those_of_the_bootstrap() -> None:
    """Of a mean, of a share among some items, and of the calibration error in fixed bins."""
    teacher, student, labels = drawn(3, 8, rows=900)
    t, s = teacher.argmax(1), student.argmax(1)
    found = calibration.confidences(calibration.log_probabilities(2 * student), labels)
    bins, rng = calibration.equal_mass_bins(found.confidence, 5), np.random.default_rng(1)
    cases = [
        (fidelity.agreement(t, s), lambda i: fidelity.agreement(t[i], s[i]).value),
        (
            fidelity.agreement_where_wrong(t, s, labels),
            lambda i: fidelity.agreement_where_wrong(t[i], s[i], labels[i]).value,
        ),
        (
            calibration.calibration_error(found, bins),
            lambda i: calibration.calibration_error(
                Confidences(found.confidence[i], found.correct[i]), bins[i]
            ).value,
        ),
    ]  # fmt: skip
    for statistic, again in cases:
        assert float(statistic.influence.mean()) == pytest.approx(0, abs=1e-12)
        error = float(statistic.influence.std() / np.sqrt(900))
        assert error == pytest.approx(bootstrap(again, 900, rng), rel=0.1)


def test_the_average_over_seeds_counts_items_once_and_seeds_apart() -> None:
    items = np.random.default_rng(0).normal(size=400)
    one = mean_of(items)
    # the same numbers with every seed: more seeds do not help
    equal = average_over_seeds([[one], [one], [one]])
    assert equal.variance == pytest.approx(items.var() / 400)
    # two splits of half the items each, as one set of all items
    halves = [mean_of(items[:200]), mean_of(items[200:])]
    together = average_over_seeds([halves])
    assert together.value == pytest.approx(items.mean())
    assert together.variance == pytest.approx((items[:200].var() + items[200:].var()) / 800)
    # seeds that differ by more than their items explain
    apart = average_over_seeds([[ItemStatistic(v, one.influence)] for v in (0.0, 1.0)])
    assert apart.between == pytest.approx(0.5)


def test_a_share_among_no_items_is_not_known() -> None:
    assert share_among(np.array([True]), np.array([False])) is None


def test_compact_logits_keep_the_probabilities() -> None:
    _, student, _ = drawn(7, 1)
    kept = compact_logits((1000 + 5 * student).astype(np.float32)).astype(np.float64)
    assert (kept.max(1) == 0).all()
    np.testing.assert_allclose(softmax(kept, 1), softmax(5 * student, 1), atol=1e-3)
    assert np.isfinite(compact_logits(np.array([[1e6, -1e6]]))).all()
