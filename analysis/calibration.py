"""The table of calibration: whether probabilities mean what they say, raw and after one temperature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.analysis.item_tables import LENGTH_FREE, ItemColumn, ItemTable, RowStatistics, by_seed
from kdbench.core.formatting import count
from kdbench.data.task_registry import TASKS
from kdbench.reporting import notes
from kdbench.reporting.tables import Detail
from kdbench.results import calibration
from kdbench.results.item_outputs import lacks_logits, student_outputs, temperature_of
from kdbench.results.item_statistics import ItemStatistic
from kdbench.results.selection import SelectedRow
from kdbench.results.study import CellResult, StudyResults

RAW, SCALED = "", "_scaled"  # how the keys of the columns end: without temperature, and at T


class Calibration(ItemTable):
    """ECE, Brier score and NLL of the teacher and of every student."""

    title = "Calibration: do probabilities mean what they say?"
    with_teacher = True
    columns = (
        ItemColumn("ece", "ECE\n%", better=-1),
        ItemColumn("brier", "Brier\n", better=-1, digits=3, scale=1.0, unit=""),
        ItemColumn("nll", "NLL\nnats", better=-1, digits=3, scale=1.0, unit="nats"),
        ItemColumn("temperature", "T\n", digits=2, scale=1.0, unit="", of_items=False),
        ItemColumn("ece_scaled", "ECE\nat T, %", better=-1),
        ItemColumn("brier_scaled", "Brier\nat T", better=-1, digits=3, scale=1.0, unit=""),
        ItemColumn("nll_scaled", "NLL\nat T", better=-1, digits=3, scale=1.0, unit="nats"),
    )

    def row_statistics(self, cells: Sequence[CellResult], study: StudyResults, task: str) -> RowStatistics:
        splits = TASKS.get(task).report_splits
        return by_seed({c.cell.seed: [_of_split(c, split) for split in splits] for c in cells})

    def reason(self, cell: CellResult, study: StudyResults) -> str:
        return (
            "no logits were kept, as in studies collected without" if lacks_logits(cell) else "no predictions were kept"
        )

    def task_notes(self, lines: Sequence[SelectedRow], study: StudyResults, task: str) -> list[str]:
        shown = [(line, cell) for line in lines for cell in line.shown[task]]
        bare = list(dict.fromkeys(line.title for line, cell in shown if lacks_logits(cell)))
        unfitted = [
            line.title for line, cell in shown if not lacks_logits(cell) and temperature_of(cell.run) is None
        ]  # fmt: skip
        same = study.study["selection"] == "validation" and not TASKS.get(task).validation_split
        where = notes.describe_split(study.study["selection"], [task])
        return [
            f"ECE: of the predicted class, in {calibration.BINS} bins of equal mass. Brier: sum over classes, 0 to 2.",
            f"T: the temperature with the least NLL on {where}; the columns on its right divide the logits by it."
            + (" It was fitted on the reported items, so these columns are optimistic." if same else ""),
            *_limit_note(shown),
            *_bias_note([cell for _, cell in shown], task),
            f"Raw numbers judge the logits as a method leaves them. {LENGTH_FREE}: compare such rows after the "
            "temperature.",
            *([f"No logits were kept of {', '.join(bare)}."] if bare else []),
            *([f"No T, for want of logits on the selection split: {', '.join(dict.fromkeys(unfitted))}."]
              if unfitted else []),
            Detail("Intervals take the bins of ECE, and T, as given."),
        ]  # fmt: skip


def _of_split(cell: CellResult, split: str) -> dict[str, ItemStatistic] | None:
    """Return the statistics of a run on a split by column; None without logits."""
    found, temperature = student_outputs(cell.run, split), temperature_of(cell.run)
    if found is None or found.logits is None:
        return None
    out = {}
    for ending, (log_p, sure, bins) in _raw_and_scaled(found.logits, found.labels, temperature).items():
        out[f"ece{ending}"] = calibration.calibration_error(sure, bins)
        out[f"brier{ending}"] = calibration.brier_score(log_p, found.labels)
        out[f"nll{ending}"] = calibration.log_loss(log_p, found.labels)
    if temperature is not None:
        out["temperature"] = ItemStatistic(temperature, np.zeros(len(found.labels)))
    return out


def _raw_and_scaled(
    logits: NDArray[Any], labels: NDArray[Any], temperature: float | None
) -> dict[str, tuple[NDArray[Any], calibration.Confidences, NDArray[np.int64]]]:
    """Return ending of columns -> log-probabilities, confidences and their bins: raw, and at T where T is known."""
    found = {}
    for ending, divisor in ((RAW, 1.0), (SCALED, temperature)):
        if divisor is not None:
            log_p = calibration.log_probabilities(logits, divisor)
            sure = calibration.confidences(log_p, labels)
            found[ending] = log_p, sure, calibration.equal_mass_bins(sure.confidence)
    return found


def _limit_note(shown: Sequence[tuple[SelectedRow, CellResult]]) -> list[str]:
    """Name the rows of which a seed has no least NLL at any temperature; [] where all have one."""
    every, ends = Counter(line.title for line, _ in shown), Counter[str]()
    for line, cell in shown:
        found = temperature_of(cell.run)
        ends[line.title] += found is not None and calibration.is_limit(found)
    told = [f"{title} ({number} of {count(every[title], 'seed')})" for title, number in ends.items() if number]
    if not told:
        return []
    return [
        f"No temperature has the least NLL, as where every selection row is right: {', '.join(told)}. T is then a "
        f"limit of the search, {calibration.COOLEST:g} or {calibration.HOTTEST:g}, and the columns at T say nothing."
    ]


def _bias_note(cells: Sequence[CellResult], task: str) -> list[str]:
    """Say how large the ECE of a calibrated network would be on as few items; [] without logits."""
    # ending of columns -> row -> a number a run and split
    biases: dict[str, dict[str, list[float]]] = {RAW: {}, SCALED: {}}
    items = 0
    for cell, split in product(cells, TASKS.get(task).report_splits):
        found = student_outputs(cell.run, split)
        if found is None or found.logits is None:
            continue
        items = len(found.labels)
        for ending, (_, sure, bins) in _raw_and_scaled(found.logits, found.labels, temperature_of(cell.run)).items():
            bias = 100 * calibration.bias_of_calibration_error(sure, bins)
            biases[ending].setdefault(cell.cell.row, []).append(bias)
    if not items:
        return []
    means = {ending: [fmean(some) for some in rows.values()] for ending, rows in biases.items() if rows}
    words = {RAW: "", SCALED: " at T"}
    ends = {ending: dict.fromkeys((f"{min(some):.1f}", f"{max(some):.1f}")) for ending, some in means.items()}
    shown = ", ".join(f"{' to '.join(some)} %{words[ending]}" for ending, some in ends.items())
    return [
        f"ECE is biased upwards: with {items:,} items perfectly calibrated networks with the confidences of these rows "
        f"would show about {shown}."
    ]
