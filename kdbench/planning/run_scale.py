"""Estimate how large runs are before training: rows and tokens of the data, weights of the networks, work of a step."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.core.spec import DataRef, ModelRef, RunSpec
from kdbench.data.splits import assign_roles, division_key
from kdbench.data.task import Examples
from kdbench.models import reference
from kdbench.models.configuration import read_dimensions
from kdbench.planning import inputs

TRAINED, READ = 6, 2  # operations a weight and token (of BERT, 72 and 24 L H^2 a token): forward 2, back 4
FILLED = 0.4  # of max_length, where no text is at hand
PIECES = 1.25  # tokens a word of English; made words are one token each
SAMPLE = 500  # rows whose words are counted


class DataFacts(NamedTuple):
    """A task's data: rows of each split (train 0: not known), tokens in sampled rows, size of a tiny vocabulary."""

    rows: Mapping[str, int]
    lengths: NDArray[np.float64]
    words: int

    def tokens(self, max_length: int) -> float:
        """Return the mean number of tokens in a row; a guess where there is no text."""
        return float(np.minimum(self.lengths, max_length).mean()) if len(self.lengths) else FILLED * max_length


NO_DATA = DataFacts({"train": 0}, np.empty(0), 0)  # of data that the plan does not name: gone, maybe, or large


@lru_cache(maxsize=64)
def data_facts(task: str, ref: DataRef) -> DataFacts:
    """Return the facts of a task's data. Data on the hub are not fetched; others are read."""
    kind = inputs.load_task(task)
    rows = {"train": 0} | dict.fromkeys((*kind.report_splits, kind.validation_split), 1)  # their size changes no step
    if ref.source == "hub":
        return DataFacts(rows | dict(kind.official_rows), np.empty(0), len(reference.tiny_tokens(())))
    data = inputs.load_data(task, ref)
    rows |= {name: len(split) for name, split in data.splits.items()}
    lengths = text_lengths(data.splits["train"], 1.0 if data.vocabulary else PIECES) if rows["train"] else np.empty(0)
    return DataFacts(rows, lengths, len(reference.tiny_tokens(data.vocabulary)))


def text_lengths(examples: Examples, pieces: float) -> NDArray[np.float64]:
    """Estimate the tokens of evenly spaced rows from their words, because a tokenizer would take seconds to load."""
    texts = [examples.text_a] if examples.text_b is None else [examples.text_a, examples.text_b]
    words = (sum(len(text[row].split()) for text in texts) for row in _sampled_rows(examples))
    return np.array([1 + len(texts) + pieces * number for number in words])


