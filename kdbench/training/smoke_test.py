"""Build every network and make a step of every method of a plan, on a few rows, before anything is trained for hours.

What fails here would fail in the run, perhaps after its teachers have been trained. Everything goes through the code
that trains; only that the networks which a run needs are not trained yet, so that fresh ones of their kind stand in.
"""

from __future__ import annotations

import copy
import inspect
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kdbench.core.errors import RunFailure, UserError
from kdbench.core.settings import Recording
from kdbench.core.spec import ModelRef, RunSpec
from kdbench.data.batches import Stream, collate
from kdbench.data.splits import Part
from kdbench.data.task import Examples
from kdbench.data.tokens import InputFormat, Tokens, tokenise
from kdbench.distill.context import Sources, preserve_random_state, seed_everything
from kdbench.distill.method import Method
from kdbench.distill.method_files import method_of
from kdbench.distill.trainable import ComputeSettings
from kdbench.models import build, reference
from kdbench.models.padding_check import check_padding, of_lengths
from kdbench.planning import inputs
from kdbench.planning.plan import Plan
from kdbench.training.setup import build_method, numerics, ready

CPU = torch.device("cpu")  # a bad index would leave a GPU's context unusable
ROWS = 4  # that a method is tried on
LOOKED_AT = 1000  # rows of a split, for the shortest and the longest of them
LARGE = 200_000_000  # parameters of a method's networks together: more are built and run, but no step is made
MOST_UNKNOWN = 0.5  # of a text's tokens
PATIENCE = 20.0  # seconds, after which further settings of a method that was tried already are left out
WATCHED = Recording(influence_samples=2, influence_points=1)
# of `Training`, what decides which code a step goes through
DECIDING = ("attention", "last_layer", "precision", "dropout", "max_length")


def smoke_test(plan: Plan, todo: Sequence[RunSpec]) -> None:
    """See that the networks of these runs read the data, and that their methods make a step.

    Args:
        plan: has every run that these need.

    Raises:
        UserError: one sentence about the first network or method that does not work.
    """
    tests, start = _SmokeTest(plan), time.monotonic()
    build.quiet()
    with preserve_random_state():
        for spec in todo:
            tests.try_network(spec)
        for spec, is_first in _methods(plan, todo):
            if is_first or time.monotonic() - start < PATIENCE:
                tests.try_method(spec)


def _methods(plan: Plan, todo: Sequence[RunSpec]) -> Iterator[tuple[RunSpec, bool]]:
    """One run of each method, networks and settings; and whether it is the first of its method and networks."""
    known: dict[tuple[Any, ...], dict[str, RunSpec]] = {}
    for spec in todo:
        networks = (spec.student, spec.teacher, *(plan.runs[run].student for run in spec.needs.values()))
        kind = (spec.method, networks, len(inputs.task(spec.task).labels))
        how = str([spec.options, *(getattr(spec.training, name) for name in DECIDING)])
        known.setdefault(kind, {}).setdefault(how, spec)
    found = [list(some.values()) for some in known.values()]
    yield from ((first, True) for first, *_ in found)
    yield from ((spec, False) for _, *more in found for spec in more)


