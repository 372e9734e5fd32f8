"""Figure 4: the influence of the followed samples over training."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from kdbench.analysis import curves, influence
from kdbench.analysis.published import PAPER_METHOD
from kdbench.planning.exhibits import Request
from kdbench.reporting import notes
from kdbench.reporting.figures import Curve, Figure, FigureData, LineStyle, Panel
from kdbench.reporting.formats import line_styles
from kdbench.results.selection import SelectedRow
from kdbench.results.study import CellResult, StudyResults, task_title

TASK = "mrpc"
PALE = LineStyle("#999999", "-", thin=True)


class Figure4(Figure):
    """Thin: the samples of the first seed. Thick: the means of their positive and of their negative parts."""

    title = "Figure 4: distillation influence of single samples over training"
    task = TASK
    requests = (Request(PAPER_METHOD, settings={"tasks": TASK}),)

    def build(self, study: StudyResults, task: str) -> FigureData:
        # the followed samples of each seed
        shown, left_out = influence.followed_row(study, task)
        found = influence.samples_by_seed(shown, task)
        one = found[0]
        # thin lines for samples, thick ones for the means of their parts
        look = line_styles.of_row(study, shown.row)
        down = replace(look, dash="--" if look.dash == "-" else "-")
        thin = [one.curve("influence", i, f"{len(one.rows)} samples", PALE) for i in range(len(one.rows))]
        parts = [
            _part(shown, task, 1, "Positive part", look),
            _part(shown, task, -1, "Negative part", down),
        ]
        linear_to = influence.linear_range(thin)
        panel = Panel("Distillation influence", [*thin, *parts], rule=0.0, linear_to=linear_to)
        first = (
            f"{task_title(task)}: {study.title(shown.row)}, {len(one.rows)} fixed samples of train, seed "
            f"{one.cell.cell.seed}; thick: mean of max(w, 0) and of min(w, 0) over the samples of each seed."
        )
        told = [*curves.figure_notes(study, [shown], first), *influence.range_notes(linear_to), *left_out]
        return FigureData(
            self.title, [panel], 1, 1, told, notes.evidence_notes(study), curves.figure_origin(study, task)
        )


def _part(shown: SelectedRow, task: str, sign: int, label: str, look: LineStyle) -> Curve:
    """Build the curve of the mean over samples of max(w, 0) or min(w, 0)."""
    every = curves.series_reader("influence", "influence")

    def part(cell: CellResult) -> curves.SeriesPoints:
        return {
            step: (epoch, fmean(sign * max(sign * curves.stored_number(v), 0.0) for v in values))
            for step, (epoch, values) in every(cell).items()
        }

    return curves.make_curve(shown, task, look, part, label=label, key="influence")
