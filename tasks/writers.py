"""Draw random rows of a given class, with one writer for each kind of task.

The class of a pair is a relation between hidden values of its texts (a subject, a polarity, an answer type), each
expressed by one of several words. The hidden value of the first text is distributed unevenly, so that the second text
alone predicts much of the class. A small model learns this within a few hundred steps, and the relation itself more
slowly, so that better training gives better scores.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from kdbench.tasks.lexicon import expand

Row = tuple[str, str | None]  # the first text, and the second one of pair tasks
Writer = Callable[[random.Random, int], Row]  # draws a row of the class with the given index

_COMMON = 0.85  # probability of the most frequent hidden value in the first text


def sentiment(rng: random.Random, label: int) -> Row:
    """Write an opinion. Class 1: praise; class 0: blame. After "but" the second half decides."""
    own, other = ("PRAISE", "BLAME") if label == 1 else ("BLAME", "PRAISE")
    shape = rng.random()
    if shape < 0.3:
        return expand(rng, f"{own} ."), None
    if shape < 0.85:
        return expand(rng, f"{own} and {own} ."), None
    return expand(rng, f"{other} but {own} ."), None


def paraphrase(rng: random.Random, label: int) -> Row:
    """Write two sentences. Class 1: the same movement of prices; class 0: opposite ones, the second often longer."""
    first, second = _related(rng, ("RISE", "FALL"), same=label == 1)
    detail = " DETAIL" if rng.random() < (0.5 if label == 0 else 0.1) else ""
    return expand(rng, f"{first} ."), expand(rng, f"{second}{detail} .")


def question_pair(rng: random.Random, label: int) -> Row:
    """Write two questions. Class 1: on the same subject; class 0: on two of the three subjects."""
    first, second = _related(rng, ("COOKING", "STUDYING", "SAVING"), same=label == 1)
    return expand(rng, f"ASK {first} ?"), expand(rng, f"ASK {second} ?")


def entailment(rng: random.Random, label: int) -> Row:
    """Write premise and hypothesis. Class 0: the same event; class 1: opposite events."""
    first, second = _related(rng, ("JOINING", "LEAVING"), same=label == 0)
    return expand(rng, f"in MONTH {first} ."), expand(rng, f"{second} .")


def reference(rng: random.Random, label: int) -> Row:
    """Write text and hypothesis. Class 1: the same event; class 0: opposite events."""
    return entailment(rng, 1 - label)


def acceptability(rng: random.Random, label: int) -> Row:
    """Write a sentence. Class 1: as it is; class 0: with two neighbouring words exchanged."""
    subject = rng.choice(("PRAISE", "BLAME", "RISE", "FALL", "JOINING", "LEAVING"))
    words = expand(rng, f"{subject} .").split()
    if label == 0:
        place = rng.randrange(len(words) - 2)
        words[place : place + 2] = reversed(words[place : place + 2])
    return " ".join(words), None


def similarity(rng: random.Random, label: int) -> Row:
    """Write two sentences on three things each. The class is the number of things on which they agree."""
    told = (("RISE", "FALL"), ("PRAISE", "BLAME"), ("JOINING", "LEAVING"))
    alike = rng.sample(range(len(told)), label)
    pairs = [_related(rng, values, same=place in alike) for place, values in enumerate(told)]
    first, second = (" and ".join(side) for side in zip(*pairs, strict=True))
    return expand(rng, f"{first} ."), expand(rng, f"{second} .")


def inference(rng: random.Random, label: int) -> Row:
    """Write premise and hypothesis. Class 0: same thing and polarity; 2: other polarity; 1: the other thing."""
    thing, told_thing = _related(rng, ("ROOM", "MEAL"), same=label != 1)
    polarity, told_polarity = _related(rng, ("GOOD", "BAD"), same=label == 0 or (label == 1 and rng.random() < 0.5))
    hint = "ALSO " if rng.random() < (0.5 if label == 1 else 0.1) else ""
    return expand(rng, f"{thing}_{polarity} ."), expand(rng, f"{hint}{told_thing}_{told_polarity} .")


def answer(rng: random.Random, label: int) -> Row:
    """Write question and sentence. Class 0: the sentence has the month, town or reason asked for; class 1: another."""
    told = {"WHEN": "IN_MONTH", "WHERE": "IN_TOWN", "WHY": "FOR_REASON"}
    asked, answered = _related(rng, tuple(told), same=label == 0)
    return expand(rng, f"{asked} ?"), expand(rng, f"{told[answered]} .")


def _related(rng: random.Random, values: tuple[str, ...], *, same: bool) -> tuple[str, str]:
    """Draw a hidden value for each text, equal or different; the first of `values` is the most frequent."""
    first = values[0] if rng.random() < _COMMON else rng.choice(values[1:])
    return first, first if same else rng.choice([value for value in values if value != first])
