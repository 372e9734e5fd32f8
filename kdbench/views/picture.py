"""Pictures on paper: PDF, SVG or PNG, for a column of a paper or for its whole width. The only user of matplotlib."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kdbench.figures import Curve, Panel, Picture
from kdbench.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

PAGE = 5.0  # inches; from here on panels lie side by side
SMALL, NORMAL = 7.0, 8.0  # points, at final size
FEW = 15  # points of a curve that are marked one by one
LETTER = 0.58  # the usual width of a letter, of its size
GREY = "#555555"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif", "font.size": NORMAL, "axes.labelsize": NORMAL, "axes.titlesize": NORMAL,
    "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#DDDDDD", "grid.linewidth": 0.5, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "lines.linewidth": 1.3,
    "lines.markersize": 3.0, "legend.frameon": False, "legend.handlelength": 2.4, "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.5, "figure.dpi": 100,
    "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "kdbench", "savefig.dpi": 300, "axes.xmargin": 0.02,
}  # fmt: skip


def save(picture: Picture, path: Path, form: str, width: float) -> None:
    """Draw into a file.

    Args:
        form: `pdf`, `svg` or `png`.
        width: in inches.
    """
    with _style():
        drawn = _draw(picture, width)
        with replacing(path) as temporary:
            drawn.savefig(temporary, format=form, metadata=_metadata(picture, form))


@contextmanager
def _style() -> Iterator[None]:
    """Ours, whatever a matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _metadata(picture: Picture, form: str) -> dict[str, Any]:
    """No dates, so that the same results give the same bytes."""
    text = " ".join([*picture.notes, *picture.printed])
    known: dict[str, dict[str, Any]] = {
        "pdf": {"Title": picture.title, "Subject": text, "Creator": "kdbench", "CreationDate": None},
        "svg": {"Title": picture.title, "Description": text, "Creator": "kdbench", "Date": None},
        "png": {"Title": picture.title, "Description": text, "Software": "kdbench"},
    }
    return known[form]


def _draw(picture: Picture, width: float) -> Figure:
    columns = picture.columns if width >= PAGE else picture.narrow
    rows = math.ceil(len(picture.panels) / columns)
    letters = int(width * 72 / (LETTER * SMALL))
    below = [line for text in picture.printed for line in textwrap.wrap(text, letters)]
    figure = Figure(figsize=(width, _height(width / columns, rows) + 0.16 * len(below)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, hspace=0.04, wspace=0.04)  # type: ignore[union-attr,call-arg]
    grid = figure.subplots(rows, columns, sharex=True, sharey="row" if picture.share else "none", squeeze=False)
    pairs = list(zip(grid.flat, picture.panels, strict=True))
    for axes, panel in pairs:
        _panel(axes, panel, max(2, min(6, int(3.5 * width / columns))))
    for axes, panel in pairs:
        if panel.y_label:  # once all is drawn, because panels may share a scale
            axes.set_ylabel(panel.y_label + _scale(axes))
    for axes in grid[-1]:
        axes.set_xlabel("Epoch")
    figure.align_ylabels()
    _legend(figure, width)
    if below:
        figure.supxlabel("\n".join(below), fontsize=SMALL, color=GREY)
    return figure


def _height(panel: float, rows: int) -> float:
    """In inches: flat panels, flatter where several lie on each other; and what stands around them."""
    return rows * min(max(0.62 * panel, 1.15), 1.3 if rows > 1 else 2.2) + 0.45


def _panel(axes: Axes, panel: Panel, ticks: int) -> None:
    for curve in panel.curves:
        _curve(axes, curve)
    if panel.rule is not None:
        axes.axhline(panel.rule, color=GREY, linewidth=0.6, zorder=1)
    if panel.limits:
        axes.set_ylim(*panel.limits)
    axes.set_title(panel.title)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))


def _scale(axes: Axes) -> str:
    """Ticks without a power of ten of their own; it goes to the label."""
    power = math.floor(math.log10(max(map(abs, axes.get_ylim())) or 1.0))
    if -2 <= power <= 3:
        return ""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10**power:g}"))
    return f" ($\\times 10^{{{power}}}$)"


def _curve(axes: Axes, curve: Curve) -> None:
    look, mean, spread = curve.look, curve.mean, curve.spread
    extra: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.4} if look.thin else {"zorder": 3}
    if len(mean) <= FEW and not look.thin:
        extra["marker"] = look.marker
    axes.plot(curve.epochs, mean, color=look.color, linestyle=look.dash, label=curve.label, **extra)
    if spread:
        low = [m - s for m, s in zip(mean, spread, strict=True)]
        high = [m + s for m, s in zip(mean, spread, strict=True)]
        axes.fill_between(curve.epochs, low, high, color=look.color, alpha=0.18, linewidth=0)


def _legend(figure: Figure, width: float) -> None:
    """Above the panels, one entry a label, in as many columns as fit."""
    found: dict[str, Line2D] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            if not str(line.get_label()).startswith("_"):
                found.setdefault(str(line.get_label()), line)
    for columns in range(len(found), 0, -1):
        legend = figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=columns)
        if columns == 1 or legend.get_window_extent().width < 0.98 * width * figure.dpi:
            break
        legend.remove()
    for handle in legend.get_lines():
        handle.set(linewidth=max(1.0, handle.get_linewidth()), alpha=1.0)