class _SmokeTest:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._built: dict[tuple[Any, ...], nn.Module] = {}
        self._read: dict[tuple[Any, ...], Tokens] = {}
        self._tokenizers: dict[tuple[Any, ...], Any] = {}
        self._passed: set[tuple[Any, ...]] = set()
        self._examples: dict[int, RunSpec] = {}

    def try_network(self, spec: RunSpec) -> None:
        """Send rows of the greatest length, and padded ones, through the networks of a run."""
        training = spec.training
        for ref in dict.fromkeys(ref for ref in (spec.student, spec.teacher) if ref is not None):
            key = (ref, spec.student, _classes(spec), training.attention, training.precision, training.max_length)
            if key in self._passed:
                continue
            self._passed.add(key)
            module = self._template(spec, ref)
            tokens = self._tokens(spec, longest=True)
            _check_vocabulary(spec.student, self._tokenizer(spec), ref, module)
            _check_unknown(spec.student, self._tokenizer(spec), tokens)
            if not reference.TINY.fullmatch(ref.name):  # which is a BERT
                with _explained(f"The network {ref.name} cannot read the data"):
                    check_padding(module, self._tokens(spec, longest=False), ref.name)
            with numerics(_uncompiled(spec), CPU, 0):
                _check_length(tokens, training.max_length, ref, module)

    def try_method(self, spec: RunSpec) -> None:
        """Build the method and make its first step."""
        networks = [spec.student, *(self.plan.runs[run].student for run in spec.needs.values())]
        networks += [spec.teacher] if spec.teacher else []
        sizes = [sum(p.numel() for p in self._template(spec, ref).parameters()) for ref in networks]
        if sum(sizes) > LARGE:
            return
        try:
            with numerics(_uncompiled(spec), CPU, 0):
                self._step(_uncompiled(spec))
        except Exception as error:
            others = "".join(f", {ref.name}" for ref in networks[1:])
            raise UserError(
                f"Method '{spec.method}' cannot teach {spec.student.name} on {spec.task}"
                f"{f' (with{others[1:]})' if others else ''}: {_reason(error, method_of(spec))}"
            ) from None

    def _step(self, spec: RunSpec) -> None:
        tokens = self._tokens(spec, longest=False)
        rows = np.arange(len(tokens))
        part = Part("train", rows)
        make = partial(Stream, tokens, rows, ROWS, spec.seed, device=CPU)
        train, feedback = make(name="train"), make(name="feedback") if spec.feedback else None
        sources = Sources(
            lambda ref: self._fresh(spec, ref), lambda run, snapshot: self._fresh(spec, self.plan.runs[run].student)
        )
        _, method = build_method(spec, sources, train, part, feedback, WATCHED, ComputeSettings(CPU))
        seed_everything(spec.seed, "step", 0)
        method.step(train.at(0))

    def _fresh(self, spec: RunSpec, ref: ModelRef) -> nn.Module:
        return ready(copy.deepcopy(self._template(spec, ref)), spec)

    def _template(self, spec: RunSpec, ref: ModelRef) -> nn.Module:
        """The network as it is built for a run; built once."""
        example = self._example(spec)
        key = (ref, example.task, spec.training.attention)
        if key not in self._built:
            vocabulary = tuple(inputs.data(example.task, example.data).vocabulary)
            with _explained(f"The network {ref.name} cannot be built"):
                self._built[key] = build.build(ref, inputs.task(example.task).labels, key[-1], vocabulary)
        return self._built[key]

    def _tokens(self, spec: RunSpec, *, longest: bool) -> Tokens:
        """Some rows as the run's student reads them: the longest, or short ones."""
        example = self._example(spec)
        key = (spec.student, example.task, spec.training.max_length, longest)
        if key not in self._read:
            some = _rows(inputs.data(example.task, example.data).splits["train"], longest=longest)
            tokenizer = self._tokenizer(spec)
            format = InputFormat.of(tokenizer, spec.student.name)
            self._read[key] = tokenise(tokenizer, some, spec.training.max_length, format)
        return self._read[key]

    def _tokenizer(self, spec: RunSpec) -> Any:
        """The tokenizer of the run's student, which reads the texts for all its networks."""
        example = self._example(spec)
        key = (spec.student, example.task)
        if key not in self._tokenizers:
            vocabulary = tuple(inputs.data(example.task, example.data).vocabulary)
            with _explained(f"The tokenizer of {spec.student.name} cannot be loaded"):
                self._tokenizers[key] = build.tokenizer(spec.student, vocabulary)
        return self._tokenizers[key]

    def _example(self, spec: RunSpec) -> RunSpec:
        """The first run on a task of so many classes; what holds of its texts is taken to hold of the others'."""
        return self._examples.setdefault(_classes(spec), spec)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Within the block, an error becomes a sentence that begins with `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {_reason(error)}") from None


def _classes(spec: RunSpec) -> int:
    return len(inputs.task(spec.task).labels)


def _uncompiled(spec: RunSpec) -> RunSpec:
    """The same run without torch.compile, which takes longer than all the rest."""
    return spec.model_copy(update={"training": spec.training.model_copy(update={"compile": False})})


def _rows(split: Examples, *, longest: bool) -> Examples:
    """The longest of a split's rows, or the shortest, by their characters."""
    count = min(len(split), LOOKED_AT)
    lengths = [len(split.text_a[i]) + (len(split.text_b[i]) if split.text_b else 0) for i in range(count)]
    order = sorted(range(count), key=lengths.__getitem__, reverse=longest)[:ROWS]
    second = None if split.text_b is None else [split.text_b[i] for i in order]
    return Examples([split.text_a[i] for i in order], second, [split.labels[i] for i in order])


def _check_vocabulary(student: ModelRef, tokenizer: Any, ref: ModelRef, module: Any) -> None:
    """See that the embeddings have a row for every token.

    Raises:
        UserError: they have not.
    """
    table = module.get_input_embeddings()
    if not isinstance(table, nn.Embedding):
        return
    size, rows = max(tokenizer.get_vocab().values()) + 1, table.num_embeddings
    if size > rows:
        raise UserError(
            f"The tokenizer of {student.name} has {size:,} tokens, the embeddings of {ref.name} have {rows:,} rows; "
            f"give them more (model.resize_token_embeddings), or choose a network and a tokenizer of its own."
        )


def _check_unknown(student: ModelRef, tokenizer: Any, tokens: Tokens) -> None:
    """See that the tokenizer knows most of the text.

    Raises:
        UserError: it does not: its vocabulary is another language's, or empty.
    """
    special = {getattr(tokenizer, f"{name}_token_id", None) for name in ("cls", "sep", "pad", "bos", "eos")}
    words = tokens.ids[~np.isin(tokens.ids, [i for i in special if i is not None])]
    share = float(np.mean(words == tokenizer.unk_token_id)) if tokenizer.unk_token_id is not None and len(words) else 0
    if share > MOST_UNKNOWN:
        raise UserError(
            f"The tokenizer of {student.name} reads {share:.0%} of the text as unknown ({tokenizer.unk_token}): its "
            f"vocabulary of {len(tokenizer):,} tokens is not for this text; take the files that belong to the model."
        )


def _check_length(tokens: Tokens, max_length: int, ref: ModelRef, module: nn.Module) -> None:
    """See that a network reads a row of the greatest length, with a shorter one beside it.

    Raises:
        UserError: it does not.
    """
    error = _error(tokens, max_length, module)
    if error is None:
        return
    shortest = min(8, max_length)
    if _error(tokens, shortest, module) is not None:
        raise UserError(f"The network {ref.name} cannot read the data: {_reason(error)}")
    works, fails = shortest, max_length
    while fails - works > 1:
        middle = (works + fails) // 2
        works, fails = (middle, fails) if _error(tokens, middle, module) is None else (works, middle)
    raise UserError(
        f"max_length={max_length} is more than {ref.name} can read ({_reason(error)}); "
        f"give --set max_length={works} or less."
    )


@torch.no_grad()
def _error(tokens: Tokens, length: int, module: nn.Module) -> Exception | None:
    """What a network raises on a row of this length and one that is half as long."""
    made = of_lengths(tokens, (length, max(1, length // 2)))
    try:
        module.eval()(**collate(made, np.arange(2), CPU).inputs)
    except Exception as error:
        return error
    return None


def _reason(error: Exception, method: type[Method] | None = None) -> str:
    """The error in one line; of one in a method, with the place in the method's own file."""
    if isinstance(error, UserError | RunFailure):
        return str(error)
    text = " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])
    own = inspect.getfile(method) if method else ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f"{text} ({Path(own).name}, line {lines[-1]})" if lines else text
