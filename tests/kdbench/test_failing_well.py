"""What must not pass silently, and what must not stop a run: numbers that are not finite, caches, foreign runs."""

from __future__ import annotations

import math
import multiprocessing
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from kdbench.core.atomic_files import remove_leftovers
from kdbench.core.errors import RunFailure, UserError
from kdbench.core.settings import Execution, Recording
from kdbench.data.outputs_rows import _other_labels
from kdbench.data.tokens import BERT_FORMAT, Tokens, load_or_tokenise
from kdbench.distill.teacher_cache import load_or_compute
from kdbench.results.run_lock import Superseded
from kdbench.results.store import Store
from kdbench.training import checkpoint, evaluator, preflight, runner
from kdbench.training.executors import process_pool
from kdbench.training.failures import as_failure
from kdbench.training.runner import execute
from kdbench.training.setup import numerics
from kdbench.training.training_loop import TrainingLoop
from tests.kdbench.small_runs import CPU, FEW, plan, stop_and_resume, the_run
from tests.kdbench.test_method_files import forget
from tests.kdbench.test_pool import Notes, at_once

OWN = """from kdbench import Method


class Mine(Method):
    \"\"\"Learn from {classes} classes.\"\"\"

    name, title, position, least_classes = "mine", "Mine", 900, {classes}

    def step(self, batch):
        return {{"loss": self.ctx.learners["student"](batch).logits.mean()}}
"""


def test_an_error_of_the_disk_is_no_bug_whoever_writes(tmp_path: Path) -> None:
    """safetensors has an error of its own, which is no OSError."""
    with pytest.raises(SafetensorError) as caught:
        save_file({"a": np.zeros(3)}, tmp_path / "nowhere" / "a.safetensors")
    assert as_failure(caught.value).kind == "disk"
    assert as_failure(SafetensorError("invalid header")).kind == "bug"


def looked_at(*logs: dict[str, float]) -> float | None:
    """The loss after a look at steps that logged these numbers, as on a GPU, where several are looked at at once."""
    batch = SimpleNamespace(index=torch.tensor([7, 8]))
    steps = [(step, {key: torch.tensor(value) for key, value in one.items()}, batch) for step, one in enumerate(logs)]
    loop: Any = SimpleNamespace(unchecked=steps, progress=checkpoint.Progress())
    TrainingLoop._check_finite(loop)
    assert loop.unchecked == []
    return loop.progress.loss


def test_steps_of_two_stages_may_log_under_other_names() -> None:
    assert looked_at({"loss": 3.0, "attention": 1.0, "hidden": 2.0}, {"loss": 0.5}) == 0.5
    assert looked_at({"loss": 3.0}, {"ce": 1.0, "loss": 0.25}) == 0.25
    with pytest.raises(RunFailure, match="the hidden is nan at step 2; rows of the batch: 7, 8"):
        looked_at({"loss": 3.0}, {"loss": 0.5, "hidden": math.nan})


def test_a_student_whose_outputs_are_not_finite_is_not_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last update may leave such weights, and the largest of NaN is class 0."""
    real, calls = evaluator.all_logits, list[int]()

    def broken(*given: Any) -> torch.Tensor:
        calls.append(1)
        return real(*given) * (math.nan if len(calls) > 4 else 1.0)

    monkeypatch.setattr(evaluator, "all_logits", broken)
    spec, store = the_run(plan(tmp_path, methods="finetune")), Store(tmp_path / "r")
    with pytest.raises(RunFailure, match=r"a network's outputs on .* are not finite"):
        execute(spec, store, CPU, FEW)
    assert store.run(spec.id).state().kind == "non-finite"
    assert store.run(spec.id).result() is None


def test_a_run_that_somebody_else_took_over_is_not_called_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that slept longer than its lease wakes to an error; the other one has finished meanwhile."""
    spec, store = the_run(plan(tmp_path, methods="finetune")), Store(tmp_path / "r")
    folder = store.run(spec.id)

    def woken(*given: Any) -> bool:
        (folder.path / "lease").unlink()
        (folder.path / "lease").write_text("filelock/2\npid=1\nhost=far-away\nmode=lease\ntoken=theirs\n")
        folder.set_state("done")
        raise RuntimeError("the GPU is gone")

    monkeypatch.setattr(runner, "_train_with_lock", woken)
    with pytest.raises(Superseded):
        execute(spec, store, CPU, FEW)
    assert folder.state().status == "done"
    assert not (folder.path / "error.txt").exists()


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (folder := tmp_path / "cache").write_text("no folder")
    values = torch.arange(3.0)
    assert load_or_compute(folder, ["a"], lambda: values, lambda stored: True).equal(values)
    made = Tokens(np.arange(3, dtype=np.int32), np.zeros(3, np.int8), np.array([0, 3]), np.array([1]), BERT_FORMAT)
    assert load_or_tokenise(folder, ["a"], BERT_FORMAT, lambda: made) is made
    assert folder.read_text() == "no folder"


