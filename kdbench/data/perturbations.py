"""Small changes of texts that a reader would hardly notice: typing errors, capitals, missing punctuation.

A text is changed by its content and the seed alone, so that the order of rows does not matter.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace

from kdbench.core.errors import check_known
from kdbench.data.task import Examples

SHORTEST = 4  # letters of a word that gets a typing error
Change = Callable[[str, random.Random, float], str]


def swap_letters(text: str, draw: random.Random, rate: float) -> str:
    """Exchange two inner neighbours in a share `rate` of the words of four or more letters."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) >= SHORTEST and draw.random() < rate:
            at = draw.randrange(1, len(word) - 2)
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def upper_case(text: str, draw: random.Random, rate: float) -> str:
    """Write everything in capitals; a network without capitals does not notice."""
    return text.upper()


def drop_punctuation(text: str, draw: random.Random, rate: float) -> str:
    """Leave out all punctuation; a text of nothing else stays as it is."""
    return "".join(c for c in text if not unicodedata.category(c).startswith("P")).strip() or text


PERTURBATIONS: Mapping[str, Change] = {
    "typos": swap_letters, "case": upper_case, "punctuation": drop_punctuation,
}  # fmt: skip


def perturb(examples: Examples, name: str, seed: int, rate: float) -> Examples:
    """Return examples with changed texts.

    Args:
        name: a key of `PERTURBATIONS`.
        rate: share of the words with a typing error.

    Raises:
        UserError: no such perturbation.
    """
    check_known("perturbation", [name], PERTURBATIONS)
    change = PERTURBATIONS[name]

    def changed(text: str) -> str:
        return change(text, random.Random(f"{seed}|{name}|{text}"), rate)

    second = None if examples.text_b is None else list(map(changed, examples.text_b))
    return replace(examples, text_a=list(map(changed, examples.text_a)), text_b=second)
