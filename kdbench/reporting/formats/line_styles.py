"""Colours and dashes that stay with a method in every figure.

The colours are those of Okabe and Ito that are seen on white, chosen for every kind of colour blindness, and an olive.
A method's place among all methods says which colour and dashes are its own; its variants have its colour.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from kdbench.reporting.figures import LineStyle
from kdbench.results.study import StudyResults

COLORS = ("#56B4E9", "#009E73", "#0072B2", "#D55E00", "#E69F00", "#CC79A7", "#999999", "#999933")
DASHES = ("-.", ":", (0, (4, 1, 1, 1, 1, 1)), (0, (7, 1.5)), "--", "-")
# of positions for which the first dashes do not suffice
MORE_DASHES = (
    (0, (1, 3)),
    (0, (2, 2)),
    (0, (10, 3)),
    (0, (6, 2, 2, 2)),
    (0, (3, 1, 1, 1)),
    (0, (8, 1, 1, 1, 1, 1, 1, 1)),
)
MORE = range(20, 100)
FIRST = range(13)  # positions of the paper's methods, whose dashes a variant of the same colour leaves to them
MARKERS = ("^", "D", "v", "P", "o", "s")

ON_DARK = {"#000000": "#E6E6E6", "#882255": "#DD7FAE", "#777777": "#A0A0A0"}  # of what is not seen there

TEACHER = LineStyle("#000000", "--", "^")
STUDENT = LineStyle("#882255", "-", "o")
SETTINGS = (LineStyle("#000000", "--", "^"), LineStyle("#882255", "-.", "D"), LineStyle("#777777", ":", "v"))


def of_row(study: StudyResults, row: str) -> LineStyle:
    """Return the line style of a row in every figure: of a method, a variant, or the teacher that others need."""
    if row not in study.titles:
        return TEACHER
    position = study.titles[row].position
    same = sorted(name for name, other in study.titles.items() if other.position == position)
    dashes = MORE_DASHES if position in MORE else DASHES
    # a variant takes the next place whose dashes no other method of this colour has
    taken = {own % len(dashes) for own in FIRST[position % len(COLORS) :: len(COLORS)] if own != position}
    places = (place for place in itertools.count(position) if position in MORE or place % len(dashes) not in taken)
    place = next(itertools.islice(places, same.index(row), None))
    return LineStyle(COLORS[position % len(COLORS)], dashes[place % len(dashes)], MARKERS[place % len(MARKERS)])


def of_settings(study: StudyResults, row: str, count: int) -> Sequence[LineStyle]:
    """Return line styles for one method in several settings: its own, then some that are no method's."""
    others = [SETTINGS[i % len(SETTINGS)] for i in range(count - 1)]
    return [of_row(study, row), *others]
