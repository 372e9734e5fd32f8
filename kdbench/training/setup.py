"""Prepare a run for its first step: data, networks, method, numerical settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kdbench.core.errors import RunFailure, UserError
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import SAVED, ModelRef, RunSpec
from kdbench.data.batches import Stream
from kdbench.data.splits import Part, Roles
from kdbench.data.task import Task, TaskData
from kdbench.data.tokens import Tokens
from kdbench.distill.context import MethodContext, RunData, Sources, seed_everything
from kdbench.distill.method import Method
from kdbench.distill.method_files import method_of
from kdbench.distill.trainable import ComputeSettings
from kdbench.models import (
    attention_masks,
    build,
    cls_only_layer,
    compilation,
    matmul_precision,
    outputs_network,
    packed_dropout,
)
from kdbench.models.finetuned_networks import build_finetuned
from kdbench.models.outputs_network import OutputsNetwork
from kdbench.planning import inputs
from kdbench.results.store import Store
from kdbench.training.run_tokenizers import RunTokenizers


@dataclass(frozen=True)
class Setup:
    """A run, ready to train."""

    spec: RunSpec
    task: Task
    data: TaskData
    roles: Roles
    train: Stream
    context: MethodContext
    method: Method
    tokens: dict[str, Tokens]
    device: torch.device
    output_cache: Path  # of logits of networks that are not trained
    notes: tuple[str, ...] = ()  # remarks on networks with new or unused weights

    @property
    def total_steps(self) -> int:
        """Return the number of training steps."""
        return self.context.total_steps

    @property
    def eval_every(self) -> int:
        """Return the number of steps between evaluations, at most an epoch."""
        per_epoch = self.train.batches_per_epoch
        return min(self.spec.training.eval_every or per_epoch, per_epoch)


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the first GPU, or the CPU without one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def prepare(spec: RunSpec, store: Store, execution: Execution, recording: Recording) -> Setup:
    """Load data, divide it, and build the method with its networks, all seeded by the spec."""
    # data: rows by role, tokens of the splits in use
    task, data = inputs.load_task(spec.task), inputs.load_data(spec.task, spec.data)
    roles = inputs.load_roles(spec)
    tokenizers = RunTokenizers(spec, tuple(data.vocabulary), _needed_networks(spec, store))
    used = {part.split for part in (roles.train, roles.feedback, roles.selection, *roles.report) if part is not None}
    tokens = {
        name: inputs.load_tokens(store.cache, spec, name, tokenizers.others) for name in data.splits if name in used
    }
    device = choose_device(execution.device)
    if device.type != "cpu":
        attention_masks.always_build_masks()
    # method and networks
    train = _stream(spec, tokens, roles.train, "train", device)
    feedback = _stream(spec, tokens, roles.feedback, "feedback", device) if roles.feedback else None
    notes: list[str] = []
    sources = tokenizers.mark_networks(_sources(spec, store, data, task.labels, notes.append))
    outputs = store.cache / "outputs"
    compute = ComputeSettings(device, execution.micro_batch, outputs)
    # of a network with another tokenizer, the ids of its own tokens
    readers = ["", *tokenizers.others] if _may_trim(spec, execution, device) else []
    token_ids = {
        reader: np.unique(np.concatenate([split.occurring(reader) for split in tokens.values()])) for reader in readers
    }
    context, method = build_method(spec, sources, train, roles.train, feedback, recording, compute, token_ids)
    return Setup(spec, task, data, roles, train, context, method, tokens, device, outputs, tuple(dict.fromkeys(notes)))


def build_method(
    spec: RunSpec, sources: Sources, train: Stream, part: Part, feedback: Stream | None, recording: Recording,
    compute: ComputeSettings, token_ids: Mapping[str, NDArray[np.int64]] = MappingProxyType({}),
) -> tuple[MethodContext, Method]:  # fmt: skip
    """Build the method with its networks, seeded by the spec, to be trained on the rows `part`.

    Args:
        token_ids: see `RunData`.
    """
    classes, steps = len(inputs.load_task(spec.task).labels), spec.training.epochs * train.batches_per_epoch
    context = MethodContext(spec, sources, RunData(train.tokens, part, feedback, classes, steps, token_ids), compute)
    context.set_probe(recording.influence_samples, recording.influence_points)
    seed_everything(spec.seed, "build")
    return context, method_of(spec)(spec, context)


def _needed_networks(spec: RunSpec, store: Store) -> dict[str, ModelRef]:
    """Return references to the students of needed runs by run, for their tokenizers.

    The saved student stands in for an initial network whose files are gone. A run whose spec is lost is left out; that
    its student cannot be loaded either is said when the method asks for it.
    """
    networks, vocabulary = dict[str, ModelRef](), tuple(inputs.load_data(spec.task, spec.data).vocabulary)
    for run in map(store.run, spec.needs.values()):
        try:
            ref = run.spec.student
        except UserError:
            continue
        try:
            inputs.network_shape(ref, vocabulary)
        except UserError:
            ref = ModelRef(name=str(run.model.resolve()), fingerprint=f"{SAVED}{run.id}")
        networks[run.id] = ref
    return networks


def _may_trim(spec: RunSpec, execution: Execution, device: torch.device) -> bool:
    """Return whether networks may be trained without the embedding rows of tokens that occur in no text.

    Not with weight decay, which moves these rows too. Nor where tokens that a method makes could go unnoticed: compiled
    code does not tell them, and on a GPU the host would have to wait for the check.
    """
    training = spec.training
    return execution.trim_embedding and device.type == "cpu" and not (training.weight_decay or training.compile)


def _stream(spec: RunSpec, tokens: dict[str, Tokens], part: Part, name: str, device: torch.device) -> Stream:
    kept, training = tokens[part.split].keep_rows(part.rows), spec.training
    # sorted by length, the few rows of feedback would meet in the same batches at every pass
    is_sorted = name == "train" or training.recipe == 1
    bucket = training.bucket if is_sorted else 1
    return Stream(kept, part.rows, training.batch_size, spec.seed, name, device, bucket, training.recipe > 1)


def _sources(spec: RunSpec, store: Store, data: TaskData, labels: Sequence[str], log: Callable[[str], None]) -> Sources:
    attention = spec.training.attention

    def fresh(ref: ModelRef) -> nn.Module:
        if ref.is_outputs:
            outputs = inputs.load_outputs(ref, spec.task, spec.data)
            log(outputs.remark)
            return OutputsNetwork.of(outputs, labels)
        if not spec.training.epochs:
            return apply_last_layer(build_finetuned(ref, labels, attention)[0], spec, log)
        return apply_last_layer(build.build(ref, labels, attention, tuple(data.vocabulary), log), spec, log)

    def trained(run_id: str, snapshot: float | None) -> nn.Module:
        run = store.run(run_id)
        folder = run.model if snapshot is None else run.snapshot(snapshot)
        if problem := run.damage(folder):
            run.mark_damaged(problem)
            raise RunFailure("damaged", f"{problem} in {run.path}; the same command trains that run again.")
        if outputs_network.is_saved_in(folder):
            return OutputsNetwork.load(folder)
        return apply_last_layer(build.load(folder, attention=attention), spec, log)

    return Sources(fresh, trained)


def apply_last_layer(module: nn.Module, spec: RunSpec, log: Callable[[str], None] = lambda text: None) -> nn.Module:
    """Apply the spec's `last_layer` to a network and return it; `log` gets a remark where it has no effect."""
    if spec.training.last_layer == "first":
        if cls_only_layer.is_supported(module):
            cls_only_layer.install(module)
        else:
            config: Any = module.config
            log(f"last_layer=first is for BERTs; a network of type {config.model_type} computes all of its last layer")
    return module


@contextmanager
def numerics(spec: RunSpec, device: torch.device, threads: int) -> Iterator[None]:
    """Apply the spec's precision, dropout and compilation within the block; set `threads` unless 0."""
    training = spec.training
    # deterministic kernels
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills: Any = torch.utils.deterministic  # of new memory: costs time and finds no error of ours
    filled, fills.fill_uninitialized_memory = fills.fill_uninitialized_memory, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    with ExitStack() as settings:
        if threads:
            settings.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        settings.callback(torch.use_deterministic_algorithms, before[0], warn_only=before[1])
        settings.callback(setattr, fills, "fill_uninitialized_memory", filled)
        fast = training.precision == "fp32-fast"
        settings.enter_context(
            matmul_precision.use_setting(matmul_precision.choose_setting(device) if fast else matmul_precision.PLAIN)
        )
        if training.precision == "bf16":
            # no cache: autocast would go on using the weights as they were before the optimiser's step
            settings.enter_context(torch.autocast(device.type, torch.bfloat16, cache_enabled=False))
        if training.dropout == "packed":
            settings.enter_context(packed_dropout.use_packed_masks())
        settings.enter_context(compilation.allow_compilation(training.compile))
        yield
