"""The list of checks, to which every module of checks adds its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kdbench.training.conformance.subject import Subject


@dataclass(frozen=True)
class Check:
    """A check with its name and its meaning.

    Args:
        name: one or two words, for `--only`.
        meaning: what a failure means, for the author of the method.
        find: returns what is wrong as a sentence, "" when all is well.
    """

    name: str
    meaning: str
    find: Callable[[Subject], str]


CHECKS: list[Check] = []


def check(name: str, meaning: str) -> Callable[[Callable[[Subject], str]], Callable[[Subject], str]]:
    """Register a function as a check, in the order of definition."""

    def add(find: Callable[[Subject], str]) -> Callable[[Subject], str]:
        CHECKS.append(Check(name, meaning, find))
        return find

    return add
