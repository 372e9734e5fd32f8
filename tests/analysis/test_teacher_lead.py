"""What tables say of a teacher that is not shown to be better than its student fine-tuned alone."""

from __future__ import annotations

from pathlib import Path

from kdbench.analysis.tablescores import Scores
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis import exact_results
from tests.analysis.exact_results import NEAR, TWO
from tests.analysis.exact_results import Scores as Accuracies

SAID = (
    "The teacher is not separable above Fine-tuning on {} (5 %, Holm-corrected over the tasks): no lead to learn from"
)


def _notes(root: Path, rows: Accuracies, teachers: dict[str, tuple[float, ...]] | None) -> list[str]:
    exact_results.study(root, rows, teachers)
    (study,) = studies(Store(root))
    sheet = Scores().build(study)
    assert sheet is not None
    return [note for note in sheet.notes if "teacher is not separable" in note]


def test_tasks_without_a_lead_are_named(tmp_path: Path) -> None:
    rows = {"finetune": NEAR, "kd": NEAR}
    high, equal, low = (95.0, 96.0, 94.0), (72.0, 70.0, 71.0), (50.0, 51.0, 52.0)
    assert _notes(tmp_path / "a", rows, {"rte": high, "qnli": high}) == []
    (one,) = _notes(tmp_path / "b", rows, {"rte": high, "qnli": equal})
    assert one == f"{SAID.format('QNLI')} is shown there."
    # a teacher that is worse is no better
    (both,) = _notes(tmp_path / "c", rows, {"rte": low, "qnli": equal})
    assert both == f"{SAID.format('RTE, QNLI')} is shown there."


def test_without_a_teacher_or_the_student_alone_nothing_is_said(tmp_path: Path) -> None:
    assert _notes(tmp_path / "a", {"finetune": NEAR, "kd": NEAR}, None) == []
    assert _notes(tmp_path / "b", {"kd": NEAR, "dist": NEAR}, dict.fromkeys(TWO, (50.0, 51.0, 52.0))) == []
