"""The runner's side of evaluation: selection and report, which a method never sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.batches import first_rows
from kdbench.data.splits import Part
from kdbench.training.evaluate import all_logits, gaps, labels_of, measure
from kdbench.training.series import Series
from kdbench.training.setup import Setup


class Evaluator:
    """Measures the networks of a run on the splits that the method cannot reach, and writes the curves.

    Args:
        setup: the run.
        probe_size: how many training rows the entropy gap is measured on.
    """

    def __init__(self, setup: Setup, series: Series, probe_size: int) -> None:
        self._setup, self._series = setup, series
        self._student = setup.lab.learners["student"].module
        rows = first_rows(setup.roles.train.rows, probe_size, [setup.spec.training.split_seed, 2048])
        self._probe = Part("train", rows)

    def __call__(self, step: int) -> float:
        """Evaluate after `step` steps; returns the selection metric, a fraction."""
        selection = self._scores(self._student, self._setup.roles.selection)
        self._series.add(step, "selection", selection)
        for part in self._setup.roles.report:
            values = self._scores(self._student, part)
            for name, learner in self._setup.lab.learners.items():
                if name == "teacher":
                    scores = self._scores(learner.module, part)
                    values |= {f"teacher_{key}": value for key, value in scores.items()}
            self._series.add(step, part.split, values)
        self._gaps(step)
        return selection[self._setup.task.metrics[0]]

    def logits(self, module: nn.Module, part: Part) -> Tensor:
        return all_logits(module, self._setup.tokens[part.split], part.rows, self._setup.device)

    def labels(self, part: Part) -> Tensor:
        return labels_of(self._setup.tokens[part.split], part)

    def _scores(self, module: nn.Module, part: Part) -> dict[str, float]:
        return measure(self._setup.task, self.logits(module, part), self.labels(part))

    def _teacher(self) -> nn.Module | None:
        lab = self._setup.lab
        if "teacher" in lab.learners:
            return lab.learners["teacher"].module
        return next((frozen.module for frozen in lab.frozen_networks.values()), None)

    def _gaps(self, step: int) -> None:
        teacher = self._teacher()
        if teacher is not None and len(self._probe.rows):
            student_logits, teacher_logits = self.logits(self._student, self._probe), self.logits(teacher, self._probe)
            self._series.add(step, "probe", dict(gaps(student_logits, teacher_logits)))

    def final(self) -> dict[str, Any]:
        """What the student scores now: {selection: {metric: value}, report: {split: {metric: value}}}."""
        report = {part.split: self._scores(self._student, part) for part in self._setup.roles.report}
        return {"selection": self._scores(self._student, self._setup.roles.selection), "report": report}

    def teacher_final(self) -> dict[str, dict[str, float]] | None:
        """What a teacher that was trained along scores at the end, by report split."""
        learner = self._setup.lab.learners.get("teacher")
        if learner is None:
            return None
        return {part.split: self._scores(learner.module, part) for part in self._setup.roles.report}

    def predictions(self, name: str) -> dict[str, Tensor]:
        """Logits [n, C] and labels [n] on each report split, in the order of its rows."""
        out: dict[str, Tensor] = {}
        for part in self._setup.roles.report:
            out[f"{name}/{part.split}/logits"] = self.logits(self._student, part)
            out[f"{name}/{part.split}/labels"] = self.labels(part).to(torch.int64)
        return out
