"""Set text as an SVG picture, as a terminal shows it: `kdbench table 1 | python docs/images/text_to_svg.py OUT.svg`."""

from __future__ import annotations

import sys
import textwrap
from html import escape
from pathlib import Path

SIZE = 14  # of the font, in pixels
ADVANCE, LINE, MARGIN = 0.6 * SIZE, 1.35 * SIZE, 16  # width of a character, height of a line, space around
NOTE = 110  # characters of a line of a note
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def picture(text: str) -> str:
    """Return the SVG; each line is stretched to its number of characters, so that columns stand in any font.

    Notes, which begin with a space, are wrapped.
    """
    lines = [
        part
        for line in text.rstrip("\n").split("\n")
        for part in (textwrap.wrap(line, NOTE, subsequent_indent="    ") if line.startswith(" ") else [line])
    ]
    width = 2 * MARGIN + ADVANCE * max(map(len, lines))
    height = 2 * MARGIN + LINE * len(lines)
    rows = [
        f'<text x="{MARGIN}" y="{MARGIN + LINE * (i + 0.75):.1f}" textLength="{ADVANCE * len(line):.1f}" '
        f'xml:space="preserve">{escape(line)}</text>'
        for i, line in enumerate(lines)
        if line.strip()
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">'
    frame = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff" stroke="#d0d0d0"/>'
    style = f'<g font-family="{FONTS}" font-size="{SIZE}" fill="#111">'
    return "\n".join([head, frame, style, *rows, "</g>", "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(sys.stdin.read()), encoding="utf-8")
