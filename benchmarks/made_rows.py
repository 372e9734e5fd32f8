"""Write made texts of given lengths where real data are not at hand: as many tokens as GLUE's and TREC's rows have."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks.work import Work
from kdbench.core.atomic_files import write_text
from kdbench.models import build, reference

# deciles of the tokens of a training row, special tokens included (BERT's uncased vocabulary, at most 128)
LENGTHS: Mapping[str, tuple[int, ...]] = MappingProxyType({
    "mnli": (5, 19, 24, 29, 33, 37, 42, 47, 53, 63, 128), "mrpc": (19, 36, 41, 45, 50, 53, 57, 61, 64, 70, 103),
    "qnli": (15, 31, 36, 40, 43, 47, 51, 55, 61, 71, 128), "qqp": (11, 19, 21, 23, 25, 27, 30, 34, 39, 48, 128),
    "rte": (13, 33, 40, 45, 50, 56, 62, 72, 103, 128, 128), "sst2": (5, 5, 6, 7, 8, 10, 12, 15, 20, 27, 57),
    "trec": (5, 9, 10, 11, 12, 13, 14, 15, 17, 19, 41),
})  # fmt: skip
GLUE_ROWS = MappingProxyType(
    {"mnli": 392702, "mrpc": 3668, "qnli": 104743, "qqp": 363846, "rte": 2490, "sst2": 67349}
)  # of the published training sets
TREC_ROWS, TREC_TEST_ROWS, TREC_WORDS = 5452, 500, 8754
COARSE = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def made_words(work: Work) -> list[str]:
    """Return words of which each is one token of the student's tokenizer, as many as TREC has."""
    known = build.tokenizer(reference.resolve(work.student)).get_vocab()
    return sorted(word for word in known if word.isascii() and word.isalpha())[:TREC_WORDS]


def write_glue(folder: Path, words: Sequence[str], rows: int, seed: int = 0) -> Path:
    """Write an MRPC of `rows` training rows in the classic layout, with lengths as in all of GLUE.

    Args:
        words: each is one token of the networks' tokenizer.
    """
    rng = random.Random(seed)
    for name, count in (("train", rows), ("dev", max(32, rows // 10))):
        lines = ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"]
        for number, task in enumerate(rng.choices(list(GLUE_ROWS), list(GLUE_ROWS.values()), k=count)):
            tokens = rng.choices(words, k=_length(task, rng) - 3)
            middle = max(1, len(tokens) // 2)
            first, second = " ".join(tokens[:middle]), " ".join(tokens[middle:])
            lines.append(f"{rng.randrange(2)}\t{number}\t{number}\t{first}\t{second}")
        write_text(folder / "MRPC" / f"{name}.tsv", "\n".join([*lines, ""]))
    return folder


def write_trec(folder: Path, words: Sequence[str], rows: int = TREC_ROWS, seed: int = 0) -> Path:
    """Write a TREC of `rows` training rows; a question's first word tells its class in nine of ten rows."""
    rng = random.Random(seed)
    for name, count in (("train", rows), ("test", min(rows, TREC_TEST_ROWS))):
        lines = []
        for _ in range(count):
            label = rng.randrange(len(COARSE))
            told = label if rng.random() < 0.9 else rng.randrange(len(COARSE))
            question = [words[told], *rng.choices(words, k=_length("trec", rng) - 3)]
            lines.append(f"{COARSE[label]}:made {' '.join(question)}")
        write_text(folder / "trec" / f"TREC.{name}", "\n".join([*lines, ""]))
    return folder


def _length(task: str, rng: random.Random) -> int:
    """Draw the tokens of a row, special tokens included, evenly between two neighbouring deciles."""
    number = rng.randrange(10)
    return rng.randint(LENGTHS[task][number], LENGTHS[task][number + 1])
