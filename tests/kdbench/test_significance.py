"""The statistics against data whose truth is known.

Made data have both ways: a method's score for an item is a common difficulty, plus what this method makes of this item
(sd `items`), plus what this seed does to the method (sd `seeds`), plus noise of this seed and item (sd `noise`); the
answer is right where the sum is positive. Both methods are equal, so the true difference is 0.

How often intervals of nominal 95 % hold the truth, by number of seeds S (277 items, 2,000 simulations, accuracy):

    sd of seeds  items  noise     S=2   S=3   S=5     seeds and items drawn, percentiles: S=2   S=3   S=5
            0.0    0.5    0.5    99.8  96.5  96.0                                        98.3  98.7  97.9
            0.1    0.5    0.5    97.8  94.8  94.8                                        91.4  95.2  95.5
            0.3    0.2    0.2    89.5  93.8  95.0                                        63.1  79.9  85.6
            0.05   0.15   0.7   100.0  98.0  97.2

The last world is that of the kept study, in which the seeds' trainings answer nearly independently (cov is 2 % of var).
Were S - 1 degrees of freedom charged to the bound of the seeds' variance, three seeds would hold the truth there in
99.7 of 100, and a difference of one standard deviation would hardly ever be found.

The last columns are why seeds are not drawn. With one seed: 95.6 where seeds do not matter, 76.7 with sd 0.1 of seeds,
which is what the tables' note about one seed is for. (sd 0.1 makes accuracy vary by 2 points between seeds.)
"""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from scipy import special

from kdbench.data.metrics import ScoreCounts
from kdbench.data.task_registry import TASKS
from kdbench.results import significance
from kdbench.results.comparison import MeanMetric
from kdbench.results.significance import Classes, Difference, Floats, Metric, difference_of

ITEMS = 277
WORLDS = {  # sd of seeds, items, noise; how many of 100 intervals may hold the truth by S, at least
    "no seed effect": (0.0, 0.5, 0.5, {2: 0.98, 3: 0.96, 5: 0.93}),
    "seeds and items": (0.1, 0.5, 0.5, {2: 0.95, 3: 0.93, 5: 0.92}),
    "seeds above all": (0.3, 0.2, 0.2, {2: 0.86, 3: 0.89, 5: 0.92}),
    "noise above all": (0.05, 0.15, 0.7, {2: 0.98, 3: 0.96, 5: 0.95}),
}


def accuracy(counts: ScoreCounts) -> Floats:
    share: Floats = counts.hits.sum(-1) / counts.actual.sum(-1)
    return share


def world(
    rng: np.random.Generator, seeds: int, sds: tuple[float, ...], better: float = 0.0, items: int = ITEMS
) -> tuple[Classes, Classes, Classes]:
    """Labels [n] and the predictions of two methods [S, n]; the second is `better` by so many sd."""
    labels = (rng.random(items) < 2 / 3).astype(np.int64)
    difficulty = rng.normal(size=items)
    sides = []
    for shift in (0.0, better):
        taste, luck = sds[1] * rng.normal(size=items), sds[0] * rng.normal(size=(seeds, 1))
        right = 0.9 + shift + difficulty + taste + luck + sds[2] * rng.normal(size=(seeds, items)) > 0
        sides.append(np.where(right, labels, 1 - labels))
    return labels, sides[0], sides[1]


def resample_differences(
    metric: Metric, labels: Classes, first: Classes, second: Classes, classes: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """The seeds' differences [S] of two methods' predictions [S, n], and the same over resampled items."""
    scores = significance.resample_scores(metric, labels, np.vstack([first, second]), classes, rng)
    found = scores[:, : len(first)] - scores[:, len(first) :]
    return found[0], found[1:]


def judge(rng: np.random.Generator, labels: Classes, first: Classes, second: Classes) -> Difference:
    return significance.paired_difference(*resample_differences(accuracy, labels, first, second, 2, rng))


def coverage(rng: np.random.Generator, sds: tuple[float, ...], seeds: int, times: int) -> float:
    held = 0
    for _ in range(times):
        low, high = judge(rng, *world(rng, seeds, sds)).interval()
        held += low <= 0 <= high
    return held / times


def naive_coverage(rng: np.random.Generator, sds: tuple[float, ...], seeds: int, times: int) -> float:
    """Of the percentile interval of draws of seeds and items."""
    held = 0
    for _ in range(times):
        resampled = resample_differences(accuracy, *world(rng, seeds, sds), 2, rng)[1]
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(resampled))
        low, high = np.quantile((resampled * weights).sum(1) / seeds, [0.025, 0.975])
        held += bool(low <= 0 <= high)
    return held / times


@pytest.fixture
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "RESAMPLES", 300)


