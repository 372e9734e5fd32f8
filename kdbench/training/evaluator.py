"""Evaluate a run's networks on the selection and report splits, which a method never sees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.core.errors import RunFailure
from kdbench.core.records import ClassCounts
from kdbench.data.batches import draw_rows
from kdbench.data.class_order import other_order
from kdbench.data.metrics import answers
from kdbench.data.splits import Part
from kdbench.data.task import Task
from kdbench.distill import teacher_cache
from kdbench.distill.losses import label_loss
from kdbench.models.inference import all_logits, entropy_gaps, evaluation_batches, labels_of
from kdbench.models.own_tokenizer import tokenizer_of
from kdbench.results import class_use
from kdbench.results.series import SeriesFile
from kdbench.training.setup import Setup


class Evaluator:
    """Score a run's networks on the selection and report splits, and write the curves.

    Args:
        probe_size: number of training rows on which the entropy gap is computed.
    """

    def __init__(self, setup: Setup, series: SeriesFile, probe_size: int) -> None:
        self._setup, self._series = setup, series
        self._student = setup.context.learners["student"].module
        rows = draw_rows(setup.roles.train.rows, probe_size, [setup.spec.training.split_seed, 2048])
        self._probe = Part("train", rows)
        self.latest: dict[str, Tensor] = {}  # the student's logits at the last evaluation, by role
        self.best: dict[str, Tensor] = {}  # those of the best student so far; {} if another process evaluated it
        self._taught: dict[str, Tensor] = {}  # logits of a teacher trained along, at the last evaluation, by split
        self._frozen: tuple[nn.Module | None, Tensor | None] = None, None  # a frozen teacher, its probe logits
        self._is_initial = False  # no network has been trained yet

    def __call__(self, step: int) -> float:
        """Evaluate after `step` steps, write the curves, and return the selection metric, a fraction."""
        self._is_initial = step == 0
        self.latest = self._all_logits({})
        scores = {role: self._measure(self.latest[role], part) for role, part in self._parts().items()}
        if not self._setup.spec.training.epochs:
            self._check_class_order()
        for role, part in self._parts().items():
            values = dict(scores[role])
            if role != "selection" and "teacher" in self._setup.context.learners:
                values |= {f"teacher_{key}": value for key, value in self._teacher_scores(part).items()}
            self._series.add(step, role, values)
        teacher = self._teacher_on_probe() if len(self._probe.rows) else None
        if teacher is not None:
            self._series.add(step, "probe", dict(entropy_gaps(self._logits(self._student, self._probe), teacher)))
        return scores["selection"].get(self._setup.task.metrics[0], 0.0)

    def _check_class_order(self) -> None:
        """Check that a network that is used as it is has the task's classes in the order that its configuration says.

        Raises:
            RunFailure: the rows that select say that the order is another one.
        """
        setup, part = self._setup, self._setup.roles.selection
        if setup.spec.student.is_outputs:  # checked before anything is trained
            return
        predicted, labels = answers(self.latest["selection"]).numpy(), self._labels(part).numpy()
        if found := other_order(predicted, labels, setup.task.labels):
            raise RunFailure("class-order", f"{setup.spec.student.title} {found}; correct id2label in its config.json.")

    def _parts(self) -> dict[str, Part]:
        """Return the rows to evaluate, by role: `selection`, and the name of every report split."""
        roles = self._setup.roles
        return {"selection": roles.selection, **{part.split: part for part in roles.report}}

    def _all_logits(self, known: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the student's logits for every role not in `known`; a part with two roles is computed once."""
        done: dict[int, Tensor] = {}
        parts = self._parts()
        for role, part in parts.items():
            if id(part) not in done:
                done[id(part)] = known[role] if role in known else self._logits(self._student, part)
        return {role: done[id(part)] for role, part in parts.items()}

    def _logits(self, module: nn.Module, part: Part, *, cached: bool = False) -> Tensor:
        """Compute logits [n, C]; runs share on disk those of a network that no step of theirs trains.

        These are frozen networks (`cached`), and all networks before the first step. What is stored is taken if it has
        the same logits for the rows of one batch.
        """
        tokens, device = self._setup.tokens[part.split].for_tokenizer(tokenizer_of(module)), self._setup.device
        if not (cached or self._is_initial):
            return all_logits(module, tokens, part.rows, device)
        sample = next(evaluation_batches(tokens, part.rows, device))
        places = torch.from_numpy(np.flatnonzero(np.isin(part.rows, sample)))

        def is_valid(stored: Tensor) -> bool:
            found = all_logits(module, tokens, part.rows[places.numpy()], device)
            return len(stored) == len(part.rows) and torch.equal(stored[places], found)

        key = teacher_cache.forward_key(module, tokens, part.rows, "evaluation", device)
        make = partial(all_logits, module, tokens, part.rows, device)
        return teacher_cache.load_or_compute(self._setup.output_cache, key, make, is_valid)

    def _labels(self, part: Part) -> Tensor:
        return labels_of(self._setup.tokens[part.split], part)

    def _measure(self, logits: Tensor, part: Part) -> dict[str, float]:
        """Score logits; {} where a file of outputs lacks rows of the part.

        Raises:
            RunFailure: some are not finite: the last update may leave such weights behind finite losses.
        """
        if not self._has_rows(logits):
            return {}
        if not bool(logits.isfinite().all()):
            raise RunFailure("non-finite", f"a network's outputs on {part.split} are not finite")
        return score_logits(self._setup.task, logits, self._labels(part))

    def _has_rows(self, logits: Tensor) -> bool:
        """Return whether logits are there for all rows, which only a file of outputs may lack."""
        return not (self._setup.spec.student.is_outputs and bool(logits.isnan().any()))

    def _predicted(self, logits: Mapping[str, Tensor]) -> dict[str, ClassCounts]:
        """Count predicted classes, by report split."""
        return {
            part.split: class_use.count_classes(
                answers(logits[part.split]).numpy(), self._labels(part).numpy(), logits[part.split].shape[1]
            )
            for part in self._setup.roles.report
            if self._has_rows(logits[part.split])
        }

    def _teacher_scores(self, part: Part) -> dict[str, float]:
        """Score a teacher that is trained along, and keep its logits."""
        self._taught[part.split] = self._logits(self._setup.context.learners["teacher"].module, part)
        return self._measure(self._taught[part.split], part)

    def _teacher_on_probe(self) -> Tensor | None:
        """Compute the teacher's logits on the probe rows, once for a frozen one.

        None without a teacher, and in a regression, whose one output expresses no confidence.
        """
        context = self._setup.context
        if context.num_labels == 1:
            return None
        if "teacher" in context.learners:
            return self._logits(context.learners["teacher"].module, self._probe)
        module = next((frozen.module for frozen in context.frozen_networks.values()), None)
        if module is not self._frozen[0]:
            self._frozen = module, self._logits(module, self._probe, cached=True) if module else None
        return self._frozen[1]

    def final(self, name: str, known: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the student's scores and predictions.

        Args:
            name: prefix of the predictions (`best`, `last`).
            known: logits of the student as it is now, by role, which are reused.

        Returns:
            {selection: {metric: value}, report: {split: {metric: value}}, predicted: {split: see `count_classes`}},
            and logits [n, C] and labels [n] of the selection and of each report split in the order of its rows.
        """
        parts = self._parts()
        now = self._all_logits(known)
        scores = {role: self._measure(now[role], part) for role, part in parts.items()}
        tensors: dict[str, Tensor] = {}
        for role, part in ((role, part) for role, part in parts.items() if self._has_rows(now[role])):
            # a copy, because the selection split may be a report split too, and no two stored tensors share memory
            tensors[f"{name}/{role}/logits"] = now[role].clone()
            tensors[f"{name}/{role}/labels"] = self._labels(part)
        return {"selection": scores.pop("selection"), "report": scores, "predicted": self._predicted(now)}, tensors

    def teacher_final(self) -> tuple[dict[str, dict[str, Any] | None], dict[str, Tensor]]:
        """Return scores and class counts of a teacher that was trained too, by report split, and its logits [n, C]."""
        if "teacher" not in self._setup.context.learners:
            return {"teacher": None}, {}
        module, report = self._setup.context.learners["teacher"].module, self._setup.roles.report
        # the last step is always evaluated, but a resumed run may have done that in an earlier process
        logits = self._taught or {part.split: self._logits(module, part) for part in report}
        scores = {part.split: self._measure(logits[part.split], part) for part in report}
        tensors = {f"teacher/{split}/logits": values for split, values in logits.items()}
        return {"teacher": scores, "teacher_predicted": self._predicted(logits)}, tensors


def score_logits(task: Task, logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Compute the task's metrics and `loss`: the mean cross-entropy in nats, or the mean squared error."""
    scores = task.score_checked(answers(logits).tolist(), labels.tolist())
    return {**scores, "loss": float(label_loss(labels, logits))}
