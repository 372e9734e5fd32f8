"""Tables say on which tasks most students were best at their last evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kdbench.reporting.learning_notes import still_learning_notes
from kdbench.reporting.show_figure import FigureChoice, find_figures
from kdbench.results.read_studies import studies
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.store import Store
from tests.analysis.made import Made, spec
from tests.analysis.test_table1 import sheet

LAST = 10  # the step of the last evaluation of made results


def rows(root: Path, best: Iterable[int], **changes: Any) -> list[SelectedRow]:
    """KD, a seed each, on two tasks: on RTE with these best steps, on QNLI never with the last."""
    made = Made(Store(root))
    for seed, step in enumerate(best):
        for task, at in (("rte", step), ("qnli", LAST // 2)):
            made.best_at(made.done(made.ask(spec("kd", task, seed, **changes)), 0.7), at)
    (study,) = studies(made.write())
    return [select_row(study, "kd")]


@pytest.mark.parametrize(("at_end", "others", "said"), [(6, 2, True), (5, 3, False), (8, 0, True), (7, 0, False)])
def test_three_of_four_runs_of_eight_or_more(at_end: int, others: int, said: bool, tmp_path: Path) -> None:
    found = still_learning_notes(rows(tmp_path, [LAST] * at_end + [LAST - 3] * others))
    told = (
        f"Still learning at the end: the last evaluation is the best one in {at_end} of {at_end + others} runs on RTE. "
        "With more epochs, the order of the rows there may be another."
    )
    assert found == ([told] if said else [])


@pytest.mark.parametrize(("epochs", "said"), [(3, True), (2, False)])
def test_few_evaluations_say_nothing(epochs: int, said: bool, tmp_path: Path) -> None:
    assert bool(still_learning_notes(rows(tmp_path, [LAST] * 8, epochs=epochs))) == said


def test_the_note_is_below_tables_and_figures(tmp_path: Path) -> None:
    rows(tmp_path, [LAST] * 8)
    (picture,) = find_figures("scores", Store(tmp_path), FigureChoice())
    (alone,) = find_figures("scores", Store(tmp_path), FigureChoice(tasks="qnli"))
    said = [
        any(note.startswith("Still learning at the end: ") for note in notes)
        for notes in (sheet(Store(tmp_path)).notes, picture.notes, alone.notes)
    ]
    assert said == [True, True, False]