@pytest.mark.slow
@pytest.mark.usefixtures("_few_resamples")
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_hold_the_truth(name: str, seeds: int) -> None:
    """Of 400 at least the bound of the world: two to three standard errors (1 to 1.3 of 100) below the table above."""
    *sds, bounds = WORLDS[name]
    assert bounds[seeds] <= coverage(np.random.default_rng(seeds), tuple(sds), seeds, 400)


@pytest.mark.slow
@pytest.mark.usefixtures("_few_resamples")
def test_intervals_are_no_wider_than_need_be() -> None:
    """Where the items bound the seeds' variance, as in most pairs of a study; 98.0 of 100, see the table above."""
    *sds, _ = WORLDS["noise above all"]
    assert coverage(np.random.default_rng(7), tuple(sds), 3, 600) < 0.992


def test_the_bound_of_the_seeds_variance_is_no_estimate_of_three_seeds() -> None:
    """It takes the place of a smaller variance, and leaves the smaller one's uncertainty, or that of half the bound."""
    items = 4.0 * np.eye(3) + 1.0  # var 5, cov 1
    of = {name: difference_of(np.array(values), items) for name, values in {
        "equal": [1.0, 1.0, 1.0], "near": [-0.5, 1.0, 2.5], "far": [-4.0, 1.0, 6.0]}.items()}  # fmt: skip
    assert [of[name].between for name in ("equal", "near", "far")] == pytest.approx([4.0, 4.0, 25.0])
    variance = 1.0 + 4.0 / 3
    assert of["equal"].degrees == pytest.approx(variance**2 / ((2.0 / 3) ** 2 / 2))
    assert of["near"].degrees == pytest.approx(variance**2 / ((2.25 / 3) ** 2 / 2))
    assert of["far"].degrees == pytest.approx((1 + 25 / 3) ** 2 / ((25 / 3) ** 2 / 2))
    two = difference_of(np.array([1.0, 1.0]), 4.0 * np.eye(2) + 1.0)
    assert two.degrees == pytest.approx((1 + 2.0) ** 2 / 2.0**2)


@pytest.mark.usefixtures("_few_resamples")
def test_drawing_seeds_would_not_do() -> None:
    """The reason for the seeds' part as it is; see the table above."""
    *sds, _ = WORLDS["seeds above all"]
    assert naive_coverage(np.random.default_rng(0), tuple(sds), 2, 150) < 0.75


@pytest.mark.slow
@pytest.mark.usefixtures("_few_resamples")
@pytest.mark.parametrize(("name", "seeds"), [("no seed effect", 1), ("seeds and items", 2), ("seeds and items", 3)])
def test_equal_methods_are_not_separable(name: str, seeds: int) -> None:
    """In at least 94 of 100, of 600."""
    rng, (*sds, _) = np.random.default_rng(10 + seeds), WORLDS[name]
    found = [judge(rng, *world(rng, seeds, tuple(sds))).p >= significance.ALPHA for _ in range(600)]
    assert np.mean(found) >= 0.94


@pytest.mark.usefixtures("_few_resamples")
def test_a_better_method_is_found() -> None:
    """A test that never says yes would pass the one above: 0.4 sd are 8 points, found in 97 of 100 with 5 seeds."""
    rng, sds = np.random.default_rng(5), (0.0, 0.5, 0.5)
    found = [judge(rng, *world(rng, 5, sds, better=0.4)) for _ in range(60)]
    assert np.mean([d.p < significance.ALPHA for d in found]) > 0.9
    assert all(d.value < 0 for d in found if d.p < significance.ALPHA)  # first minus second


def test_the_luckiest_of_twelve_equal_rows() -> None:
    """What a mark is read as: a truly best row is the best or marked in 95 of 100 columns (here all are truly best)."""
    rng, lost = np.random.default_rng(0), 0
    for _ in range(2000):
        means = rng.normal(size=12)
        gaps = means.max() - np.delete(means, means.argmax())
        corrected = significance.holm_correction(list(2 * special.ndtr(-gaps / math.sqrt(2))))
        rows = np.delete(np.arange(12), means.argmax())
        lost += 0 in rows[np.asarray(corrected) < significance.ALPHA]
    assert lost / 2000 <= 0.05


def test_p_and_interval_agree() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        d = judge(rng, *world(rng, 3, (0.1, 0.5, 0.5), better=0.2))
        low, high = d.interval(1 - d.p)
        assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["rte", "mrpc", "mnli"])
