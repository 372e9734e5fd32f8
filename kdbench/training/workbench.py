"""What runs of one process share: task data, tokens, models' shapes. Loaded when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from kdbench.data.tokens import Tokens, cached, tokenise
from kdbench.models import build, reference
from kdbench.plugins import TASKS
from kdbench.spec import DataRef, ModelRef, RunSpec
from kdbench.task import Task, TaskData


@lru_cache(maxsize=8)
def data(task: str, ref: DataRef) -> TaskData:
    """The task's examples."""
    return TASKS.get(task)().load(ref.location)


def task(name: str) -> Task:
    return TASKS.get(name)()


@lru_cache(maxsize=64)
def shape(ref: ModelRef, vocabulary: Sequence[str]) -> reference.Shape:
    return reference.shape(ref, vocabulary)


def tokens(cache: Path, spec: RunSpec, split: str) -> Tokens:
    """A split as the student reads it (teacher and student share a vocabulary; the plan has checked that)."""
    return _tokens(cache, spec.task, spec.data, spec.student, spec.training.max_length, split)


@lru_cache(maxsize=12)
def _tokens(cache: Path, task: str, ref: DataRef, student: ModelRef, max_length: int, split: str) -> Tokens:
    examples = data(task, ref)
    vocabulary = tuple(examples.vocabulary)
    key = (task, ref.fingerprint, split, shape(student, vocabulary).tokenizer, str(max_length))
    return cached(
        cache / "tokens",
        key,
        lambda: tokenise(build.tokenizer(student, vocabulary), examples.splits[split], max_length),
    )
