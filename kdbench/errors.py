"""The failures that kdbench knows how to explain."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def unknown(what: str, name: str, valid: Iterable[str]) -> UserError:
    """The error for a name that does not exist: the nearest valid name first, then all of them."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UserError(f"Unknown {what} '{name}'.{hint} Valid: {', '.join(choices) or 'none'}.")
