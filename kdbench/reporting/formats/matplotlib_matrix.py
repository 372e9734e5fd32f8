"""Draw a confusion matrix that can be read, also with many classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import PercentFormatter

from kdbench.reporting.figures import Matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTER = 0.58  # the usual width of a letter, of its size
SMALLEST, LARGEST = 3.5, 7.0  # points of a label
LINE = 1.25  # the distance of labels, of their size
SIDE = 0.75  # inches beside the labels: the axis' name, the scale of colours
ABOVE = 0.55  # inches above and below the labels: title and axis' name
WORDS = 0.27  # inches of a cell that holds its number and share
DARK = 0.3  # share from which on a cell's text is white


def matrix_size(matrix: Matrix, width: float) -> tuple[float, float, float]:
    """Return width and height in inches and the size of labels in points.

    The figure is wider than asked where its labels would be too small to read.
    """
    size, longest = len(matrix.labels), max(map(len, matrix.labels))
    per_point = (longest * LETTER + size * LINE) / 72  # inches for labels and cells
    points = min(LARGEST, max(SMALLEST, (width - SIDE) / per_point))
    labels = longest * LETTER * points / 72
    side = max(width, SIDE + per_point * points) - SIDE - labels
    return side + labels + SIDE, side + labels + ABOVE, points


def draw_matrix(axes: Axes, matrix: Matrix, inches: float, points: float) -> None:
    """Draw the shares as colours, and numbers into cells that have room.

    Args:
        inches: the width of the figure.
        points: the size of labels.
    """
    shares, places = np.array(matrix.shares), range(len(matrix.labels))
    # by their root, because most confusions are rare
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="none")
    axes.grid(visible=False)
    axes.set_xticks(places, matrix.labels, rotation=90, fontsize=points)
    axes.set_yticks(places, matrix.labels, fontsize=points)
    axes.tick_params(length=1.5, pad=1.5)
    axes.spines[:].set_visible(True)
    axes.figure.colorbar(image, ax=axes, format=PercentFormatter(1), fraction=0.04, pad=0.02)
    room = (inches - SIDE - max(map(len, matrix.labels)) * LETTER * points / 72) / len(matrix.labels)
    for i in places if room >= WORDS else ():
        for j in places:
            text = f"{matrix.counts[i][j]:,}\n({100 * shares[i, j]:.1f})"
            color = "white" if shares[i, j] >= DARK else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=4.5, color=color)
