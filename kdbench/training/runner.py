"""The loop: one spec in, one result out. Knows no method and no task."""

from __future__ import annotations

import gc
import math
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdbench.core.atomic_files import replacing, write_json, write_text
from kdbench.core.environment import environment
from kdbench.core.errors import RunFailure, Stopped
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import RunSpec
from kdbench.data.batches import Batch
from kdbench.distill.context import seed_everything
from kdbench.models import build
from kdbench.models.matmul_precision import describe_precision
from kdbench.results import class_use
from kdbench.results.run_lock import RunLock, Superseded
from kdbench.results.series import Mark, Series
from kdbench.results.store import RunFolder, Status, Store
from kdbench.training import checkpoint
from kdbench.training.evaluator import Evaluator
from kdbench.training.failures import as_failure
from kdbench.training.progress import Silent, Watcher
from kdbench.training.setup import Setup, choose_device, numerics, prepare

LOG_POINTS = 200  # rows of training loss in a series
STATE_SECONDS = 2.0
CHECK_SECONDS = 0.5  # between two looks at the lease, beside those before something is written


def execute(
    spec: RunSpec, store: Store, execution: Execution, recording: Recording,
    watcher: Watcher | None = None, should_stop: Callable[[], bool] = lambda: False,
) -> bool:  # fmt: skip
    """Train one run to its end, going on from its checkpoint if it has one. Every executor calls this.

    A failure is left in the run's folder.

    Returns:
        whether it was trained here; False where another process had just done it.

    Raises:
        RunFailure: the run cannot go on, or its folder belongs to somebody else.
        Stopped: `should_stop` said so; the run is checkpointed.
        Timeout: another process holds the run.
        Superseded: another process has taken it over.
    """
    folder = store.run(spec.id)
    folder.check_access()
    with folder.lock().held(should_stop) as lock:
        try:
            return _train(spec, store, execution, recording, watcher or Silent(), should_stop, lock)
        except (Stopped, Superseded):
            raise
        except Exception as error:
            raise _failed(folder, error) from error


def _train(
    spec: RunSpec, store: Store, execution: Execution, recording: Recording, watcher: Watcher,
    should_stop: Callable[[], bool], lock: RunLock,
) -> bool:  # fmt: skip
    """The part of `execute` for who holds the run; with less in memory at once, as often as need be."""
    folder, device = store.run(spec.id), choose_device(execution.device)
    with numerics(spec, device, execution.threads):
        spec = spec.model_copy(update={"snapshots": folder.snapshots_with(spec.snapshots)})
        if folder.is_done(spec.snapshots):  # somebody else was quicker
            return False
        if folder.state().status == "done":
            folder.note(f"trained again: {folder.missing(spec.snapshots)}")
        folder.begin(spec, environment(str(device)) | describe_precision(device))
        execution = _as_before(folder, execution)
        while True:
            try:
                _Run(folder, lock, store, spec, execution, recording, watcher, should_stop).train()
                return True
            except (Stopped, Superseded) as end:
                folder.note(str(end) or "stopped, with a checkpoint")
                raise
            except Exception as error:
                smaller = _smaller(spec, execution, error)
                if smaller is None:
                    raise as_failure(error) from error
                execution = smaller
            finally:
                checkpoint.free(device)
            gc.collect()  # the tensors of the try hung in the frames of its traceback
            why = f"out of memory; it goes on with {execution.micro_batch} rows in memory at once"
            folder.note(why)
            watcher.paused(spec.id, why)


def _as_before(folder: RunFolder, execution: Execution) -> Execution:
    """With the micro-batch that the run went on with, where it is smaller: memory is as short as it was."""
    before = folder.state().micro_batch
    if before and (not execution.micro_batch or before < execution.micro_batch):
        return execution.model_copy(update={"micro_batch": before})
    return execution


