"""Figure 3: influence and predictions of two samples, those with the lowest and the highest mean influence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from kdbench.analysis import curves, influence
from kdbench.analysis.influence import FollowedSamples
from kdbench.analysis.published import PAPER_METHOD
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting import notes
from kdbench.reporting.figures import Curve, Figure, FigureData, Panel
from kdbench.reporting.formats import line_styles
from kdbench.results.study import StudyResults, task_title

TASK = "mrpc"
CHOICE_RULE = (
    "Of the followed samples of the first seed, left the one with the lowest mean influence over the middle half of "
    "training among those that both networks get wrong at most points of its first half, right the one with the "
    "highest among those that both get right there; among all, where there is none"
)


@dataclass(frozen=True)
class ChosenSample:
    """A sample, the heading of its panels, the number of candidates, and mean and spread of its influence."""

    sample: int
    heading: str
    candidates: int
    mean: float
    spread: float


class Figure3(Figure):
    """Above, the influence; below, the probability that both networks give to the right answer."""

    title = "Figure 3: distillation influence and predictions of two samples over training"
    task = TASK
    requests = (Request(PAPER_METHOD, settings={"tasks": TASK}),)

    def build(self, study: StudyResults, task: str) -> FigureData:
        shown, left_out = influence.followed_row(study, task)
        found = influence.samples_by_seed(shown, task)[0]
        pair = choose_samples(found)
        drawn = [_influence(study, found, choice) for choice in pair]
        linear_to = influence.linear_range(drawn)
        panels = [
            Panel("Influence" if choice is pair[0] else "", [curve], choice.heading, rule=0.0, linear_to=linear_to)
            for choice, curve in zip(pair, drawn, strict=True)
        ]
        panels += [_predictions(found, choice, task, first=choice is pair[0]) for choice in pair]
        first = f"{task_title(task)}: {shown.title}, seed {found.cell.cell.seed}. {_words(found, pair, task)}"
        told = curves.figure_notes(study, [shown], first, band=False)
        told += [*influence.range_notes(linear_to), *left_out]
        about = curves.figure_origin(study, task)
        return FigureData(self.title, panels, 2, 2, told, notes.evidence_notes(study), about, share=True)


def choose_samples(found: FollowedSamples) -> tuple[ChosenSample, ChosenSample]:
    """Choose the two samples by `CHOICE_RULE`; of equal ones the first."""
    middle = [influence.middle_half(found.of("influence", i)) for i in range(len(found.rows))]
    means, every = [fmean(points) for points in middle], range(len(middle))
    hard = [i for i in every if _mostly(found, i, right=False)]
    easy = [i for i in every if _mostly(found, i, right=True)]
    low, high = min(hard or every, key=means.__getitem__), max(easy or every, key=means.__getitem__)
    return (
        ChosenSample(low, "Lowest mean", len(hard), means[low], pstdev(middle[low])),
        ChosenSample(high, "Highest mean", len(easy), means[high], pstdev(middle[high])),
    )


def _mostly(found: FollowedSamples, sample: int, *, right: bool) -> bool:
    """Return whether both networks are right (or wrong) at most points of the first half of training."""
    first = range((len(found.steps) + 1) // 2)
    keys = ("teacher_predicts", "student_predicts")
    agree = [all((found.values[k][p][sample] == found.labels[sample]) == right for k in keys) for p in first]
    return 2 * sum(agree) > len(agree)


def _words(found: FollowedSamples, pair: Sequence[ChosenSample], task: str) -> str:
    """State the rule, and the samples that it chose."""
    names = TASKS.get(task).labels
    parts = [
        f"{side}: row {found.rows[c.sample]} of train ({names[found.labels[c.sample]]}), mean {c.mean:.2g} "
        f"(standard deviation over the points {c.spread:.2g}), out of {c.candidates}"
        for side, c in zip(("left", "right"), pair, strict=True)
    ]
    return f"{CHOICE_RULE}. Here {'; '.join(parts)}, of {len(found.rows)} samples."


def _influence(study: StudyResults, found: FollowedSamples, choice: ChosenSample) -> Curve:
    return found.curve("influence", choice.sample, "Influence", line_styles.of_row(study, found.cell.cell.row))


def _predictions(found: FollowedSamples, choice: ChosenSample, task: str, *, first: bool) -> Panel:
    drawn = [
        found.curve("teacher_p", choice.sample, "Teacher", line_styles.TEACHER),
        found.curve("student_p", choice.sample, "Student", line_styles.STUDENT),
    ]
    rule = 0.5 if len(TASKS.get(task).labels) == 2 else None
    return Panel("p(label)" if first else "", drawn, rule=rule, limits=(-0.04, 1.04))