def test_resampling_by_patterns_is_resampling_of_items(name: str) -> None:
    """Against a loop over draws of items that are scored by the metrics' definition."""
    task, rng, items = TASKS.get(name)(), np.random.default_rng(3), 150
    classes = len(task.labels)
    labels = rng.integers(0, classes, items)
    first, second = (np.where(rng.random((2, items)) < 0.7, labels, rng.integers(0, classes, items)) for _ in "ab")

    def scored(truth: Classes, predicted: Classes) -> float:
        hits = int(((truth == 1) & (predicted == 1)).sum())
        own = {
            "accuracy": float((truth == predicted).mean()),
            "f1": 2 * hits / int((truth == 1).sum() + (predicted == 1).sum()),
        }
        return float(np.mean([own[metric] for metric in task.metrics]))

    def metric(counts: ScoreCounts) -> Floats:
        return np.asarray(np.mean(list(task.score_classes(counts).values()), axis=0))

    values, resampled = resample_differences(metric, labels, first, second, classes, rng)
    want = [scored(labels, first[s]) - scored(labels, second[s]) for s in range(2)]
    assert values == pytest.approx(want)
    draws = rng.integers(0, items, (600, items))
    loop = [[scored(labels[i], first[s, i]) - scored(labels[i], second[s, i]) for s in range(2)] for i in draws]
    ours, theirs = np.cov(resampled, rowvar=False), np.cov(np.array(loop), rowvar=False)
    assert np.diag(ours) == pytest.approx(np.diag(theirs), rel=0.2)
    assert ours[0, 1] / ours[0, 0] == pytest.approx(theirs[0, 1] / theirs[0, 0], abs=0.12)


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    made = world(np.random.default_rng(4), 3, (0.1, 0.5, 0.5))
    whole = judge(np.random.default_rng(0), *made)
    monkeypatch.setattr(significance, "_AT_ONCE", 500)
    assert judge(np.random.default_rng(0), *made) == whole


def test_many_seeds_do_not_overflow() -> None:
    """Labels and 2 x 40 predictions are more bits than an integer has; the label is the first of them."""
    labels, wrong = np.repeat([0, 1], [30, 20]), np.zeros((40, 50), dtype=np.int64)
    values, _ = resample_differences(accuracy, labels, wrong, wrong + 1, 2, np.random.default_rng(0))
    assert values == pytest.approx(np.full(40, 0.6 - 0.4))


def test_holm() -> None:
    """Holm's own order of steps, by hand; equal to `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")` in R."""
    assert significance.holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm_correction([0.6, 0.7]) == [1.0, 1.0]
    assert significance.holm_correction([0.2]) == [0.2]
    assert significance.holm_correction([]) == []


def test_seeds_needed() -> None:
    """Known sample sizes of the paired t-test at 80 % power, two-sided 5 % (effect 1.0: 10; 0.8: 15; 0.5: 34)."""
    for effect, want in ((1.0, 10), (0.8, 15), (0.5, 34)):
        assert significance.seeds_needed(Difference(effect, 3, 1.0, 0.0, 2)) == want
    assert significance.seeds_needed(Difference(0.0, 3, 1.0, 0.0, 2)) is None
    assert significance.seeds_needed(Difference(0.01, 3, 1.0, 0.0, 2)) is None  # more than are looked for
    with pytest.raises(ValueError, match="two seeds"):
        significance.seeds_needed(Difference(1.0, 1, 0.0, 1.0, math.inf))


def test_no_number_of_seeds_makes_up_for_items() -> None:
    """Beyond 2.8 standard errors of the items' part, items suffice; below, nothing does."""
    more = [significance.seeds_needed(Difference(1.0, 3, 1.0, share, 2)) for share in (0.0, 0.05, 0.1)]
    assert all(few is not None and many is not None and few < many for few, many in pairwise(more))
    assert significance.seeds_needed(Difference(1.0, 3, 1.0, 1 / 2.7**2, 2)) is None


def test_one_seed_is_judged_by_items_only() -> None:
    labels, first, second = world(np.random.default_rng(6), 1, (0.0, 0.5, 0.5))
    d = judge(np.random.default_rng(0), labels, first, second)
    own = (first[0] == labels).astype(float) - (second[0] == labels)
    assert (d.seeds, d.between, d.degrees) == (1, 0.0, math.inf)
    assert math.sqrt(d.variance) == pytest.approx(own.std() / math.sqrt(ITEMS), rel=0.1)


def test_average_of_tasks() -> None:
    one, two = Difference(2.0, 2, 4.0, 1.0, 3.0), Difference(1.0, 3, 3.0, 0.5, 5.0)
    both = significance.average_difference([one, two])
    assert (both.value, both.seeds) == (1.5, 2)
    assert both.variance == pytest.approx((3.0 + 1.5) / 4)
    assert both.degrees == pytest.approx(4.5**2 / (3.0**2 / 3 + 1.5**2 / 5))
    assert significance.average_difference([one]) == one


