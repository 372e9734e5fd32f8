"""Figures drawn with seaborn and matplotlib: PDF, SVG or PNG, as wide as a column or a page of a paper."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, MaxNLocator, SymmetricalLogLocator

from kdbench.core.atomic_files import replacing
from kdbench.reporting.figures import Curve, FigureData, Matrix, Panel
from kdbench.reporting.formats.figure_parts import figure_parts
from kdbench.reporting.formats.matplotlib_matrix import draw_matrix, matrix_size
from kdbench.reporting.formats.other_fonts import fonts_with, missing_characters, use_fonts, warn_of_boxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

PAGE = 5.0  # inches; from here on panels lie side by side
SMALL, NORMAL = 7.0, 8.0  # points, at final size
FEW_BANDS = 4  # curves whose bands can be told from each other
FEW = 15  # points of a curve that are marked one by one
LETTER = 0.58  # the usual width of a letter, of its size
NARROWEST = 0.9  # inches of a panel of estimates
LINE = 0.14  # inches between estimates
ABOVE = 0.35  # inches of a panel's height for its title and ticks
LEGEND = 0.2  # inches of a legend that the height of a figure has room for
THIN = 0.25  # how dense a thin curve is
BAND, PALE = 0.18, 0.08  # how dense the band of a curve is, and of one of many
GREY, BEHIND = "#555555", "#D8D8D8"
SPACING = 1.2  # of two lines of text, of their size
DPI = 100  # of the screen, by which texts are measured
CONTEXT: dict[str, Any] = {
    "font.size": NORMAL, "axes.labelsize": NORMAL, "axes.titlesize": NORMAL, "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL, "legend.fontsize": SMALL, "axes.linewidth": 0.6, "grid.linewidth": 0.5,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "lines.linewidth": 1.3, "lines.markersize": 3.0,
}  # fmt: skip
STYLE: dict[str, Any] = {
    "axes.spines.top": False, "axes.spines.right": False, "grid.color": "#DDDDDD", "axes.edgecolor": "black",
    "font.sans-serif": ["DejaVu Sans"], "xtick.bottom": True, "ytick.left": True,
}  # fmt: skip
OUTPUT: dict[str, Any] = {
    "legend.frameon": False, "legend.handlelength": 2.4, "legend.columnspacing": 1.2, "legend.handletextpad": 0.5,
    "figure.dpi": DPI, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "kdbench", "savefig.dpi": 300,
    "axes.xmargin": 0.02,
}  # fmt: skip


def save(picture: FigureData, path: Path, form: str, width: float) -> None:
    """Draw into a file.

    Args:
        form: `pdf`, `svg` or `png`.
        width: in inches.
    """
    with _style(), replacing(path) as temporary:
        with missing_characters() as missing:
            _draw(picture, width).savefig(temporary, format=form, metadata=_metadata(picture, form))
        if missing:  # once more, with other fonts beside the usual one
            use_fonts(fonts_with(missing))
            with missing_characters() as missing:
                _draw(picture, width).savefig(temporary, format=form, metadata=_metadata(picture, form))
        warn_of_boxes(missing)


def draw(picture: FigureData, width: float) -> Figure:
    """Draw a figure `width` inches wide, for a notebook or for changes of one's own."""
    with _style():
        return _draw(picture, width)


@contextmanager
def _style() -> Iterator[None]:
    """Use the project's style within the block, whatever a matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme(style="whitegrid", context=CONTEXT, rc={**STYLE, **OUTPUT})
        yield


def _metadata(picture: FigureData, form: str) -> dict[str, Any]:
    """Return the file's metadata, without dates, so that the same results give the same bytes."""
    text = " ".join([*picture.notes, *picture.printed])
    known: dict[str, dict[str, Any]] = {
        "pdf": {"Title": picture.title, "Subject": text, "Creator": "kdbench", "CreationDate": None},
        "svg": {"Title": picture.title, "Description": text, "Creator": "kdbench", "Date": None},
        "png": {"Title": picture.title, "Description": text, "Software": "kdbench"},
    }
    return known[form]


