"""Build every network and make a step of every method of a plan on a few rows, before hours of training.

The code is that of training. Only the students of needed runs are replaced by untrained networks of the same kind.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from kdbench.core.errors import RunFailure, UserError, place_in_file
from kdbench.core.settings import Recording
from kdbench.core.spec import ModelRef, RunSpec
from kdbench.data.batches import Stream, collate
from kdbench.data.splits import Part
from kdbench.data.task import Examples
from kdbench.data.teacher_outputs import row_tokens
from kdbench.data.tokens import InputFormat, Tokens, tokenise
from kdbench.distill.context import Sources, preserve_random_state, seed_everything
from kdbench.distill.method import Method
from kdbench.distill.method_files import method_of
from kdbench.distill.trainable import ComputeSettings
from kdbench.models import build, reference
from kdbench.models.outputs_network import OutputsNetwork
from kdbench.models.padding_check import check_padding, of_lengths
from kdbench.planning import inputs
from kdbench.planning.plan import Plan
from kdbench.training.run_tokenizers import RunTokenizers
from kdbench.training.setup import apply_last_layer, build_method, numerics

CPU = torch.device("cpu")  # a bad index would leave a GPU's context unusable
ROWS = 4  # in the batch of a step
SEARCHED_ROWS = 1000  # of a split, for its shortest and longest rows
MAX_PARAMETERS = 200_000_000  # of a method's networks together; larger ones are built and run, but make no step
MAX_UNKNOWN = 0.5  # share of unknown tokens
TIME_LIMIT = 20.0  # seconds, after which further settings of a method that made a step already are skipped
RECORDING = Recording(influence_samples=2, influence_points=1)
# settings that change the code of a step
CODE_SETTINGS = ("attention", "last_layer", "precision", "dropout", "max_length")


def smoke_test(plan: Plan, todo: Sequence[RunSpec]) -> dict[str, str]:
    """Check that the networks of these runs read the data, and that their methods can make a step.

    Args:
        plan: contains every run that these need.

    Returns:
        run -> what does not work, in one sentence, for one run at least of each network or method that does not.
    """
    tests, start, unfit = _SmokeTest(plan), time.monotonic(), dict[str, str]()

    def note(test: Callable[[RunSpec], None], spec: RunSpec) -> None:
        try:
            test(spec)
        except UserError as error:
            unfit[spec.id] = str(error)

    build.quiet()
    with preserve_random_state():
        for spec in todo:
            note(tests.try_network, spec)
        lost = plan.needing(unfit)
        for spec, is_first in _methods(plan, [spec for spec in todo if spec.id not in lost]):
            if is_first or time.monotonic() - start < TIME_LIMIT:
                note(tests.try_method, spec)
    return unfit


def _methods(plan: Plan, todo: Sequence[RunSpec]) -> Iterator[tuple[RunSpec, bool]]:
    """Yield a run for each method, networks and settings, and whether it is the first of its method and networks."""
    known: dict[tuple[Any, ...], dict[str, RunSpec]] = {}
    for spec in todo:
        networks = (spec.student, spec.teacher, *(plan.runs[run].student for run in spec.needs.values()))
        kind = (spec.method, networks, len(inputs.load_task(spec.task).labels))
        how = str([spec.options, *(getattr(spec.training, name) for name in CODE_SETTINGS)])
        known.setdefault(kind, {}).setdefault(how, spec)
    groups = [list(group.values()) for group in known.values()]
    yield from ((first, True) for first, *_ in groups)
    yield from ((spec, False) for _, *others in groups for spec in others)


class _SmokeTest:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._built: dict[tuple[Any, ...], nn.Module] = {}
        self._read: dict[tuple[Any, ...], Tokens] = {}
        self._tokenizers: dict[tuple[Any, ...], Any] = {}
        self._network_errors: dict[tuple[Any, ...], UserError | None] = {}
        self._examples: dict[int, RunSpec] = {}

    def try_network(self, spec: RunSpec) -> None:
        """Run a run's networks on rows of the greatest length and on padded rows; each network once."""
        training = spec.training
        for ref in dict.fromkeys(ref for ref in (spec.student, spec.teacher) if ref and not ref.is_outputs):
            reader = ref if inputs.tokenizer_difference(spec.student, ref, self._vocabulary(spec)) else spec.student
            key = (ref, reader, _classes(spec), training.attention, training.precision, training.max_length)
            if key not in self._network_errors:
                self._network_errors[key] = self._network_error(spec, ref, reader)
            if error := self._network_errors[key]:
                raise error

    def _network_error(self, spec: RunSpec, ref: ModelRef, reader: ModelRef) -> UserError | None:
        """Return why a network cannot read what the tokenizer of `reader` makes of the data, None if it can."""
        try:
            module = self._template(spec, ref)
            tokens = self._tokens(spec, reader, longest=True)
            _check_vocabulary(reader, self._tokenizer(spec, reader), ref, module)
            _check_unknown(reader, self._tokenizer(spec, reader), tokens)
            if not reference.TINY.fullmatch(ref.name):  # which is a BERT
                with _explained(f"The network {ref.name} cannot read the data"):
                    check_padding(module, self._tokens(spec, reader, longest=False), ref.name)
            with numerics(_uncompiled(spec), CPU, 0):
                _check_length(tokens, spec.training.max_length, ref, module)
        except UserError as error:
            return error
        return None

    def try_method(self, spec: RunSpec) -> None:
        """Build the method and make its first step."""
        networks = [spec.student, *(self.plan.runs[run].student for run in spec.needs.values())]
        networks += [spec.teacher] if spec.teacher else []
        sizes = [sum(p.numel() for p in self._template(spec, ref).parameters()) for ref in networks]
        if sum(sizes) > MAX_PARAMETERS:
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
        tokenizers = RunTokenizers(
            spec, self._vocabulary(spec), {run: self.plan.runs[run].student for run in spec.needs.values()}
        )
        others = {key: self._tokens(spec, ref, longest=False) for key, ref in tokenizers.others.items()}
        tokens = replace(self._tokens(spec, spec.student, longest=False), others=others)
        rows = np.arange(len(tokens))
        part = Part("train", rows)
        make = partial(Stream, tokens, rows, ROWS, spec.seed, device=CPU)
        train, feedback = make(name="train"), make(name="feedback") if spec.feedback else None
        sources = Sources(
            lambda ref: self._fresh(spec, ref), lambda run, snapshot: self._fresh(spec, self.plan.runs[run].student)
        )
        sources = tokenizers.mark_networks(sources)
        _, method = build_method(spec, sources, train, part, feedback, RECORDING, ComputeSettings(CPU))
        seed_everything(spec.seed, "step", 0)
        method.step(train.at(0))

    def _fresh(self, spec: RunSpec, ref: ModelRef) -> nn.Module:
        return apply_last_layer(copy.deepcopy(self._template(spec, ref)), spec)

    def _template(self, spec: RunSpec, ref: ModelRef) -> nn.Module:
        """Build a network as for a run; each is built once."""
        example = self._example(spec)
        key = (ref, example.task, spec.training.attention)
        if ref.is_outputs:
            outputs = inputs.load_outputs(ref, example.task, example.data)
            return OutputsNetwork.of(outputs, inputs.load_task(example.task).labels)
        if key not in self._built:
            labels, vocabulary = inputs.load_task(example.task).labels, self._vocabulary(spec)
            with _explained(f"The network {ref.name} cannot be built"):
                self._built[key] = build.build(ref, labels, key[-1], vocabulary)
        return self._built[key]

    def _vocabulary(self, spec: RunSpec) -> tuple[str, ...]:
        example = self._example(spec)
        return tuple(inputs.load_data(example.task, example.data).vocabulary)

    def _tokens(self, spec: RunSpec, reader: ModelRef, *, longest: bool) -> Tokens:
        """Tokenise the longest or the shortest rows with the tokenizer of a network."""
        example = self._example(spec)
        key = (reader, example.task, spec.training.max_length, longest)
        if reader.is_outputs:
            # the numbers of the first rows, as many as the other networks read
            tokens = row_tokens(inputs.load_data(example.task, example.data), "train")
            count = min(ROWS, len(tokens))
            return replace(
                tokens, ids=tokens.ids[:count], types=tokens.types[:count], starts=tokens.starts[: count + 1],
                labels=tokens.labels[:count],
            )  # fmt: skip
        if key not in self._read:
            rows = _rows(inputs.load_data(example.task, example.data).splits["train"], longest=longest)
            tokenizer = self._tokenizer(spec, reader)
            format = InputFormat.of(tokenizer, reader.name)
            self._read[key] = tokenise(tokenizer, rows, spec.training.max_length, format)
        return self._read[key]

    def _tokenizer(self, spec: RunSpec, reader: ModelRef) -> Any:
        """Load the tokenizer of a network."""
        key = (reader, self._example(spec).task)
        if key not in self._tokenizers:
            with _explained(f"The tokenizer of {reader.name} cannot be loaded"):
                self._tokenizers[key] = build.tokenizer(reader, self._vocabulary(spec))
        return self._tokenizers[key]

    def _example(self, spec: RunSpec) -> RunSpec:
        """Return the first run with as many classes, whose texts stand for those of the other tasks."""
        return self._examples.setdefault(_classes(spec), spec)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn an error in the block into a `UserError` that begins with `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {_reason(error)}") from None


def _classes(spec: RunSpec) -> int:
    return len(inputs.load_task(spec.task).labels)


def _uncompiled(spec: RunSpec) -> RunSpec:
    """Return the run without torch.compile, which takes longer than the whole test."""
    return spec.model_copy(update={"training": spec.training.model_copy(update={"compile": False})})


def _rows(split: Examples, *, longest: bool) -> Examples:
    """Return a split's longest or shortest rows, by characters."""
    count = min(len(split), SEARCHED_ROWS)
    lengths = [len(split.text_a[i]) + (len(split.text_b[i]) if split.text_b else 0) for i in range(count)]
    order = sorted(range(count), key=lengths.__getitem__, reverse=longest)[:ROWS]
    second = None if split.text_b is None else [split.text_b[i] for i in order]
    return Examples([split.text_a[i] for i in order], second, [split.labels[i] for i in order])


def _check_vocabulary(reader: ModelRef, tokenizer: Any, ref: ModelRef, module: Any) -> None:
    """Check that the embeddings have a row for every token.

    Raises:
        UserError: they have fewer.
    """
    try:
        table = module.get_input_embeddings()
    except NotImplementedError:  # of a network without a table of words, such as CANINE
        return
    if not isinstance(table, nn.Embedding):
        return
    size, rows = max(tokenizer.get_vocab().values()) + 1, table.num_embeddings
    if size > rows:
        raise UserError(
            f"The tokenizer of {reader.name} has {size:,} tokens, the embeddings of {ref.name} have {rows:,} rows; "
            f"give them more (model.resize_token_embeddings), or choose a network and a tokenizer of its own."
        )


def _check_unknown(reader: ModelRef, tokenizer: Any, tokens: Tokens) -> None:
    """Check that the tokenizer knows most of the text.

    Raises:
        UserError: it does not, because its vocabulary is empty or of another language.
    """
    special = {getattr(tokenizer, f"{name}_token_id", None) for name in ("cls", "sep", "pad", "bos", "eos")}
    words = tokens.ids[~np.isin(tokens.ids, [i for i in special if i is not None])]
    share = float(np.mean(words == tokenizer.unk_token_id)) if tokenizer.unk_token_id is not None and len(words) else 0
    if share > MAX_UNKNOWN:
        raise UserError(
            f"The tokenizer of {reader.name} reads {share:.0%} of the text as unknown ({tokenizer.unk_token}): its "
            f"vocabulary of {len(tokenizer):,} tokens is not for this text; take the files that belong to the model."
        )


def _check_length(tokens: Tokens, max_length: int, ref: ModelRef, module: nn.Module) -> None:
    """Check that a network reads a row of the greatest length together with a shorter one.

    Raises:
        UserError: it does not; the message names the greatest length that works.
    """
    error = _error(tokens, max_length, module)
    if error is None:
        return
    shortest = min(8, max_length)
    if _error(tokens, shortest, module) is not None:
        raise UserError(f"The network {ref.name} cannot read the data: {_reason(error)}")
    # bisection
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
    """Return the error that a network raises on a row of this length and one half as long, or None."""
    rows = of_lengths(tokens, (length, max(1, length // 2)))
    try:
        module.eval()(**collate(rows, np.arange(2), CPU).inputs)
    except Exception as error:
        return error
    return None


def _reason(error: Exception, method: type[Method] | None = None) -> str:
    """Describe an error in one line, with its place in the method's own file if there is one."""
    if isinstance(error, UserError | RunFailure):
        return str(error)
    text = " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])
    return f"{text}{place_in_file(error, method)}" if method else text
