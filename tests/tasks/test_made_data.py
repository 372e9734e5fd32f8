"""Made data: the same everywhere, in the tasks' shapes, without leaks, and with words that the vocabulary knows."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kdbench.core.spec import DataLocation
from kdbench.data.task import Examples, Task, fingerprint
from kdbench.tasks.generated import Recipe, generate
from kdbench.tasks.glue import GlueTask
from kdbench.tasks.lexicon import PATTERNS, WORDS, expand, vocabulary
from kdbench.tasks.mnli import Mnli
from kdbench.tasks.mrpc import Mrpc
from kdbench.tasks.qnli import Qnli
from kdbench.tasks.qqp import Qqp
from kdbench.tasks.rte import Rte
from kdbench.tasks.sst2 import Sst2

PROJECT = Path(__file__).resolve().parents[2]
MADE = DataLocation("generated")
TASKS = [Mrpc, Rte, Sst2, Mnli, Qnli, Qqp]
SHARES = {Mrpc: (0.32, 0.68), Rte: (0.5, 0.5), Sst2: (0.45, 0.55), Mnli: (0.34, 0.33, 0.33)}
SHARES |= {Qnli: (0.5, 0.5), Qqp: (0.63, 0.37)}


def rows(split: Examples) -> list[tuple[str, str]]:
    return list(zip(split.text_a, split.text_b or [""] * len(split), strict=True))


@pytest.mark.slow
def test_every_process_makes_the_same_data() -> None:
    lines = ["from kdbench.data.task import DataLocation"]
    for task in TASKS:
        lines.append(f"from {task.__module__} import {task.__name__} as T")
        lines.append("print(T().fingerprint(DataLocation('generated')))")
    printed = []
    for seed in ("0", "1"):
        process = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(process.stdout.split())
    assert printed[0] == printed[1] == [task().fingerprint(MADE) for task in TASKS]
    assert len(set(printed[0])) == len(TASKS)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("task", TASKS)
def test_shape(task: type[Task]) -> None:
    data = task().load(MADE)
    assert set(data.splits) == {"train", *task.report_splits}
    for name, split in data.splits.items():
        assert len(split) == len(split.text_a) == len(rows(split))
        assert (600 <= len(split) <= 1000) if name == "train" else (200 <= len(split) <= 300)
        assert (split.text_b is None) == (task is Sst2)
        assert set(split.labels) == set(range(len(task.labels)))


@pytest.mark.parametrize("task", TASKS)
def test_no_row_occurs_twice(task: type[Task]) -> None:
    made = [row for split in task().load(MADE).splits.values() for row in rows(split)]
    assert len(made) == len(set(made))


@pytest.mark.parametrize("task", TASKS)
def test_class_shares_resemble_the_real_ones(task: type[Task]) -> None:
    for split in task().load(MADE).splits.values():
        found = Counter(split.labels)
        for label, share in enumerate(SHARES[task]):
            assert found[label] / len(split) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("task", TASKS)
def test_vocabulary_covers_every_word(task: type[Task]) -> None:
    data = task().load(MADE)
    texts = [text for split in data.splits.values() for row in rows(split) for text in row]
    assert {word for text in texts for word in text.split()} <= set(data.vocabulary)
    assert data.vocabulary == vocabulary()
    assert max(len(text.split()) for text in texts) <= 20


def test_vocabulary_is_sorted_small_and_made_of_whole_words() -> None:
    words = vocabulary()
    assert list(words) == sorted(set(words))
    assert len(words) < 400
    assert all(word.islower() and word.isascii() for word in words if word.isalpha())
    assert {word for word in words if not word.isalpha()} <= {".", ",", "?"}


def test_every_rule_is_used() -> None:
    used = {token for patterns in PATTERNS.values() for pattern in patterns for token in pattern.split()}
    assert set(WORDS) - {"FRAME"} <= used | {"ALSO"}  # the writers name this one themselves


def test_expansion_follows_the_rules() -> None:
    drawn = {expand(random.Random(seed), "a VERY good FILM .") for seed in range(200)}
    assert len(drawn) == len(WORDS["VERY"].split()) * len(WORDS["FILM"].split())
    assert all(sentence.startswith("a ") and sentence.endswith(" .") for sentence in drawn)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_noise_is_the_share_of_wrong_labels(noise: float) -> None:
    recipe = Recipe(lambda rng, label: (f"{'ab'[label]} {rng.random()}", None), (0.25, 0.75), 200, 100, noise)
    for name, split in generate("X", recipe, ("dev",)).splits.items():
        wrong = sum("ab"[label] != text[0] for text, label in zip(split.text_a, split.labels, strict=True))
        assert wrong == round(noise * len(split)), name


def test_shares_are_exact_without_noise() -> None:
    recipe = Recipe(lambda rng, label: (f"{label} {rng.random()}", None), (0.3, 0.3, 0.4), 101, 50, noise=0.0)
    counts = Counter(generate("X", recipe, ("dev",)).splits["train"].labels)
    assert [counts[label] for label in range(3)] == [31, 30, 40]


def test_title_and_split_seed_the_rows() -> None:
    recipe = Recipe(lambda rng, label: (f"{label} {rng.random()}", None), (0.5, 0.5), 20, 20)
    first, again, other = (generate(title, recipe, ("dev",)) for title in ("X", "X", "Y"))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert set(first.splits["train"].text_a).isdisjoint(first.splits["dev"].text_a)


@pytest.mark.parametrize("task", TASKS)
def test_recipes_are_complete(task: type[GlueTask]) -> None:
    assert len(task.recipe.shares) == len(task.labels)
    assert sum(task.recipe.shares) == pytest.approx(1)