def _draw(picture: FigureData, width: float) -> Figure:
    if (panel := picture.panels[0]).matrix is not None:
        return _draw_matrix(picture, panel, panel.matrix, width)
    below = [line for text in picture.printed for line in textwrap.wrap(text, int(width * 72 / (LETTER * SMALL)))]
    figure = Figure(figsize=(width, width), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure_parts(picture)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, hspace=0.04 / len(parts), wspace=0.04)  # type: ignore[union-attr,call-arg]
    grid = GridSpec(len(parts), 1, figure)
    places: list[Figure | SubFigure] = [figure]
    if len(parts) > 1:
        places = [figure.add_subfigure(grid[i]) for i in range(len(parts))]
    heights = [_draw_part(place, part, width) for place, part in zip(places, parts, strict=True)]
    grid.set_height_ratios(heights)
    figure.set_figheight(sum(heights) + 0.16 * len(below))
    if below:
        figure.supxlabel("\n".join(below), fontsize=SMALL, color=GREY)
    return figure


def _draw_part(figure: Figure | SubFigure, picture: FigureData, width: float) -> float:
    """Draw the panels of a part, and its legend; return the height in inches that they need."""
    columns, room = _columns(picture, width)
    rows = math.ceil(len(picture.panels) / columns)
    wide = int((_panel_height(width / columns, rows) - ABOVE) * 72 / (LETTER * NORMAL))  # letters of a vertical label
    pairs = list(zip(_axes(figure, picture, rows, columns), picture.panels, strict=True))
    for axes, panel in pairs:
        _panel(axes, panel, max(2, min(6, int(3.5 * room))), int(room * 72 / (LETTER * NORMAL)))
    _rows(pairs)
    for i, (axes, panel) in enumerate(pairs):
        # once all is drawn, because panels may share a scale; of equal labels in a row the first will do
        repeats = panel.by_step and i % columns and panel.y_label == pairs[i - 1][1].y_label
        if panel.y_label and not panel.estimates and not repeats:
            label = "\n".join(textwrap.fill(line, wide) for line in panel.y_label.split("\n"))
            axes.set_ylabel(label + _scale(axes))
        if i + columns >= len(pairs):  # the lowest of its column
            axes.set_xlabel(panel.x_label)
    figure.align_ylabels()
    # a long legend, or a title of several lines, makes the figure higher, and the panels no flatter
    lines = max(axes.get_title().count("\n") for axes, _ in pairs)
    height = _height(picture, width / columns, rows) + rows * lines * NORMAL * SPACING / 72
    return height + max(0.0, _legend(figure, width) - LEGEND)