def _smaller(spec: RunSpec, execution: Execution, error: Exception) -> Execution | None:
    """Half the rows in memory at once; the batch that the gradient is of stays what it was."""
    rows = min(execution.micro_batch or spec.training.batch_size, spec.training.batch_size)
    if as_failure(error).kind != "out-of-memory" or rows < 2:
        return None
    return execution.model_copy(update={"micro_batch": rows // 2})


def _failed(folder: RunFolder, error: Exception) -> RunFailure:
    """Give the failure a kind, and leave it in the run's folder."""
    failure = as_failure(error)
    with suppress(OSError):  # a full disk must not hide the reason
        if failure.kind == "bug":
            write_text(folder.path / "error.txt", "".join(traceback.format_exception(error)))
        folder.set_state("failed", kind=failure.kind, message=str(failure))
        folder.note(f"failed, {failure.kind}: {failure}")
    return failure


class _Run:
    def __init__(
        self, folder: RunFolder, lock: RunLock, store: Store, spec: RunSpec, execution: Execution,
        recording: Recording, watcher: Watcher, should_stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.folder, self.lock, self.spec, self.execution, self.watcher = folder, lock, spec, execution, watcher
        self.should_stop = should_stop
        self.started = time.time()
        self.setup: Setup = prepare(spec, store, execution, recording)
        self.context, self.method = self.setup.context, self.setup.method
        if folder.checkpoint.exists() and (problem := self._unusable()):
            # kept, it could be taken up again later, beside a series that begins anew
            folder.checkpoint.unlink()
            folder.note(f"its checkpoint cannot be used: {problem}")
        self.progress = checkpoint.load(folder.checkpoint, self.context, self.method)
        self._told = 0.0
        self._saved_at = self.progress.seconds
        self.series = Series(folder.series, self._mark(self.progress), self.setup.train.batches_per_epoch)
        self.evaluator = Evaluator(self.setup, self.series, recording.probe_size)
        self.first_step = self.progress.step
        self.log_every = max(1, self.setup.total_steps // LOG_POINTS)
        self.pending: list[tuple[int, dict[str, Tensor], Batch]] = []
        self.loss: float | None = None
        self.score: float | None = None

    def train(self) -> None:
        total = self.setup.total_steps
        self.watcher.started(self.spec.id, self.progress.step, total)
        self.folder.note(f"{f'going on at step {self.first_step}' if self.first_step else 'starting'}, {total} steps")
        if not self.first_step:
            for text in self.setup.notes:
                self.folder.note(text)
        self._tell(force=True)
        self._clock = time.perf_counter()
        if self.progress.step == 0:
            with self.context.not_counted():
                # a network that is taken as it is, for no steps, is at its best now
                self.evaluator(0) if total else self._evaluate(0)
                self._snapshots(0)
        while self.progress.step < total:
            self.lock.check(at_most_every=CHECK_SECONDS)
            self._one_step(self.progress.step)
            if self.should_stop():
                self._stop()
        self._finish()

    def _one_step(self, step: int) -> None:
        """Step `step`: seed, train, then whatever is due after it."""
        batch = self.setup.train.at(step)
        self.context.step = step
        seed_everything(self.spec.seed, "step", step)
        logs = {key: value.detach() for key, value in self.method.step(batch).items()}
        self.context.meter.counts.rows += len(batch)
        self.pending.append((step, logs, batch))
        done = self.progress.step = step + 1
        due = done % self.setup.eval_every == 0 or done == self.setup.total_steps
        if due or done % self.log_every == 0 or self.setup.device.type == "cpu":
            self._check_finite()
        if done % self.log_every == 0:
            self.series.add(done, "train", {key: float(value) for key, value in logs.items()})
        for key, values in self.context.records:
            self.series.add(done, "influence", {key: values})
        self.context.records.clear()
        if due or self._snapshots_at(done):
            with self.context.not_counted():  # waits for a GPU, so it is not entered at every step
                if due:
                    self._evaluate(done)
                self._snapshots(done)
        self.watcher.stepped(self.spec.id, done, self.loss, self.score)
        self._tell()
        self._checkpoint_if_due()

    def _check_finite(self) -> None:
        """Look at what was logged since the last look, so that a GPU is not waited for at every step.

        Raises:
            RunFailure: something is not finite.
        """
        if not self.pending:
            return
        found = torch.stack([torch.stack([v.float() for v in logs.values()]) for _, logs, _ in self.pending]).tolist()
        for (step, logs, batch), values in zip(self.pending, found, strict=True):
            for key, value in zip(logs, values, strict=True):
                if not math.isfinite(value):
                    rows = ", ".join(map(str, batch.index.tolist()))
                    raise RunFailure(
                        "non-finite", f"the {key} is {value} at step {step + 1}; rows of the batch: {rows}"
                    )
        self.loss = found[-1][list(self.pending[-1][1]).index("loss")]
        self.pending.clear()

    def _evaluate(self, step: int) -> None:
        self.lock.check()
        score = self.evaluator(step)
        self.lock.check()
        self.score = 100 * score
        loss = "not trained" if self.loss is None else f"loss {self.loss:.4f}"
        scored = f"{self.setup.task.selection_title()} {self.score:.2f}"
        self.folder.note(f"step {step} of {self.setup.total_steps}: {loss}, {scored}")
        if self.progress.best_score is None or score > self.progress.best_score:
            self.progress.best_score, self.progress.best_step = score, step
            student = self.context.learners["student"].module
            checkpoint.store(self.folder.best, student.state_dict(), {"step": step})

    def _unusable(self) -> str:
        """Why the checkpoint is of no use: it, or what lies beside it, is not what was written; "" when it is."""
        try:
            progress = checkpoint.Progress(**checkpoint.numbers_of(self.folder.checkpoint))
        except TypeError:
            return "another version wrote it"
        if not progress.step:
            return "it is damaged"
        if self._lacks_snapshot_before(progress.step):
            return "a snapshot from before it is missing"
        if not self._mark(progress).fits(self.folder.series):
            return "the series beside it is damaged"
        if progress.best_score is not None and not checkpoint.numbers_of(self.folder.best):
            return "the best student so far is damaged"
        return ""

    @staticmethod
    def _mark(progress: checkpoint.Progress) -> Mark:
        return Mark(progress.series_size, progress.series_digest)

    def _lacks_snapshot_before(self, step: int) -> bool:
        """Whether a snapshot that is wanted now was passed by, unwanted, before the checkpoint at `step`."""
        passed = [share for share in self.spec.snapshots if 0 < step >= round(share * self.setup.total_steps)]
        return any(not self.folder.snapshot(share).is_dir() for share in passed)

    def _snapshots_at(self, step: int) -> list[float]:
        """The shares of the training that are over with this step, and are to be kept."""
        return [share for share in self.spec.snapshots if step == round(share * self.setup.total_steps)]

    def _snapshots(self, step: int) -> None:
        for share in self._snapshots_at(step):
            self._save_model(self.folder.snapshot(share))

    def _save_model(self, path: Path) -> None:
        self.lock.check()
        build.quiet()
        with replacing(path) as temporary:
            self.context.learners["student"].module.save_pretrained(temporary)  # type: ignore[operator]
            build.tokenizer(self.spec.student, tuple(self.setup.data.vocabulary)).save_pretrained(temporary)

    def _spent(self) -> float:
        """Seconds of training so far, over all processes."""
        now = time.perf_counter()
        self.progress.seconds += now - self._clock
        self._clock = now
        return self.progress.seconds

    def _tell(self, force: bool = False) -> None:
        """Keep the state file fresh enough for `kdbench status`."""
        now = time.monotonic()
        if force or now - self._told > STATE_SECONDS:
            self._told = now
            self.lock.check()
            self._set_state("running")

    def _set_state(self, status: Status) -> None:
        self.folder.set_state(
            status, step=self.progress.step, total=self.setup.total_steps, loss=self.loss, score=self.score,
            started=self.started, first_step=self.first_step, micro_batch=self.execution.micro_batch,
        )  # fmt: skip

    def _checkpoint_if_due(self) -> None:
        if self._spent() - self._saved_at >= self.execution.checkpoint_seconds:
            with self.context.not_counted():
                self._checkpoint()

    def _checkpoint(self) -> None:
        self._check_finite()
        self.lock.check()
        mark = self.series.mark
        self.progress.series_size, self.progress.series_digest = mark.size, mark.digest
        checkpoint.save(self.folder.checkpoint, self.progress, self.context, self.method)
        self._saved_at = self.progress.seconds

    def _stop(self) -> None:
        self._checkpoint()
        self._set_state("interrupted")
        raise Stopped

    def _finish(self) -> None:
        """Measure the last and the best student, keep the best, then declare the run done."""
        self.lock.check()
        trained = self._spent()
        last, predictions = self.evaluator.final("last", latest=True)
        teacher = self.evaluator.teacher_final()
        tensors, found = checkpoint.read(self.folder.best)
        self.progress.best_step = found["step"]
        self.context.learners["student"].module.load_state_dict(tensors)
        best, more = self.evaluator.final("best", latest=self.progress.best_step == self.progress.step)
        self._save_model(self.folder.model)
        checkpoint.store(self.folder.predictions, predictions | more, {})
        result = {
            "best": {"step": self.progress.best_step, **best},
            "last": {"step": self.progress.step, **last},
            **teacher,
            "rows": self._rows(),
        }
        self.lock.check()
        write_json(self.folder.path / "result.json", result)
        write_json(self.folder.path / "cost.json", {**self._cost(trained), "train_seconds": round(self._spent(), 2)})
        self.folder.write_checksums()
        self._set_state("done")
        self.folder.note(f"done after {self._spent():.1f} s of training")
        for warning in class_use.stored_warnings(result, self.setup.task.labels):
            self.folder.note(warning)
        for file in (self.folder.checkpoint, self.folder.best):
            file.unlink(missing_ok=True)

    def _cost(self, seconds: float) -> dict[str, Any]:
        return {"steps": self.progress.step, **self.context.meter.report(seconds)}

    def _rows(self) -> dict[str, int]:
        roles = self.setup.roles
        counts = {"train": len(roles.train.rows), "selection": len(roles.selection.rows)}
        counts["feedback"] = len(roles.feedback.rows) if roles.feedback else 0
        return counts | {part.split: len(part.rows) for part in roles.report}
