"""Exceptions with messages for the user."""

from __future__ import annotations

import difflib
import inspect
import itertools
import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType


class UserError(Exception):
    """Invalid input. The message is a sentence that names the valid choices and the solution; exit code 2."""


class NotPermitted(UserError):
    """A file or folder of another user that is not shared."""


class RunFailure(Exception):
    """A run cannot continue; other runs can.

    Args:
        kind: the cause in one word (`non-finite`, `bug`, `missing-data`, ...).
        message: one sentence for the user.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Stopped(Exception):
    """The process was asked to stop; the run has been checkpointed."""


def place_in_file(error: BaseException, owner: type) -> str:
    """Return the line of an error in the file that defines a plugin, as ` (mine.py, line 3)`; "" if it is elsewhere."""
    return place_in_stack(traceback.extract_tb(error.__traceback__), owner)


def place_in_stack(stack: Iterable[traceback.FrameSummary], owner: type) -> str:
    """Return the innermost line of a stack in the file that defines a plugin, as `place_in_file` does."""
    own = inspect.getfile(owner)
    lines = [frame.lineno for frame in stack if frame.filename == own]
    return f" ({Path(own).name}, line {lines[-1]})" if lines else ""


def check_known(what: str, names: Iterable[str], valid: Iterable[str]) -> None:
    """Check that all names are valid.

    Raises:
        UserError: the first that is not, with all valid names; see `unknown`.
    """
    valid = list(valid)
    for name in names:
        if name not in valid:
            raise unknown(what, name, valid)


def unknown(
    what: str, name: str, valid: Iterable[str] = (), groups: Mapping[str, Iterable[str]] = MappingProxyType({})
) -> UserError:
    """Build the error for an unknown name, which suggests the nearest valid name and lists all.

    Args:
        groups: further valid names, by heading.
    """
    listed = {head: sorted(names) for head, names in groups.items()}
    choices = sorted({*valid, *itertools.chain(*listed.values())})
    # a name that differs in a letter or two, else names with the same words (`lr`, `num_train_epochs`), else any;
    # capitals, blanks and hyphens do not count, because tables show titles (`LGTM`, `Meta Distill`)
    spelled = {_plain(choice): choice for choice in choices}
    words = set(_plain(name).split("_"))
    same = [plain for plain in spelled if words <= (own := set(plain.split("_"))) or own <= words]
    near = difflib.get_close_matches(_plain(name), spelled, n=1, cutoff=0.8) or same[:3]
    near = near or difflib.get_close_matches(_plain(name), spelled, n=1, cutoff=0.6)
    hint = f" Did you mean {' or '.join(repr(spelled[plain]) for plain in near)}?" if near else ""
    every = "; ".join(f"{head}: {', '.join(names)}" for head, names in listed.items()) or ", ".join(choices)
    return UserError(f"Unknown {what} '{name}'.{hint} Valid: {every or 'none'}.")


def _plain(name: str) -> str:
    """Return a name in small letters, with underscores for blanks and hyphens."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())
