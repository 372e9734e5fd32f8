"""One writer per kind of task: a random row of a wanted class, without label noise.

The class of a pair is decided by a relation between a few hidden values (a subject, a polarity, an answer type), each
of them shown by one of several words. The hidden value of the first text is drawn unevenly, so that the second text
alone tells much of the class: a small model learns that within a few hundred steps, and the relation itself more
slowly, which leaves room for better training.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from kdbench.tasks.lexicon import expand

Row = tuple[str, str | None]  # the first text, and the second one of pair tasks
Writer = Callable[[random.Random, int], Row]  # draws a row of the class with the given index

_COMMON = 0.85  # how often the first text takes the most frequent hidden value


def sentiment(rng: random.Random, label: int) -> Row:
    """Class 1 praises, class 0 blames. After "but" the second half decides."""
    own, other = ("PRAISE", "BLAME") if label == 1 else ("BLAME", "PRAISE")
    shape = rng.random()
    if shape < 0.3:
        return expand(rng, f"{own} ."), None
    if shape < 0.85:
        return expand(rng, f"{own} and {own} ."), None
    return expand(rng, f"{other} but {own} ."), None


def paraphrase(rng: random.Random, label: int) -> Row:
    """Class 1: both sentences tell of the same movement; class 0: of opposite ones, the second often in more detail."""
    first, second = _related(rng, ("RISE", "FALL"), same=label == 1)
    detail = " DETAIL" if rng.random() < (0.5 if label == 0 else 0.1) else ""
    return expand(rng, f"{first} ."), expand(rng, f"{second}{detail} .")


def question_pair(rng: random.Random, label: int) -> Row:
    """Class 1: both questions are about the same subject; class 0: about two of the three."""
    first, second = _related(rng, ("COOKING", "STUDYING", "SAVING"), same=label == 1)
    return expand(rng, f"ASK {first} ?"), expand(rng, f"ASK {second} ?")


def entailment(rng: random.Random, label: int) -> Row:
    """Class 0: the hypothesis repeats the premise's event; class 1: it claims the opposite one."""
    first, second = _related(rng, ("JOINING", "LEAVING"), same=label == 0)
    return expand(rng, f"in MONTH {first} ."), expand(rng, f"{second} .")


def inference(rng: random.Random, label: int) -> Row:
    """Class 0: same thing, same polarity; class 2: same thing, other polarity; class 1: the other thing."""
    thing, told_thing = _related(rng, ("ROOM", "MEAL"), same=label != 1)
    polarity, told_polarity = _related(rng, ("GOOD", "BAD"), same=label == 0 or (label == 1 and rng.random() < 0.5))
    hint = "ALSO " if rng.random() < (0.5 if label == 1 else 0.1) else ""
    return expand(rng, f"{thing}_{polarity} ."), expand(rng, f"{hint}{told_thing}_{told_polarity} .")


def answer(rng: random.Random, label: int) -> Row:
    """Class 0: the sentence tells what the question asks for (a month, a town or a reason); class 1: another thing."""
    told = {"WHEN": "IN_MONTH", "WHERE": "IN_TOWN", "WHY": "FOR_REASON"}
    asked, answered = _related(rng, tuple(told), same=label == 0)
    return expand(rng, f"{asked} ?"), expand(rng, f"{told[answered]} .")


def _related(rng: random.Random, values: tuple[str, ...], *, same: bool) -> tuple[str, str]:
    """A hidden value for either text, equal or different; the first of `values` is the frequent one."""
    first = values[0] if rng.random() < _COMMON else rng.choice(values[1:])
    return first, first if same else rng.choice([value for value in values if value != first])
