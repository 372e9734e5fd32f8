"""Ask trained networks about other data than their own, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.data.declared_rows import LabelledRow
from kdbench.data.labelled_file import FILE, OWN, LabelView, labelled_examples
from kdbench.data.metrics import accuracy
from kdbench.data.perturbations import perturb
from kdbench.data.task import Examples, Task
from kdbench.models.inference import all_logits
from kdbench.results.comparison import MeanMetric, answers_difference
from kdbench.results.significance import (
    Difference,
    Floats,
    Metric,
    mean_of_splits,
    paired_difference,
    resample_scores,
)
from kdbench.results.study import Run
from kdbench.training.saved_network import SavedNetwork, load_data, load_network
from kdbench.training.setup import numerics

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class ProbeSettings:
    """Say what networks are asked.

    Attributes:
        rows: of another file; () for none.
        view: how its labels are classes of the task.
        perturbations: names of changes of the reported texts, with their seed and rate.
    """

    rows: Sequence[LabelledRow]
    view: LabelView
    perturbations: Sequence[str]
    seed: int
    rate: float


@dataclass(frozen=True)
class ProbeScores:
    """Scores in per cent, with errors: of each part, and how much lower than on the task's own data they are."""

    scores: Mapping[str, Difference]
    drops: Mapping[str, Difference]


def probe_runs(runs: Sequence[Run], settings: ProbeSettings, device: torch.device) -> ProbeScores:
    """Score the students of runs that differ in their seed on all parts; seeds are averaged.

    Raises:
        UserError: a network or its data are not what they were, or the file has pairs where the task has none.
    """
    parts: dict[str, list[Examples]] = {}
    answers: dict[str, list[list[Classes]]] = {}  # part -> run -> split -> groups
    task: Task | None = None
    for run in runs:
        network = load_network(run, device)
        task = network.task
        parts = parts or _parts(run, network, settings)
        with numerics(run.spec, device, 0):
            for name, splits in parts.items():
                answers.setdefault(name, []).append([_groups(network, one, settings.view, device) for one in splits])
    assert task is not None
    metric: Metric = MeanMetric(task) if settings.view.is_whole else accuracy  # of joined classes
    groups = len(settings.view.names)
    scores = {name: _resampled(metric, parts[name], answers[name], groups, name) for name in parts}
    drops = {}
    for name in (name for name in parts if name != OWN):
        if name == FILE:  # other items, so the errors are independent
            fewest = min(len(scores[OWN]), len(scores[name]))
            apart = scores[OWN][:fewest] - scores[name][:fewest]
            drops[name] = paired_difference(apart[0], apart[1:])
        else:
            pairs = [
                (np.asarray(one.labels, np.int64), _stacked(answers[OWN], i), _stacked(answers[name], i))
                for i, one in enumerate(parts[OWN])
            ]
            drops[name] = answers_difference(metric, pairs, groups)
    return ProbeScores({name: paired_difference(found[0], found[1:]) for name, found in scores.items()}, drops)


def _parts(run: Run, network: SavedNetwork, settings: ProbeSettings) -> dict[str, list[Examples]]:
    """Return the examples of each part, by split, with groups of the view as labels."""
    data = load_data(run)
    groups = np.array(settings.view.of_class)
    own = [
        Examples(split.text_a, split.text_b, groups[np.asarray(split.labels)].tolist())
        for split in (data.splits[name] for name in network.task.report_splits)
    ]
    parts = {OWN: own}
    if settings.rows:
        other = labelled_examples(settings.rows, settings.view)
        if (other.text_b is None) != (own[0].text_b is None):
            raise UserError(
                f"{network.task.title} has {'one text' if own[0].text_b is None else 'two texts'} a row and the file "
                f"{'one' if other.text_b is None else 'two'}; name its columns by --text."
            )
        parts[FILE] = [other]
    for name in settings.perturbations:
        parts[name] = [perturb(split, name, settings.seed, settings.rate) for split in own]
    return parts


def _groups(network: SavedNetwork, examples: Examples, view: LabelView, device: torch.device) -> Classes:
    """Return the group of the predicted class of each row [n]."""
    tokens = network.tokens(examples)
    logits = all_logits(network.module, tokens, np.arange(len(tokens)), device)
    groups: Classes = np.array(view.of_class)[logits.argmax(1).numpy()]
    return groups


def _resampled(
    metric: Metric, splits: Sequence[Examples], answers: Sequence[Sequence[Classes]], groups: int, name: str
) -> Floats:  # fmt: skip
    """Return scores in per cent [1 + resamples, seeds], the mean over splits; each part has draws of its own."""
    found = []
    for number, examples in enumerate(splits):
        rng = np.random.default_rng([number, *name.encode()])
        labels = np.asarray(examples.labels, np.int64)
        found.append(100 * resample_scores(metric, labels, _stacked(answers, number), groups, rng))
    return mean_of_splits(found)


def _stacked(answers: Sequence[Sequence[Classes]], split: int) -> Classes:
    """Return the answers of all runs on a split [seeds, n]."""
    return np.stack([of_run[split] for of_run in answers])