def test_a_failure_and_its_retry_keep_the_micro_batch(tmp_path: Path) -> None:
    folder = Store(tmp_path).run("a")
    folder.path.mkdir(parents=True)
    folder.set_state("running", micro_batch=8)
    folder.set_state("failed", kind="disk", message="full")
    folder.reset_failure()
    assert (folder.state().status, folder.state().micro_batch) == ("pending", 8)
    folder.set_state("running", micro_batch=0)
    assert folder.state().micro_batch == 0


def test_a_lack_of_memory_does_not_pass_for_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = the_run(plan(tmp_path, methods="finetune")), Store(tmp_path / "r")
    stop_and_resume(spec, store, 3)

    def short(path: Path) -> Any:
        raise MemoryError

    monkeypatch.setattr(checkpoint, "read", short)
    with pytest.raises(MemoryError):
        checkpoint.load(store.run(spec.id).checkpoint, SimpleNamespace(learners={}), SimpleNamespace())  # type: ignore[arg-type]


def test_leftovers_of_killed_processes_are_removed_wherever_they_are(tmp_path: Path) -> None:
    for name in (".state.json.1f.tmp", "snapshots/.0.5000.2a.tmp/config.json", "snapshots/0.5000/config.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    left = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert left == ["snapshots/0.5000/config.json"]


def test_processes_that_end_before_they_have_a_run_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, started = multiprocessing.get_context("fork"), list[int]()

    def dies(store: Store, recording: Recording, execution: Execution) -> process_pool.Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=sys.exit, args=(7,))
        process.start()
        theirs.close()
        started.append(1)
        return process_pool.Worker(process, ours, execution)

    monkeypatch.setattr(process_pool, "start_worker", dies)
    monkeypatch.setattr(process_pool.Schedule, "take", lambda schedule: None)  # all runs wait for a teacher
    with pytest.raises(UserError, match=r"end as soon as they begin \(the last one with exit code 7\)"):
        at_once(plan(tmp_path, methods="finetune"), Store(tmp_path / "r"), Notes())
    assert len(started) == 2 + process_pool.RETRIES


def test_a_file_that_needs_more_classes_is_refused_by_name_and_a_group_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    file = tmp_path / "mine.py"
    file.write_text(OWN.format(classes=3))
    with pytest.raises(UserError, match="'mine' cannot teach tiny-2x32 on mrpc: it needs 3 classes or more"):
        preflight.check_plan(plan(tmp_path, methods=str(file), tasks="mrpc"), [CPU])
    made = plan(tmp_path, methods="logits", tasks="mrpc,mnli")
    assert "LSKD is left out on MRPC, which has too few classes." in preflight.check_local(made)


def test_numerics_leave_torch_as_it_was(tmp_path: Path) -> None:
    spec, fills = the_run(plan(tmp_path, methods="finetune")), torch.utils.deterministic  # type: ignore[attr-defined]
    before = fills.fill_uninitialized_memory, torch.is_deterministic_algorithms_warn_only_enabled()
    with numerics(spec, torch.device("cpu"), 1):
        assert not fills.fill_uninitialized_memory
    assert (fills.fill_uninitialized_memory, torch.is_deterministic_algorithms_warn_only_enabled()) == before


def test_minus_one_is_a_number_like_another() -> None:
    known = np.array([-1.0, 2.0, 0.5])
    assert _other_labels(["3.0", "2.0", "x"], ["score"], known).tolist() == [True, False, False]
    assert not _other_labels(["3.0", "2.0"], ["score"], np.array([-1.0, -1.0])).any()  # a split without labels
