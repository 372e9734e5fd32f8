"""The training loop: one prepared run in, one result out. It knows no method and no task.

`TrainingLoop.train` reads from top to bottom; what its phases call stands below it in the same order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdbench.core.atomic_files import replacing, write_json
from kdbench.core.errors import RunFailure, Stopped
from kdbench.core.settings import Execution, Recording
from kdbench.data.batches import Batch
from kdbench.distill.context import seed_everything
from kdbench.models import build
from kdbench.models.trimmed_embedding import whole_embedding
from kdbench.results import class_use
from kdbench.results.run_lock import RunLock
from kdbench.results.series import SeriesFile, SeriesMark
from kdbench.results.store import RunFolder, RunStatus
from kdbench.training import checkpoint
from kdbench.training.evaluator import Evaluator
from kdbench.training.progress import Watcher
from kdbench.training.setup import Setup

LOG_POINTS = 200  # rows of training loss in a series
STATE_SECONDS = 2.0
CHECK_SECONDS = 0.5  # between two looks at the lock, beside those before something is written


class TrainingLoop:
    """A run that is trained by this process, from its checkpoint if it has one.

    Args:
        lock: held by this process; looked at before anything is written.
        should_stop: asked after every step.
    """

    def __init__(
        self, setup: Setup, folder: RunFolder, lock: RunLock, execution: Execution, recording: Recording,
        watcher: Watcher, should_stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.setup, self.spec, self.context, self.method = setup, setup.spec, setup.context, setup.method
        self.folder, self.lock, self.execution = folder, lock, execution
        self.watcher, self.should_stop = watcher, should_stop
        if folder.checkpoint.exists() and (problem := self._checkpoint_problem()):
            # kept, it could be taken up again later, beside a series that begins anew
            folder.checkpoint.unlink()
            folder.note(f"its checkpoint cannot be used: {problem}")
        self.progress = checkpoint.load(folder.checkpoint, self.context, self.method)
        if folder.checkpoint.exists() and not self.progress.step:
            folder.note("its checkpoint cannot be read, so it starts over")
        self.first_step = self.progress.step
        self.series = SeriesFile(folder.series, _series_mark(self.progress), setup.train.batches_per_epoch)
        self.evaluator = Evaluator(setup, self.series, recording.probe_size)
        self.log_every = max(1, setup.total_steps // LOG_POINTS)
        self.unchecked: list[tuple[int, dict[str, Tensor], Batch]] = []  # steps whose logs were not looked at yet
        self.best: dict[str, Tensor] = {}  # the best student's weights, while its file does not have them
        self._saved_at = self.progress.seconds
        self._state_written = -math.inf
        self._started = time.time()

    def train(self) -> None:
        """Train to the end, and leave the result in the run's folder.

        Raises:
            RunFailure: something that is logged is not finite.
            Stopped: somebody asked to stop; the run is checkpointed.
            Superseded: another process has taken the run over.
        """
        setup, progress = self.setup, self.progress
        self._begin()
        while progress.step < setup.total_steps:
            step = progress.step
            self.lock.check(at_most_every=CHECK_SECONDS)

            # One step of the method on this step's batch. Random numbers are seeded anew at each step, so that a
            # resumed run draws the same ones and checkpoints hold no random state.
            batch = setup.train.at(step)
            self.context.step = step
            seed_everything(self.spec.seed, "step", step)
            logs = {key: value.detach() for key, value in self.method.step(batch).items()}
            self.context.meter.counts.rows += len(batch)
            progress.step = done = step + 1

            # Log the losses, and refuse values that are not finite. Reading a value waits for a GPU, so that is
            # done only when something is due.
            self.unchecked.append((step, logs, batch))
            is_evaluation = done % setup.eval_every == 0 or done == setup.total_steps
            is_logged = done % self.log_every == 0
            if is_evaluation or is_logged or setup.device.type == "cpu":
                self._check_finite()
            if is_logged:
                self.series.add(done, "train", {key: float(value) for key, value in logs.items()})
            for key, values in self.context.records:
                self.series.add(done, "influence", {key: values})
            self.context.records.clear()

            # Evaluate on the selection split, keep the best student so far, and the snapshots that other runs need.
            if is_evaluation or self._due_snapshots(done):
                with self.context.not_counted():  # waits for a GPU, so it is not entered at every step
                    if is_evaluation:
                        self._evaluate(done)
                    self._save_snapshots(done)

            # Tell those who watch, and save what a later process needs to go on.
            self.watcher.stepped(self.spec.id, done, progress.loss, progress.score)
            self._write_state_if_due()
            if self._seconds_spent() - self._saved_at >= self.execution.checkpoint_seconds:
                with self.context.not_counted():
                    self._save_checkpoint()
            if self.should_stop():
                self._save_checkpoint()
                self._write_state("interrupted")
                raise Stopped
        self._finish()

    def _begin(self) -> None:
        """Announce the run, start the clock, and evaluate the networks as they are before the first step."""
        total = self.setup.total_steps
        self.watcher.started(self.spec.id, self.first_step, total)
        self.folder.note(f"{f'going on at step {self.first_step}' if self.first_step else 'starting'}, {total} steps")
        if not self.first_step:
            self.folder.forget_earlier()
            for text in self.setup.notes:
                self.folder.note(text)
        self._write_state_if_due()
        self._clock = time.perf_counter()
        self.context.meter.start()
        if not self.first_step:
            # the start of every curve; a network that is taken as it is, for no steps, is at its best now
            with self.context.not_counted():
                if total:
                    self.evaluator(0)
                else:
                    self._evaluate(0)
                self._save_snapshots(0)

    def _check_finite(self) -> None:
        """Look at all that was logged since the last look.

        Raises:
            RunFailure: something is not finite; it names the rows of the batch.
        """
        if not self.unchecked:
            return
        # one list, because the stages of a method may log under other names
        logged = [(step, key, value, batch) for step, logs, batch in self.unchecked for key, value in logs.items()]
        values = torch.stack([value.float() for _, _, value, _ in logged]).tolist()
        for (step, key, _, batch), value in zip(logged, values, strict=True):
            if not math.isfinite(value):
                rows = ", ".join(map(str, batch.index.tolist()))
                raise RunFailure("non-finite", f"the {key} is {value} at step {step + 1}; rows of the batch: {rows}")
            if key == "loss":
                self.progress.loss = value
        self.unchecked.clear()

    def _evaluate(self, step: int) -> None:
        """Score the student on the selection split, and keep it if it is the best so far."""
        self.lock.check()
        score = self.evaluator(step)
        self.lock.check()
        self.progress.score = 100 * score
        loss = "not trained" if self.progress.loss is None else f"loss {self.progress.loss:.4f}"
        scored = f"{self.setup.task.selection_title()} {self.progress.score:.2f}"
        self.folder.note(f"step {step} of {self.setup.total_steps}: {loss}, {scored}")
        is_candidate = step == self.setup.total_steps or self.method.may_be_best(step)
        if is_candidate and (self.progress.best_score is None or score > self.progress.best_score):
            self.progress.best_score, self.progress.best_step = score, step
            self.best = {key: value.clone() for key, value in self.context.learners["student"].weights().items()}
            self.evaluator.best = self.evaluator.latest

    def _due_snapshots(self, step: int) -> list[float]:
        """Return the shares of the training that are over with this step, and at which the student is to be kept."""
        return [share for share in self.spec.snapshots if step == round(share * self.setup.total_steps)]

    def _save_snapshots(self, step: int) -> None:
        for share in self._due_snapshots(step):
            self._save_model(self.folder.snapshot(share))

    def _save_model(self, path: Path) -> None:
        """Save the student and its tokenizer, which knows the length of texts, as a folder that transformers loads."""
        self.lock.check()
        build.quiet()
        student = self.context.learners["student"].module
        with replacing(path) as temporary, whole_embedding(student):
            student.save_pretrained(temporary)  # type: ignore[operator]
            if not self.spec.student.is_outputs:
                tokenizer = build.tokenizer(self.spec.student, tuple(self.setup.data.vocabulary))
                tokenizer.model_max_length = self.spec.training.max_length
                tokenizer.save_pretrained(temporary)

    def _write_state_if_due(self) -> None:
        """Keep the state file fresh enough for `kdbench status`."""
        now = time.monotonic()
        if now - self._state_written > STATE_SECONDS:
            self._state_written = now
            self.lock.check()
            self._write_state("running")

    def _write_state(self, status: RunStatus) -> None:
        now = self.progress
        self.folder.set_state(
            status, step=now.step, total=self.setup.total_steps, loss=now.loss, score=now.score,
            started=self._started, first_step=self.first_step, micro_batch=self.execution.micro_batch,
        )  # fmt: skip

    def _seconds_spent(self) -> float:
        """Return the seconds of training so far, over all processes that took part."""
        now = time.perf_counter()
        self.progress.seconds += now - self._clock
        self._clock = now
        return self.progress.seconds

    def _save_checkpoint(self) -> None:
        """Save all that a later process needs to go on, once nothing in it is known to be broken."""
        self._check_finite()
        self.lock.check()
        mark = self.series.mark
        self.progress.series_size, self.progress.series_digest = mark.size, mark.digest
        if self.best:  # first, because the checkpoint names it
            checkpoint.store(self.folder.best, self.best, {"step": self.progress.best_step})
            self.best = {}
        checkpoint.save(self.folder.checkpoint, self.progress, self.context, self.method)
        self._saved_at = self.progress.seconds

    def _checkpoint_problem(self) -> str:
        """Return why the checkpoint, or what belongs to it, is not what was written; "" when it can be resumed."""
        try:
            progress = checkpoint.Progress(**checkpoint.numbers_of(self.folder.checkpoint))
        except TypeError:
            return "another version wrote it"
        if not progress.step:
            return "it is damaged"
        # a snapshot that is wanted now may have been passed by, unwanted, before the checkpoint
        total = self.setup.total_steps
        passed = [share for share in self.spec.snapshots if round(share * total) <= progress.step]
        if any(not self.folder.snapshot(share).is_dir() for share in passed):
            return "a snapshot from before it is missing"
        if not _series_mark(progress).fits(self.folder.series):
            return "the series beside it is damaged"
        if progress.best_score is not None and not checkpoint.numbers_of(self.folder.best):
            return "the best student so far is damaged"
        return ""

    def _finish(self) -> None:
        """Measure the last and the best student, keep the best, then declare the run done."""
        self.lock.check()
        seconds = self._seconds_spent()

        # the last student and the teacher as they are; then the best student
        last, predictions = self.evaluator.final("last", self.evaluator.latest)
        teacher, taught = self.evaluator.teacher_final()
        tensors = self.best
        if not tensors:
            tensors, found = checkpoint.read(self.folder.best)
            self.progress.best_step = found["step"]
        self.context.learners["student"].load_weights(tensors)
        best, more = self.evaluator.final("best", self.evaluator.best)
        result = {
            "best": {"step": self.progress.best_step, **best}, "last": {"step": self.progress.step, **last},
            **teacher, "rows": self._count_rows(), **self._count_cut_off(), **self._compare_before(best["report"]),
        }  # fmt: skip

        # every file, then the checksums of all of them, and "done" last: a process that dies before is resumed
        self._save_model(self.folder.model)
        checkpoint.store(self.folder.predictions, predictions | more | taught, {})
        self.lock.check()
        write_json(self.folder.path / "result.json", result)
        cost = {"steps": self.progress.step, **self.context.meter.report(seconds)}
        write_json(self.folder.path / "cost.json", {**cost, "train_seconds": round(self._seconds_spent(), 2)})
        self.folder.write_checksums()
        self._write_state("done")
        self.folder.note(f"done after {self._seconds_spent():.1f} s of training")
        for warning in class_use.stored_warnings(result, self.setup.task.labels):
            self.folder.note(warning)
        for file in (self.folder.checkpoint, self.folder.best):
            file.unlink(missing_ok=True)

    def _compare_before(self, report: dict[str, Any]) -> dict[str, bool]:
        """Say whether the run was done before with other scores, as on another machine; {} where it was not."""
        before = self.folder.result()
        if before is None or (before["best"]["report"] == report and not before.get("had_other_scores")):
            return {}
        return {"had_other_scores": True}

    def _count_rows(self) -> dict[str, int]:
        """Return how many rows each role has."""
        roles = self.setup.roles
        counts = {"train": len(roles.train.rows), "selection": len(roles.selection.rows)}
        counts["feedback"] = len(roles.feedback.rows) if roles.feedback else 0
        return counts | {part.split: len(part.rows) for part in roles.report}

    def _count_cut_off(self) -> dict[str, dict[str, int]]:
        """Return how many rows of train and of each report split fill max_length; {} where none does."""
        roles, longest = self.setup.roles, self.spec.training.max_length
        parts = {"train": roles.train, **{part.split: part for part in roles.report}}
        lengths = {name: self.setup.tokens[part.split].lengths[part.rows] for name, part in parts.items()}
        full = {name: int((some >= longest).sum()) for name, some in lengths.items()}
        return {"cut_off": {name: number for name, number in full.items() if number}} if any(full.values()) else {}


def _series_mark(progress: checkpoint.Progress) -> SeriesMark:
    """Return the place in the series file up to which it belongs to the checkpoint."""
    return SeriesMark(progress.series_size, progress.series_digest)
