"""Train one run, whatever happened to it before: the function that every executor calls."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from contextlib import suppress

import torch

from kdbench.core.atomic_files import write_text
from kdbench.core.environment import core_count, environment
from kdbench.core.errors import RunFailure, Stopped
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import RunSpec
from kdbench.distill.method_files import code_of
from kdbench.models.matmul_precision import describe_precision
from kdbench.models.reference import hub_commits
from kdbench.models.trimmed_embedding import UnknownTokensError
from kdbench.results.run_lock import RunLock, Superseded
from kdbench.results.store import RunFolder, Store
from kdbench.training import checkpoint
from kdbench.training.failures import as_failure
from kdbench.training.progress import Silent, Watcher
from kdbench.training.setup import choose_device, numerics, prepare
from kdbench.training.training_loop import TrainingLoop


def execute(
    spec: RunSpec, store: Store, execution: Execution, recording: Recording,
    watcher: Watcher | None = None, should_stop: Callable[[], bool] = lambda: False,
) -> bool:  # fmt: skip
    """Train one run to its end, going on from its checkpoint if it has one.

    A failure is left in the run's folder.

    Returns:
        True where it was trained here; False where another process had just done it.

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
            return _train_with_lock(spec, store, execution, recording, watcher or Silent(), should_stop, lock)
        except (Stopped, Superseded):
            raise
        except Exception as error:
            with suppress(OSError):  # a full disk must not hide the reason
                lock.check()  # nothing is written about a run that somebody else has taken over
            raise _record_failure(folder, error) from error


def _train_with_lock(
    spec: RunSpec, store: Store, execution: Execution, recording: Recording, watcher: Watcher,
    should_stop: Callable[[], bool], lock: RunLock,
) -> bool:  # fmt: skip
    """Train while the lock is held, with fewer rows in memory at once each time that memory runs out."""
    folder, device = store.run(spec.id), choose_device(execution.device)
    execution = execution.model_copy(update={"threads": _threads(folder, device, execution)})
    with numerics(spec, device, execution.threads):
        # Snapshots that earlier commands asked for are kept too. Another process may have been quicker.
        spec = spec.model_copy(update={"snapshots": folder.snapshots_with(spec.snapshots)})
        if folder.is_done(spec.snapshots):
            return False
        if folder.state().status == "done":
            folder.note(f"trained again: {folder.missing(spec.snapshots)}")
        origin = {"method_code": code_of(spec), "hub": hub_commits((spec.student, spec.teacher))}
        folder.begin(spec, environment(str(device)) | describe_precision(device) | origin)

        # A run that went on with a smaller micro-batch goes on with it: memory is as short as it was.
        before = folder.state().micro_batch
        if before and (not execution.micro_batch or before < execution.micro_batch):
            execution = execution.model_copy(update={"micro_batch": before})
        while True:
            try:
                # no name is bound to the networks here: they must be freed where they did not fit into memory
                TrainingLoop(
                    prepare(spec, store, execution, recording),
                    folder, lock, execution, recording, watcher, should_stop,
                ).train()  # fmt: skip
                return True
            except (Stopped, Superseded) as end:
                folder.note(str(end) or "stopped, with a checkpoint")
                raise
            except Exception as error:
                if isinstance(error, UnknownTokensError) and execution.trim_embedding:
                    execution = execution.model_copy(update={"trim_embedding": False})
                    why = f"the method makes {error}; it goes on with all rows of the embeddings"
                elif smaller := _halve_micro_batch(spec, execution, error):
                    execution = smaller
                    why = f"out of memory; it goes on with {execution.micro_batch} rows in memory at once"
                else:
                    raise as_failure(error) from error
            finally:
                checkpoint.free(device)
            gc.collect()  # the tensors of the try hung in the frames of its traceback
            folder.note(why)
            watcher.paused(spec.id, why)


def _threads(folder: RunFolder, device: torch.device, execution: Execution) -> int:
    """Return the CPU threads of a run: one that goes on has those that it began with, as others change last bits."""
    begun = folder.environment().get("threads", 0) if folder.checkpoint.exists() and device.type == "cpu" else 0
    return begun if 0 < begun <= core_count() else execution.threads


def _halve_micro_batch(spec: RunSpec, execution: Execution, error: Exception) -> Execution | None:
    """Return settings with half the rows in memory at once, or None where that cannot help.

    The batch whose gradient a step follows stays what it was.
    """
    rows = min(execution.micro_batch or spec.training.batch_size, spec.training.batch_size)
    if as_failure(error).kind != "out-of-memory" or rows < 2:
        return None
    return execution.model_copy(update={"micro_batch": rows // 2})


def _record_failure(folder: RunFolder, error: Exception) -> RunFailure:
    """Give the failure a kind, and leave it in the run's folder."""
    failure = as_failure(error)
    with suppress(OSError):  # a full disk must not hide the reason
        if failure.kind == "bug":
            write_text(folder.path / "error.txt", "".join(traceback.format_exception(error)))
        folder.set_state("failed", kind=failure.kind, message=str(failure))
        folder.note(f"failed, {failure.kind}: {failure}")
    return failure