def _sampled_rows(examples: Examples) -> range:
    """Return up to `SAMPLE` row numbers at equal distances."""
    return range(0, len(examples), len(examples) // SAMPLE + 1)


@lru_cache(maxsize=64)
def own_lengths(task: str, data: DataRef, ref: ModelRef) -> NDArray[np.float64] | None:
    """Count the tokens of sampled rows with a network's own tokenizer; None where its file or the text is not at hand.

    Reads tokenizer.json without transformers, whose import takes seconds.
    """
    from tokenizers import Tokenizer

    base, _ = reference.split_name(ref.name)
    try:
        folder = None if reference.TINY.fullmatch(base) or data.source == "hub" else reference.local_folder(base)
        if folder is None or not (folder / "tokenizer.json").is_file():
            return None
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # absent or damaged, which the checks before training report: an estimate can do without
        return None
    tokenizer.no_truncation()
    examples = inputs.load_data(task, data).splits["train"]
    rows, second = _sampled_rows(examples), examples.text_b
    texts = [examples.text_a[row] if second is None else (examples.text_a[row], second[row]) for row in rows]
    return np.array([float(sum(coded.attention_mask)) for coded in tokenizer.encode_batch(texts)])


class NetworkSize(NamedTuple):
    """The dimensions of a network like BERT."""

    layers: int
    hidden: int
    inner: int  # features within a feed-forward layer
    rows: int  # of the embeddings of words and positions
    guessed: bool = False  # nothing is known but the name

    @property
    def weights(self) -> int:
        """Return the weights in the encoder's matrices, which every token is multiplied with."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.inner)

    @property
    def bytes(self) -> int:
        """Return the bytes of nearly all parameters in float32; the last term is the pooler."""
        return 4 * (self.weights + self.rows * self.hidden + self.hidden**2)


BERT = NetworkSize(12, 768, 3072, 30522 + 512)
MINIATURE = re.compile(r"L-(\d+)_H-(\d+)")  # in Google's names of small BERTs


def network_size(ref: ModelRef, words: int) -> NetworkSize:
    """Return the dimensions from the name or files of a network; BERT-base's where neither tells."""
    if ref.is_outputs:
        return NetworkSize(0, 0, 0, 0)
    base, kept = reference.split_name(ref.name)
    if tiny := reference.TINY.fullmatch(base):
        hidden = int(tiny["hidden"])
        return NetworkSize(int(tiny["layers"]), hidden, 2 * hidden, words + reference.TINY_POSITIONS)
    size = _size_from_files(base)
    if size is None and (small := MINIATURE.search(base)):
        hidden = int(small[2])
        size = BERT._replace(layers=int(small[1]), hidden=hidden, inner=4 * hidden)
    size = size or BERT._replace(guessed=True)
    return size._replace(layers=len(kept)) if kept else size


def _size_from_files(base: str) -> NetworkSize | None:
    """Read a network's dimensions if its files are on this machine, in a folder or the hub's cache; else None."""
    from huggingface_hub import try_to_load_from_cache

    try:
        folder, (name, _, revision) = reference.local_folder(base), base.partition("@")
        path = folder / "config.json" if folder else try_to_load_from_cache(name, "config.json", None, revision or None)
        sizes = read_dimensions(Path(str(path)).parent)
        return NetworkSize(sizes.layers, sizes.hidden, sizes.intermediate, sizes.vocabulary + (sizes.positions or 0))
    except (UserError, OSError, ValueError):  # absent: an estimate can do without
        return None


class RunScale:
    """Counts the work of runs.

    Args:
        specs: all known runs.
        data: the data that may be read, by task and fingerprint.
    """

    def __init__(self, specs: Mapping[str, RunSpec], data: Mapping[tuple[str, str], DataRef]) -> None:
        self._specs, self._data = specs, data
        self._size = cache(network_size)
        self._rows: dict[Hashable, int] = {}

    def needed(self, spec: RunSpec) -> list[ModelRef]:
        """Return the networks that needed runs leave; unknown runs are skipped."""
        return [self._specs[run].student for run in spec.needs.values() if run in self._specs]

    def facts(self, spec: RunSpec) -> DataFacts:
        """Return the facts of a run's data."""
        ref = self._data.get((spec.task, spec.data.fingerprint))
        return data_facts(spec.task, ref) if ref else NO_DATA

    def size(self, spec: RunSpec, ref: ModelRef) -> NetworkSize:
        """Return the dimensions of a run's network."""
        return self._size(ref, self.facts(spec).words)

    def tokens(self, spec: RunSpec, ref: ModelRef) -> float:
        """Return the mean number of tokens in a row for one of a run's networks.

        Where the run's tokenizers differ, rows are counted with the network's own.
        """
        facts = self.facts(spec)
        others = [*([spec.teacher] if spec.teacher else []), *self.needed(spec)]
        if len({self._tokenizer(other) for other in (spec.student, *others)} - {""}) > 1:
            data = self._data.get((spec.task, spec.data.fingerprint))
            lengths = own_lengths(spec.task, data, ref) if data else None
            facts = facts if lengths is None else facts._replace(lengths=lengths)
        return facts.tokens(spec.training.max_length)

    def _tokenizer(self, ref: ModelRef) -> str:
        """Return a hash of a network's tokenizer files; "" where they are not on this machine."""
        if reference.TINY.fullmatch(reference.split_name(ref.name)[0]):
            return "tiny"
        if not ref.is_local:
            return ref.fingerprint.partition(":")[0] if reference.is_built_in(ref.name) else ""
        try:
            return inputs.network_shape(ref, ()).tokenizer
        except UserError:
            return ""

    def work(self, spec: RunSpec) -> float:
        """Return the floating-point operations of a step. Feedback is one more batch for the student."""
        # a rate for a teacher, and no fresh one: what a needed run left is trained on
        goes_on = spec.training.teacher_lr is not None and spec.teacher is None
        networks = [(spec.student, (2 if spec.feedback else 1) * TRAINED)]
        networks += [(spec.teacher, TRAINED)] if spec.teacher else []
        networks += [(ref, TRAINED if goes_on else READ) for ref in self.needed(spec)]
        # tokens in a row -> operations a token, so that networks with equal rows are summed before they are multiplied
        operations: dict[float, int] = {}
        for ref, passes in networks:
            length = self.tokens(spec, ref)
            operations[length] = operations.get(length, 0) + passes * self.size(spec, ref).weights
        return sum(spec.training.batch_size * length * max(1, number) for length, number in operations.items())

    def steps(self, spec: RunSpec) -> int:
        """Return the batches of a whole run; 0 while the number of rows is unknown."""
        asked, key = spec.training, division_key(spec)
        if key not in self._rows:
            rows, task = self.facts(spec).rows, inputs.load_task(spec.task)
            roles = assign_roles(spec, rows, task.report_splits, task.validation_split) if rows["train"] else None
            self._rows[key] = len(roles.train.rows) if roles else 0
        return asked.epochs * -(-self._rows[key] // asked.batch_size)

    def likeness(self, spec: RunSpec) -> tuple[Hashable, Hashable, Hashable, Hashable]:
        """Return keys that similar runs share, the closest first: equal data; options; method; networks."""
        needed = sorted(ref.fingerprint for ref in self.needed(spec))
        networks = spec.student.fingerprint, spec.teacher and spec.teacher.fingerprint, *needed
        asked = spec.training
        how = json.dumps([spec.options, asked.precision, asked.attention, asked.compile, asked.dropout], sort_keys=True)
        closest = spec.method, networks, how, spec.task, spec.data.fingerprint
        return closest, closest[:3], closest[:2], frozenset(networks) - {None}
