"""Task data, tokens and network shapes, loaded when first asked for and cached for the runs of a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from kdbench.core.errors import UserError
from kdbench.core.spec import DataRef, ModelRef, RunSpec
from kdbench.data import teacher_outputs
from kdbench.data.data_checks import data_remarks
from kdbench.data.splits import Roles, assign_roles
from kdbench.data.task import Task, TaskData
from kdbench.data.task_registry import TASKS
from kdbench.data.tokens import InputFormat, Tokens, load_or_tokenise, tokenise
from kdbench.models import build, compare_tokenizers, outputs_reference, reference


@lru_cache(maxsize=8)
def load_data(task: str, ref: DataRef) -> TaskData:
    """Load the examples of a task.

    Raises:
        UserError: the data cannot be read, a text or label is wrong, or they are not what was planned with.
    """
    kind = TASKS.get(task)()
    data = kind.load_checked(ref.location)
    # a task in Python may have a `fingerprint` of its own
    if ref.fingerprint != kind.fingerprint_of(data, ref.location) and ref.fingerprint != kind.fingerprint(ref.location):
        raise UserError(
            f"The data of {kind.title}{f', {ref.path},' if ref.path else ''} have changed since runs on them were "
            "planned; put them back, or repeat the kdbench run command, which trains new runs."
        )
    return data


@lru_cache(maxsize=64)
def look_at_data(task: str, ref: DataRef) -> tuple[str, ...]:
    """Return remarks on a task's data, see `data_checks.data_remarks`; generated data need none.

    Raises:
        UserError: see `Task.check_own_scores`.
    """
    kind = TASKS.get(task)
    if kind().has_own_score:
        kind().check_own_scores(load_data(task, ref))
    if kind.is_generated(ref.location):
        return ()
    return tuple(data_remarks(kind.title, load_data(task, ref), kind.labels, kind.report_splits))


@lru_cache(maxsize=4)
def load_outputs(network: ModelRef, task: str, ref: DataRef) -> teacher_outputs.TeacherOutputs:
    """Read a file of a teacher's outputs on a task.

    Raises:
        UserError: the file does not fit the task (see `teacher_outputs.read_outputs`), or is not what was planned with.
    """
    path, content = outputs_reference.outputs_file(network)
    if reference.resolve(network.name) != network:
        raise UserError(f"{path} has changed since the run was planned; repeat the command for a new run.")
    return teacher_outputs.read_outputs(path, content, load_task(task).labels, load_data(task, ref))


def load_task(name: str) -> Task:
    """Return the task called `name`."""
    return TASKS.get(name)()


def load_roles(spec: RunSpec) -> Roles:
    """Return the rows of every role of a run.

    Raises:
        UserError: a role has none.
    """
    task = load_task(spec.task)
    sizes = {name: len(split) for name, split in load_data(spec.task, spec.data).splits.items()}
    return assign_roles(spec, sizes, task.report_splits, task.validation_split)


@lru_cache(maxsize=64)
def network_shape(ref: ModelRef, vocabulary: Sequence[str]) -> reference.Shape:
    """Return the shape of a network, and the fingerprint of its tokenizer."""
    return reference.shape(ref, vocabulary)


@lru_cache(maxsize=64)
def input_format(ref: ModelRef, vocabulary: Sequence[str]) -> InputFormat:
    """Read from the model's tokenizer how its batches are padded, and which tensors they hold.

    Raises:
        UserError: the tokenizer cannot pad, or the network needs a tensor that batches do not hold.
    """
    return InputFormat.of(build.tokenizer(ref, vocabulary), ref.name)


@lru_cache(maxsize=256)
def tokenizer_difference(one: ModelRef, other: ModelRef, vocabulary: Sequence[str]) -> str:
    """Name the first difference between two models' tokenizers; "" when they turn every text into the same inputs.

    Where their files leave it open, both tokenizers are loaded, which imports transformers.
    """
    if network_shape(one, vocabulary).tokenizer == network_shape(other, vocabulary).tokenizer:
        return ""
    if one.is_outputs or other.is_outputs:
        return "row numbers"
    return compare_tokenizers.difference(build.tokenizer(one, vocabulary), build.tokenizer(other, vocabulary))


def tokenizer_key(student: ModelRef, other: ModelRef, vocabulary: Sequence[str]) -> str:
    """Return a key of another network's tokenizer; "" where it encodes every text as the student's does."""
    return network_shape(other, vocabulary).tokenizer if tokenizer_difference(student, other, vocabulary) else ""


def clear_caches() -> None:
    """Forget all data and tokens, as a new process has none."""
    load_data.cache_clear()
    _tokens.cache_clear()


def load_tokens(
    cache: Path, spec: RunSpec, split: str, others: Mapping[str, ModelRef] = MappingProxyType({})
) -> Tokens:
    """Tokenise a split with the student's tokenizer, or read it from the cache on disk.

    Args:
        others: networks with other tokenizers, by `tokenizer_key`; the split is tokenised for each.
    """
    of_networks = {
        key: _tokens(cache, spec.task, spec.data, ref, spec.training.max_length, split)
        for key, ref in {"": spec.student, **others}.items()
    }
    own = of_networks.pop("")
    return replace(own, others=of_networks) if of_networks else own


@lru_cache(maxsize=12)
def _tokens(cache: Path, task: str, ref: DataRef, network: ModelRef, max_length: int, split: str) -> Tokens:
    """Return a split's tokens; labels of a regression are float64, also where a task gives whole numbers.

    So rows that are left out have the label NaN, with which a loss fails, and not -1, which could be one of them.
    """
    tokens = _task_tokens(cache, task, ref, network, max_length, split)
    is_regression = load_task(task).kind == "regression"
    return replace(tokens, labels=tokens.labels.astype(np.float64)) if is_regression else tokens


def _task_tokens(cache: Path, task: str, ref: DataRef, network: ModelRef, max_length: int, split: str) -> Tokens:
    """Tokenise a split or read it from the cache, with the labels in the type that the task gives."""
    examples = load_data(task, ref)
    if network.is_outputs:
        return teacher_outputs.row_tokens(examples, split)
    vocabulary = tuple(examples.vocabulary)
    key = (task, ref.fingerprint, split, network_shape(network, vocabulary).tokenizer, str(max_length))
    format = input_format(network, vocabulary)

    def make() -> Tokens:
        return tokenise(build.tokenizer(network, vocabulary), examples.splits[split], max_length, format)

    return load_or_tokenise(cache / "tokens", key, format, make)
