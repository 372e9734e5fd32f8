"""Generate synthetic data: small splits in a task's format, the same on every machine, without downloads."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.data.task import Examples, TaskData
from kdbench.tasks.lexicon import vocabulary
from kdbench.tasks.writers import Row, Writer


@dataclass(frozen=True)
class Recipe:
    """Parameters of a task's synthetic data.

    Args:
        writer: draws a row of a class.
        shares: the shares of the classes, in class order; their sum is 1.
        values: the number that each class stands for in a regression; () for a classification.
        train_rows: rows of `train`.
        report_rows: rows of every report split.
        noise: share of rows with a wrong label, so that no model can be perfect.
    """

    writer: Writer
    shares: tuple[float, ...]
    train_rows: int = 640
    report_rows: int = 256
    noise: float = 0.05
    values: tuple[float, ...] = ()


def generate(title: str, recipe: Recipe, report_splits: Sequence[str]) -> TaskData:
    """Generate `train` and the report splits; no row occurs twice, within a split or across splits.

    Args:
        title: the task's title, which seeds the generator together with the split's name.
    """
    seen: set[Row] = set()
    sizes = {"train": recipe.train_rows} | dict.fromkeys(report_splits, recipe.report_rows)
    splits = {name: _split(random.Random(f"{title}/{name}"), recipe, rows, seen) for name, rows in sizes.items()}
    return TaskData(splits, vocabulary())


def _split(rng: random.Random, recipe: Recipe, rows: int, seen: set[Row]) -> Examples:
    # class indices in random order, as near to the shares as possible; class 0 gets the remainder
    counts = [round(share * rows) for share in recipe.shares]
    counts[0] += rows - sum(counts)
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    rng.shuffle(labels)

    texts = [_new_row(rng, recipe.writer, label, seen) for label in labels]
    for index in rng.sample(range(rows), round(recipe.noise * rows)):
        labels[index] = rng.choice([label for label in range(len(recipe.shares)) if label != labels[index]])
    second = [text for _, text in texts if text is not None]
    numbers = [recipe.values[label] for label in labels] if recipe.values else labels
    return Examples([text for text, _ in texts], second or None, numbers)


def _new_row(rng: random.Random, writer: Writer, label: int, seen: set[Row]) -> Row:
    row = writer(rng, label)
    while row in seen:
        row = writer(rng, label)
    seen.add(row)
    return row
