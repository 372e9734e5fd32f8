"""The share of the teacher's lead, and its interval against Fieller's closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdbench.results.comparison import SeedScores
from kdbench.results.gap_share import covered_share


def without_items(observed: np.ndarray) -> SeedScores:
    """Scores whose items add no variance: only seeds count."""
    return SeedScores(observed, np.repeat(observed[None], 50, axis=0))


def fieller(lead: np.ndarray, gain: np.ndarray) -> tuple[float, float]:
    """The interval of mean(gain) / mean(lead) for normal pairs (Fieller 1954), by its quadratic."""
    seeds = len(lead)
    t2 = float(stats.t.ppf(0.975, seeds - 1)) ** 2
    (a, c), (_, b) = np.cov(lead, gain) / seeds
    x, y = lead.mean(), gain.mean()
    roots = np.roots([x**2 - t2 * a, -2 * (x * y - t2 * c), y**2 - t2 * b])
    return float(min(roots)), float(max(roots))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(3, 8))
def test_the_interval_is_fiellers(seed: int, seeds: int) -> None:
    rng = np.random.default_rng(seed)
    observed = np.array([[60.0], [72.0], [80.0]]) + rng.normal(size=(3, seeds))
    base, row, teacher = observed
    found = covered_share([without_items(observed)])
    assert found.value == pytest.approx((row - base).mean() / (teacher - base).mean())
    assert found.interval == pytest.approx(fieller(teacher - base, row - base), abs=1e-4)


def test_tasks_are_taken_together() -> None:
    """12 of 20 points on one task and 1 of 6 on another are 13 of 26, not the mean of the two shares."""
    noise = np.array([-0.1, 0.0, 0.1])
    tasks = [np.array([60 + noise, 72 - noise, 80 + 0 * noise]), np.array([84 + noise, 85 + noise, 90 - noise])]
    found = covered_share([without_items(task) for task in tasks])
    assert found.value == pytest.approx(13 / 26)
    assert found.interval is not None
    assert found.interval[0] < 0.5 < found.interval[1]


def test_no_interval_where_the_lead_may_be_none() -> None:
    observed = np.array([[60.0, 70.0, 65.0], [66.0, 64.0, 67.0], [67.0, 66.0, 65.0]])
    assert covered_share([without_items(observed)]).interval is None
    same = covered_share([without_items(np.array([[60.0, 60.0], [61.0, 61.0], [60.0, 60.0]]))])
    assert math.isnan(same.value)
    assert same.interval is None


def test_no_share_where_the_teacher_is_below_the_baseline() -> None:
    """60, 65, 70: a row 5 points below the baseline does not cover half of a lead."""
    found = covered_share([without_items(np.array([[70.0, 70.1], [65.0, 65.0], [60.0, 60.0]]))])
    assert math.isnan(found.value)
    assert found.interval is None


def test_without_any_error_the_interval_is_a_point() -> None:
    observed = np.array([[60.0, 60.0], [70.0, 70.0], [80.0, 80.0]])
    assert covered_share([without_items(observed)]).interval == pytest.approx((0.5, 0.5), abs=1e-5)
