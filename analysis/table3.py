"""Table 3: LGTM's influence with and without finite differences: scores, and the time of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdbench.analysis import scores
from kdbench.analysis.published import published_tables
from kdbench.analysis.scores import RowRequest, ShownRow
from kdbench.data.task_registry import TASKS
from kdbench.reporting import machines
from kdbench.reporting.tables import EMPTY_CELL, Published, Table, TableCell, TableData
from kdbench.results.study import StudyResults

ROWS = (
    RowRequest("lgtm_no_fda", {"influence": "weighted", "weights_via": "samples"}, "LGTM w/o FDA"),
    RowRequest("lgtm_no_fda", {"influence": "weighted", "weights_via": "loop"}, "LGTM w/o FDA, one forward pass"),
    RowRequest("lgtm_printed", {"influence": "fda"}, "LGTM w/ FDA"),
    RowRequest("lgtm_printed", {"influence": "jvp"}, "LGTM, exact (forward mode)"),
)
BASE = ROWS[2]
SECONDS, RATIO = "seconds", "ratio"


class Table3(Table):
    """The objective as printed, its influence term in four ways; nothing else differs between the rows."""

    title = "Table 3: finite differences"
    requests = tuple(asked.request(tasks="mrpc") for asked in ROWS)

    def build(self, study: StudyResults) -> TableData | None:
        # scores, as in other tables
        shown = scores.chosen_rows(ROWS, study)
        sheet = scores.build_score_table(self, scores.table_heading(self.name, study), [shown], averaged=False)
        if sheet is None:
            return None
        # columns for the time of a step
        shown = [row.on(sheet.column_keys) for row in shown]
        times = {row.key: step_seconds(row) for row in shown}
        sheet.head += ["Time\ns/step", "Time\n× w/ FDA"]
        sheet.column_keys += [SECONDS, RATIO]
        for cells, seconds in zip(sheet.rows, times.values(), strict=True):
            cells += _time_entries(seconds, times.get(BASE.key))
        # times follow the note that says what the scores are
        sheet.notes[1:1] = _time_notes(shown)
        sheet.records = [record | _cost(row, record["run"]) for row in shown for record in scores.score_records(row)]
        return sheet

    def published(self) -> Published:
        """Return the paper's F1, and the ratios of its minutes a training.

        Both rows have equally many steps, so the ratio of minutes is that of our times a step.
        """
        table = published_tables()[self.name]
        minutes = {row: float(text) for (row, column), text in table.cells.items() if column == "minutes"}
        f1 = {(row, "mrpc"): f"{text}/–" for (row, column), text in table.cells.items() if column == "f1"}
        ratios = {(row, RATIO): f"{value / minutes[BASE.key]:.1f}" for row, value in minutes.items()}
        whole = " and ".join(f"{value:g}" for value in minutes.values())
        return Published(f1 | ratios, f"{table.note} The paper's times are {whole} minutes a training.", table.preset)


def step_seconds(shown: ShownRow) -> float | None:
    """Return the mean seconds of a step over all runs of the row; None where a run has no times."""
    costs = [cell.run.cost for cell in shown.line.cells]
    steps = sum(int(cost.get("steps", 0)) for cost in costs)
    if not steps or any("step_seconds" not in cost for cost in costs):
        return None
    return sum(float(cost["step_seconds"]) for cost in costs) / steps


def _time_entries(seconds: float | None, base: float | None) -> list[TableCell]:
    """Format the time, and its ratio to the row with finite differences."""
    if seconds is None:
        return [EMPTY_CELL, EMPTY_CELL]
    ratio = seconds / base if base else None
    return [
        TableCell((f"{seconds:.3g}",), numbers=(seconds,)),
        TableCell((f"{ratio:.1f}",), numbers=(ratio,)) if ratio is not None else EMPTY_CELL,
    ]


def _cost(shown: ShownRow, run: str) -> dict[str, Any]:
    (cell,) = [cell for cell in shown.line.cells if cell.run.id == run]
    cost = cell.run.cost
    return {key: cost[key] for key in ("step_seconds", "train_seconds", "steps") if key in cost}


def _time_notes(shown: Sequence[ShownRow]) -> list[str]:
    """Explain the times, and warn if they cannot be compared."""
    notes = [
        "s/step = step_seconds / steps of cost.json, summed over runs; evaluation is not in it.",
        "w/o FDA computes w_i (Eq. 8) with a forward and a backward pass for each sample, the paper's naive form; with "
        "one forward pass, each sample's backward pass goes through the whole batch.",
    ]
    notes += machines.times_notes([cell for row in shown for cell in row.line.cells])
    sizes = {name for row in shown for name, cells in row.line.shown.items() if cells}
    uneven = [name for name in sizes if any(not row.line.shown[name] for row in shown if row.line.cells)]
    if uneven:
        names = ", ".join(sorted(TASKS.get(name).title for name in uneven))
        notes.append(f"{machines.NOT_COMPARABLE}: not every row has {names}.")
    return notes
