"""The failures that kdbench knows how to explain."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType


class UserError(Exception):
    """Bad input. The message is one sentence that names the valid choices and the way out; exit code 2."""


class NotPermitted(UserError):
    """A file or folder that belongs to somebody else and is not shared."""


class RunFailure(Exception):
    """A run that cannot go on, although the others can.

    Args:
        kind: one word for the cause (`non-finite`, `bug`, `missing-data`, ...).
        message: one sentence for the user.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Stopped(Exception):
    """The user (or the machine) asked the process to stop; the run has been checkpointed."""


def unknown(
    what: str, name: str, valid: Iterable[str] = (), groups: Mapping[str, Iterable[str]] = MappingProxyType({})
) -> UserError:
    """The error for a name that does not exist: the nearest valid name first, then all of them.

    Args:
        groups: more names that are valid, by heading, where they are many.
    """
    listed = {head: sorted(names) for head, names in groups.items()}
    choices = sorted({*valid, *itertools.chain(*listed.values())})
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    every = "; ".join(f"{head}: {', '.join(names)}" for head, names in listed.items()) or ", ".join(choices)
    return UserError(f"Unknown {what} '{name}'.{hint} Valid: {every or 'none'}.")
