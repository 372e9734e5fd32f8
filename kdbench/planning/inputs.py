"""What runs of one process share: task data, tokens, models' shapes. Loaded when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from kdbench.core.spec import DataRef, ModelRef, RunSpec
from kdbench.data.task import TASKS, Task, TaskData
from kdbench.data.tokens import InputFormat, Tokens, load_or_tokenise, tokenise
from kdbench.models import build, compare_tokenizers, reference


@lru_cache(maxsize=8)
def data(task: str, ref: DataRef) -> TaskData:
    """The task's examples."""
    return TASKS.get(task)().load(ref.location)


def task(name: str) -> Task:
    return TASKS.get(name)()


@lru_cache(maxsize=64)
def shape(ref: ModelRef, vocabulary: Sequence[str]) -> reference.Shape:
    return reference.shape(ref, vocabulary)


@lru_cache(maxsize=64)
def input_format(ref: ModelRef, vocabulary: Sequence[str]) -> InputFormat:
    """Read off the model's tokenizer how batches for it are padded, and what they hold.

    Raises:
        UserError: the tokenizer cannot pad, or the network needs what a batch does not hold.
    """
    return InputFormat.of(build.tokenizer(ref, vocabulary), ref.name)


@lru_cache(maxsize=256)
def tokenizer_difference(one: ModelRef, other: ModelRef, vocabulary: Sequence[str]) -> str:
    """Name what differs between two models' tokenizers; "" when they turn every text into the same inputs.

    Tokenizers are only loaded, which takes the import of transformers, where their files leave it open.
    """
    if shape(one, vocabulary).tokenizer == shape(other, vocabulary).tokenizer:
        return ""
    return compare_tokenizers.difference(build.tokenizer(one, vocabulary), build.tokenizer(other, vocabulary))


def tokens(cache: Path, spec: RunSpec, split: str) -> Tokens:
    """A split as the student reads it (teacher and student share a tokenizer; the plan has checked that)."""
    return _tokens(cache, spec.task, spec.data, spec.student, spec.training.max_length, split)


@lru_cache(maxsize=12)
def _tokens(cache: Path, task: str, ref: DataRef, student: ModelRef, max_length: int, split: str) -> Tokens:
    examples = data(task, ref)
    vocabulary = tuple(examples.vocabulary)
    key = (task, ref.fingerprint, split, shape(student, vocabulary).tokenizer, str(max_length))
    format = input_format(student, vocabulary)

    def make() -> Tokens:
        return tokenise(build.tokenizer(student, vocabulary), examples.splits[split], max_length, format)

    return load_or_tokenise(cache / "tokens", key, format, make)
