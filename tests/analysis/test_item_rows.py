"""Rows of the tables of fidelity and calibration: with whom they are compared, and why some have no numbers."""

from __future__ import annotations

import re
from pathlib import Path

from kdbench.analysis.calibration import Calibration
from kdbench.analysis.fidelity import Fidelity
from kdbench.results.item_outputs import find_teacher
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import TEACHER
from tests.analysis.made import Made, spec, teacher
from tests.analysis.made_outputs import keep, logits, study


def test_a_task_without_a_table_is_named(tmp_path: Path) -> None:
    made = study(tmp_path)
    made.done(made.ask(spec("kd", "qnli", 0)), 0.7)
    made.ask(spec("kd", "mrpc", 0))  # not done, so that there is nothing to say
    made.done(made.ask(spec("kd", "stsb", 0)), 0.7)
    for table in (Calibration, Fidelity):
        (sheet,) = table().sheets(studies(made.write()))
        assert sheet.notes[-2:] == [
            "No table of QNLI: no predictions were kept.",
            "No table of STS-B: a number is predicted, no class.",
        ]


def test_a_bias_that_all_rows_share_is_one_number(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    keep(made, made.ask(spec("kd", "rte", 0)), logits(1, 1))
    (sheet,) = Calibration().sheets(studies(made.write()))
    (note,) = (n for n in sheet.notes if n.startswith("ECE is biased"))
    assert re.search(r"would show about \d+\.\d %\.$", note)


def test_an_untaught_row_is_compared_with_the_teacher_that_tables_show(tmp_path: Path) -> None:
    """Of two teachers of one seed, the one that scores higher on the selection split."""
    made = study(tmp_path, seeds=(0,))
    better = keep(made, made.need(teacher("rte", 0, student_lr=1e-4)), logits(3, 5))
    made.done(better, 0.9, selection=0.8)
    keep(made, made.ask(spec("pkd", "rte", 0, needs={"teacher": better})), logits(1, 15))
    keep(made, made.ask(spec("finetune", "rte", 7)), logits(1, 17))
    (found,) = studies(made.write())
    (shown,) = select_row(found, TEACHER).shown["rte"]
    taught, alone = sorted(select_row(found, "finetune").cells, key=lambda cell: cell.cell.seed)
    assert shown.run.id == better
    assert find_teacher(taught, found) is shown.run
    assert find_teacher(alone, found) is None
    (sheet,) = Fidelity().sheets([found])
    assert {r["seed"] for r in sheet.records if (r["row"], r["metric"]) == ("finetune", "agreement")} == {0}
    (other,) = select_row(found, "kd").cells
    assert find_teacher(other, found) is not shown.run
