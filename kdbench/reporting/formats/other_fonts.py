"""Find installed fonts for characters that the figures' own font lacks."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib import font_manager

from kdbench.core.records import warn_once

MISSING = re.compile(r"Glyph (\d+) .*missing from font")  # matplotlib's warning
BOXES = "Last Resort"  # begins the name of a font that has a box for every character


@contextmanager
def missing_characters() -> Iterator[set[str]]:
    """Yield a set that, after the block, holds the characters that were drawn as boxes; nothing warns of them."""
    found: set[str] = set()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield found
    for one in said:
        if match := MISSING.match(str(one.message)):
            found.add(chr(int(match.group(1))))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def fonts_with(characters: set[str]) -> list[str]:
    """Return installed fonts that together have the characters, as far as there are some; each adds the most of all."""
    left, chosen = set(map(ord, characters)), list[str]()
    covers = {
        font.name: left & font_manager.get_font(font.fname).get_charmap().keys()
        for font in font_manager.fontManager.ttflist if not font.name.startswith(BOXES)
    }  # fmt: skip
    while left and covers and covers[best := max(sorted(covers), key=lambda name: len(covers[name] & left))] & left:
        chosen.append(best)
        left -= covers[best]
    return chosen


def use_fonts(fonts: list[str]) -> None:
    """Let matplotlib look for characters in these fonts after its usual one."""
    usual = matplotlib.rcParams["font.sans-serif"][:1]
    matplotlib.rcParams["font.family"] = [*usual, *(font for font in fonts if font not in usual)]


def warn_of_boxes(characters: set[str]) -> None:
    """Say that a figure has boxes in place of characters."""
    if characters:
        warn_once(
            f"No installed font has {' '.join(sorted(characters))}, so that the figure has boxes in their place. "
            "Install one that has them, such as Noto Sans CJK, or give the task a title in other letters."
        )
