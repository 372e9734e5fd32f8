"""Make text printable on any terminal: remove control characters, replace those that its encoding lacks."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Any

ERRORS = "kdbench-lookalike"  # name of the error handler for characters that a stream's encoding lacks
# C0 and C1 except tab and line feed, and marks of text direction; titles, logs and messages may come from other users,
# and a terminal interprets such characters as commands
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LOOKALIKES = str.maketrans({
    "±": "+-", "°": "^", "†": "+", "‡": "#", "×": "x", "–": "-", "—": "-", "−": "-", "─": "-", "━": "-", "═": "=",
    "│": "|", "┃": "|", "…": "...", "≥": ">=", "≤": "<=", "→": "->", "‘": "'", "’": "'", "“": '"', "”": '"', "·": ".",
    "•": "*", "§": "*", "¶": "@", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps", "η": "eta",
    "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi",
    "ω": "omega", "Δ": "Delta",
})  # fmt: skip


def without_control(text: str) -> str:
    """Remove control characters other than tab and line feed."""
    return CONTROL.sub("", text)


def take_every_character(stream: Any) -> None:
    """Make a stream replace characters that its encoding lacks by look-alikes, instead of raising an error."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=ERRORS)


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks; an error handler for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    known = character.translate(LOOKALIKES)
    plain = known if known.isascii() else unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?"


codecs.register_error(ERRORS, _lookalike)