def test_equal_predictions_are_no_difference() -> None:
    labels, first, _ = world(np.random.default_rng(7), 3, (0.1, 0.5, 0.5))
    d = judge(np.random.default_rng(0), labels, first, first)
    assert (d.value, d.variance, d.p, d.interval()) == (0.0, 0.0, 1.0, (0.0, 0.0))


@pytest.mark.slow
def test_the_seeds_that_an_average_needs_are_those_that_do() -> None:
    """By simulation of six tasks with sd 1 between seeds, judged as a table judges them."""
    parts = [significance.paired_difference(np.array([-1.0, 0.0, 1.0]) + 0.55, np.zeros((9, 3)))] * 6
    found = significance.average_difference(parts)
    assert found.free == pytest.approx(6)
    needed = significance.seeds_needed(found)
    assert needed == 5  # 7, were there one degree of freedom a seed
    rng, seen = np.random.default_rng(0), {needed: 0, needed - 1: 0}
    for seeds in seen:
        for _ in range(1000):
            drawn = rng.normal(0.55, 1.0, (6, seeds))
            judged = [significance.paired_difference(values, np.zeros((9, seeds))) for values in drawn]
            seen[seeds] += significance.average_difference(judged).p < significance.ALPHA
    assert seen[needed - 1] < 780
    assert seen[needed] > 780


def test_seeds_needed_are_for_the_level_that_judges() -> None:
    """A difference that is significant alone, and not among six: more seeds than there are."""
    d = Difference(1.0, 4, 0.36, 0.0, 3)
    assert d.p < significance.ALPHA < 6 * d.p
    alone, among = significance.seeds_needed(d), significance.seeds_needed(d, significance.ALPHA / 6)
    assert alone is not None
    assert among is not None
    assert among > max(alone, d.seeds)


def test_counts_of_classes_are_those_of_the_confusion_matrices() -> None:
    rng, seen = np.random.default_rng(5), list[ScoreCounts]()
    labels, predicted = rng.integers(0, 6, 80), rng.integers(0, 7, (3, 80))

    def noted(counts: ScoreCounts) -> Floats:
        seen.append(counts)
        return accuracy(counts)

    scores = significance.resample_scores(noted, labels, predicted, 7, rng)  # no item is of the last class
    assert scores[0] == pytest.approx((labels == predicted).mean(1))
    assert len(scores) == 1 + significance.RESAMPLES
    for counts in (seen[0], seen[-1]):
        whole = ScoreCounts.of(counts.confusion())
        assert whole.actual.sum(-1) == pytest.approx(np.full_like(whole.actual[..., 0], 80))
        for own, other in ((counts.hits, whole.hits), (counts.actual, whole.actual), (counts.claimed, whole.claimed)):
            assert own.tolist() == other.tolist()


@pytest.mark.parametrize(("most", "drawn"), [(1e9, 10_000), (320_000, 4000), (1.0, 1000)])
def test_of_many_answers_fewer_are_drawn(most: float, drawn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 answers: 40 items, two trainings."""
    monkeypatch.setattr(significance, "MOST_ANSWERS", most)
    labels = np.arange(40) % 2
    scores = significance.resample_scores(accuracy, labels, np.stack([labels, 1 - labels]), 2, np.random.default_rng(0))
    assert scores.tolist() == [[1.0, 0.0]] * (1 + drawn)


def test_of_a_score_of_its_own_the_fewest_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables, `compare`, `probe` and `measure` all ask the metric of the task."""
    task, labels = TASKS.get("mrpc")(), np.arange(40) % 2
    for is_own, number in ((False, significance.RESAMPLES), (True, significance.FEWEST)):
        monkeypatch.setattr(type(task), "has_own_score", is_own)
        drawn = significance.resample_scores(MeanMetric(task), labels, labels[None], 2, np.random.default_rng(0))
        assert drawn.tolist() == [[1.0]] * (1 + number)


def test_splits_count_as_often_as_the_one_with_the_fewest_draws() -> None:
    found = significance.mean_of_splits([np.array([[1.0], [2.0], [3.0]]), np.array([[3.0], [6.0]])])
    assert found.tolist() == [[2.0], [4.0]]


def test_150_classes_are_resampled_in_seconds() -> None:
    rng = np.random.default_rng(6)
    labels, first, second = rng.integers(0, 150, 2000), rng.integers(0, 150, (3, 2000)), rng.integers(0, 150, (3, 2000))
    started = time.process_time()
    resample_differences(accuracy, labels, first, second, 150, rng)
    assert time.process_time() - started < 30  # 1 s; by confusion matrices it takes a minute
