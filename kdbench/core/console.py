"""Consoles for all output, which remove control characters from printed text."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from kdbench.core.plain_text import CONTROL, take_every_character, without_control

LOG_WIDTH = 110  # of running text where no terminal has a width


class PlainConsole(Console):
    """A console that prints text without its control characters; colours that Rich itself makes stay."""

    @property
    def encoding(self) -> str:
        """Return UTF-8 for one layout on all streams, which replace characters they lack (`take_every_character`)."""
        return "utf-8"

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or not CONTROL.search(segment.text):
                yield segment
            else:
                yield Segment(without_control(segment.text), segment.style)


def make_console(*, stderr: bool = False, width: int = LOG_WIDTH) -> Console:
    """Build a console for standard output or error: as wide as the terminal, or plain text of `width` columns."""
    stream = sys.stderr if stderr else sys.stdout
    take_every_character(stream)
    console = PlainConsole(highlight=False, stderr=stderr)
    return console if console.is_terminal else PlainConsole(highlight=False, width=width, file=stream)


def text_console(file: IO[str]) -> Console:
    """Build a console that writes plain text to `file`."""
    return PlainConsole(file=file, width=LOG_WIDTH, highlight=False)