def _draw_matrix(picture: FigureData, panel: Panel, matrix: Matrix, width: float) -> Figure:
    width, height, points = matrix_size(matrix, width)
    below = [line for text in picture.printed for line in textwrap.wrap(text, int(width * 72 / (LETTER * SMALL)))]
    figure = Figure(figsize=(width, height + 0.16 * len(below)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw_matrix(axes, matrix, width, points)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if below:
        figure.supxlabel("\n".join(below), fontsize=SMALL, color=GREY)
    return figure


def _columns(picture: FigureData, width: float) -> tuple[int, float]:
    """Return how many panels lie beside each other, and the width of each in inches without the labels of estimates."""
    columns = picture.columns if width >= PAGE else picture.narrow
    letters = max((len(row.label) for panel in picture.panels for row in panel.estimates), default=0)
    room = width - letters * LETTER * SMALL / 72
    while columns > 1 and letters and room / columns < NARROWEST:
        columns -= 1
    if (panels := len(picture.panels)) > columns:  # as many rows, about equally long: four panels make two by two
        columns = math.ceil(panels / math.ceil(panels / columns))
    return columns, room / columns


def _axes(figure: Figure | SubFigure, picture: FigureData, rows: int, columns: int) -> list[Axes]:
    """Make axes for each panel, and remove the places that are left over."""
    alike = not any(panel.by_step or panel.estimates or panel.x_title for panel in picture.panels)
    share: Any = "all" if any(panel.estimates for panel in picture.panels) else "row" if picture.share else "none"
    grid = figure.subplots(rows, columns, sharex=alike, sharey=share, squeeze=False)
    places = list(grid.flat)
    for axes in places[len(picture.panels) :]:
        axes.remove()
    return places[: len(picture.panels)]


def _rows(pairs: Sequence[tuple[Axes, Panel]]) -> None:
    """Draw estimates below each other; a label has the same place in all panels, after the label before it."""
    labels = list[str]()
    for _, panel in pairs:
        place = 0
        for row in panel.estimates:
            if row.label not in labels:
                labels.insert(place, row.label)
            place = labels.index(row.label) + 1
    for axes, panel in pairs if labels else ():
        for row in panel.estimates:
            place, color = labels.index(row.label), row.look.color
            if row.interval:
                axes.plot(row.interval, [place] * 2, color=color, linewidth=1.2, solid_capstyle="butt")
            low, high = panel.limits or (row.mean, row.mean)
            at, sign = (low, "<") if row.mean < low else (high, ">") if row.mean > high else (row.mean, row.look.marker)
            axes.plot([at], [place], color=color, marker=sign, markersize=4.5, zorder=3, clip_on=False)
            if len(row.seeds) > 1:
                axes.plot(list(row.seeds.values()), [place] * len(row.seeds), "o", color="white", markersize=2.4,
                          markeredgecolor=color, markeredgewidth=0.6, zorder=4)  # fmt: skip
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)


def _height(picture: FigureData, panel: float, rows: int) -> float:
    """Return the height in inches: flat panels, flatter where several are stacked, and the space around them."""
    if count := len({row.label for one in picture.panels for row in one.estimates}):
        return rows * (LINE * count + 0.25) + 0.4
    return rows * _panel_height(panel, rows) + 0.45


def _panel_height(panel: float, rows: int) -> float:
    """Return the height in inches of a panel of curves that is `panel` inches wide."""
    return min(max(0.62 * panel, 1.15), 1.3 if rows > 1 else 2.2)


def _panel(axes: Axes, panel: Panel, ticks: int, letters: int) -> None:
    """Draw a panel.

    Args:
        ticks: on the horizontal axis, at most.
        letters: of a line of its title.
    """
    for curve in panel.others:
        axes.plot(curve.steps if panel.by_step else curve.epochs, curve.mean, color=BEHIND, linewidth=0.5, zorder=1)
    band = BAND if len(panel.curves) <= FEW_BANDS else PALE
    for curve in panel.curves:
        _curve(axes, curve, panel.by_step, band)
    if panel.rule is not None:
        axes.axhline(panel.rule, color=GREY, linewidth=0.6, zorder=1)
    if panel.limits:
        (axes.set_xlim if panel.estimates else axes.set_ylim)(*panel.limits)
    if panel.by_step:  # the axis begins where the curves do; their marks need room
        axes.margins(x=0.04)
    axes.set_title(textwrap.fill(panel.title, max(letters, 1), break_long_words=False))
    if panel.estimates:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10]))
        return
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=not panel.x_title))
    if panel.linear_to is None:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    else:
        axes.set_yscale("symlog", linthresh=panel.linear_to)
        powers = SymmetricalLogLocator(base=10, linthresh=panel.linear_to)
        powers.set_params(numticks=5)
        axes.yaxis.set_major_locator(powers)


def _scale(axes: Axes) -> str:
    """Move the power of ten from the ticks to the label, and return it."""
    if axes.get_yscale() != "linear":
        return ""
    power = math.floor(math.log10(max(map(abs, axes.get_ylim())) or 1.0))
    if -2 <= power <= 3:
        return ""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10**power:g}"))
    return f" ($\\times 10^{{{power}}}$)"


def _curve(axes: Axes, curve: Curve, by_step: bool, band: float) -> None:
    """Draw the mean over seeds, with a band of one standard deviation where there are several."""
    look, several = curve.look, len(curve.values) > 1
    sns.lineplot(
        curve.frame, x="step" if by_step else "epoch", y="value", ax=axes, label=curve.label, legend=False,
        errorbar="sd" if several else None, err_kws={"alpha": band, "linewidth": 0}, color=look.color,
        linestyle=look.dash, marker=look.marker if len(curve.steps) <= FEW and not look.thin else None,
        markeredgewidth=1.0, markeredgecolor=look.color, linewidth=0.5 if look.thin else 1.3,
        alpha=THIN if look.thin else 1.0, zorder=2 if look.thin else 3,
    )  # fmt: skip
    axes.set(xlabel="", ylabel="")


def _legend(figure: Figure | SubFigure, width: float) -> float:
    """Draw the legend above the panels: one entry a label, in as many columns as fit; return its height in inches."""
    found: dict[str, Line2D] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            if not str(line.get_label()).startswith("_"):
                found.setdefault(str(line.get_label()), line)
    for columns in range(len(found), 0, -1):
        legend = figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=columns)
        if columns == 1 or legend.get_window_extent().width < 0.98 * width * DPI:
            break
        legend.remove()
    else:
        return 0.0
    for handle in legend.get_lines():
        handle.set(linewidth=max(1.0, handle.get_linewidth()), alpha=1.0)
    return float(legend.get_window_extent().height / DPI)
