"""Words and sentence patterns of synthetic data, and their expansion to sentences.

A pattern is a string of tokens. A token in capitals names a rule of `WORDS` (one of its words is drawn) or of
`PATTERNS` (one of its patterns is drawn and expanded in turn); every other token is copied.
"""

from __future__ import annotations

import functools
import random

WORDS: dict[str, str] = {
    # what the writers put around the rules
    "FRAME": ". ? and but in",
    # people, places, times: they vary a sentence and carry the answer types of QNLI
    "NAME": "anna peter maria james laura david helen martin sofia oscar",
    "TOWN": "paris london berlin madrid vienna oslo lisbon dublin prague athens",
    "MONTH": "january february april june july august october november december march",
    "DAY": "monday tuesday wednesday thursday friday saturday sunday",
    "REASON": "money fun safety profit honour peace charity practice comfort fame",
    # two polarities
    "GOOD": "great charming funny brilliant lovely fresh warm superb",
    "BAD": "dull boring awful weak stale clumsy dreadful bland",
    "VERY": "very really quite truly rather so",
    "NEVER": "never hardly not",
    "FILM": "film plot cast script story ending music acting movie scene",
    # two directions
    "ROSE": "rose climbed gained jumped grew surged soared",
    "FELL": "fell dropped declined sank tumbled slid shrank",
    "SHARES": "shares sales profits prices exports orders stocks revenues",
    "SPEAKER": "officials analysts managers reporters experts brokers",
    "SAID": "said announced reported noted added",
    # two events
    "JOINED": "joined entered founded backed led bought supported praised",
    "LEFT": "left quit closed sold abandoned dissolved sued blamed",
    "FIRM": "bank club school company union party hotel museum",
    # three subjects of questions
    "COOK": "cook bake fry boil roast grill",
    "DISH": "soup bread rice fish cake pasta potatoes chicken",
    "STUDY": "learn study practise memorise understand revise",
    "SUBJECT": "french physics algebra chemistry grammar history spanish biology",
    "SAVE": "save invest earn borrow spend donate",
    "WEALTH": "cash savings income salary rent taxes dollars pensions",
    # two subjects of conversation
    "GUEST": "guests visitors tourists customers",
    "PLACE": "room beach garden village",
    "MEAL": "dinner breakfast lunch dessert",
    "FINE": "clean perfect pleasant",
    "POOR": "dirty terrible unpleasant",
    "ALSO": "also mostly perhaps probably sometimes usually",
}

PATTERNS: dict[str, tuple[str, ...]] = {
    # SST-2: one opinion
    "PRAISE": (
        "the FILM is GOOD",
        "the FILM is VERY GOOD",
        "a GOOD FILM",
        "a VERY GOOD FILM",
        "its FILM is GOOD",
        "the FILM is NEVER BAD",
    ),
    "BLAME": (
        "the FILM is BAD",
        "the FILM is VERY BAD",
        "a BAD FILM",
        "a VERY BAD FILM",
        "its FILM is BAD",
        "the FILM is NEVER GOOD",
    ),
    # MRPC: one movement of the market
    "RISE": (
        "SHARES ROSE on DAY",
        "on DAY SHARES ROSE",
        "SPEAKER SAID SHARES ROSE",
        "SHARES ROSE in MONTH",
    ),
    "FALL": (
        "SHARES FELL on DAY",
        "on DAY SHARES FELL",
        "SPEAKER SAID SHARES FELL",
        "SHARES FELL in MONTH",
    ),
    "DETAIL": (", SPEAKER SAID", "after a DAY of doubt", "despite the taxes"),
    # QQP: one thing to do
    "COOKING": ("COOK DISH", "COOK the DISH", "COOK good DISH"),
    "STUDYING": ("STUDY SUBJECT", "STUDY the SUBJECT", "STUDY good SUBJECT"),
    "SAVING": ("SAVE WEALTH", "SAVE the WEALTH", "SAVE good WEALTH"),
    "ASK": ("how do i", "how can i", "where do i", "where can i"),
    # RTE: one event
    "JOINING": ("NAME JOINED the FIRM", "the FIRM was JOINED by NAME"),
    "LEAVING": ("NAME LEFT the FIRM", "the FIRM was LEFT by NAME"),
    # MNLI: one judgement of one of two things
    "ROOM_GOOD": ("the PLACE was FINE", "a FINE PLACE", "GUEST had a FINE PLACE"),
    "ROOM_BAD": ("the PLACE was POOR", "a POOR PLACE", "GUEST had a POOR PLACE"),
    "MEAL_GOOD": ("the MEAL was FINE", "a FINE MEAL", "GUEST had a FINE MEAL"),
    "MEAL_BAD": ("the MEAL was POOR", "a POOR MEAL", "GUEST had a POOR MEAL"),
    # QNLI: what is asked for, and what a sentence tells
    "DEED": ("JOINED the FIRM", "LEFT the FIRM"),
    "WHERE": ("where was it that NAME DEED", "in which town had NAME DEED"),
    "WHEN": ("when was it that NAME DEED", "in which month had NAME DEED"),
    "WHY": ("why was it that NAME DEED", "for what reason had NAME DEED"),
    "IN_TOWN": ("NAME DEED in TOWN", "in TOWN NAME DEED"),
    "IN_MONTH": ("NAME DEED in MONTH", "in MONTH NAME DEED"),
    "FOR_REASON": ("NAME DEED for REASON", "for REASON NAME DEED"),
}


def expand(rng: random.Random, pattern: str) -> str:
    """Draw a sentence from `pattern`, in lower case, with single spaces between tokens."""
    return " ".join(_token(rng, token) for token in pattern.split())


def _token(rng: random.Random, token: str) -> str:
    if token in PATTERNS:
        return expand(rng, rng.choice(PATTERNS[token]))
    return rng.choice(WORDS[token].split()) if token in WORDS else token


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Return all words and punctuation marks of the sentences, sorted."""
    printed = {word for words in WORDS.values() for word in words.split()}
    for patterns in PATTERNS.values():
        printed.update(token for pattern in patterns for token in pattern.split())
    return tuple(sorted(word for word in printed if word not in WORDS and word not in PATTERNS))
