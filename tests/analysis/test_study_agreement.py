"""The agreement of students with their teachers in docs/study.md, beside a count over the stored answers."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from kdbench.analysis.study_page.agreement import NOT_KEPT, agreement_section
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.results.study import Run
from tests.analysis.exact_results import NEAR, contrasts, shifted


def classes(run: Run) -> list[int]:
    found: list[int] = load_file(run.folder.predictions)["best/validation/logits"].argmax(1).tolist()
    return found


def counted(found: StudyContrasts, row: str, task: str) -> float:
    """Return the share of equal answers of student and teacher in per cent, mean over the seeds."""
    teachers = {cell.cell.seed: cell.run for cell in found.cells("teacher", task)}
    pairs = [(classes(cell.run), classes(teachers[cell.cell.seed])) for cell in found.cells(row, task)]
    return statistics.fmean(100 * float(np.mean(np.array(one) == np.array(other))) for one, other in pairs)


def test_agreement_is_counted_and_compared(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"finetune": NEAR, "kd": shifted(20)}, dict.fromkeys(NEAR, (90.0, 91.0, 89.0)))
    told, table = agreement_section(found, "kd", "finetune")
    shares = {row: [counted(found, row, task) for task in ("rte", "qnli")] for row in ("finetune", "kd")}
    assert f"| Fine-tuning | {shares['finetune'][0]:.1f} | {shares['finetune'][1]:.1f} |" in table
    assert f"| KD | {shares['kd'][0]:.1f} | {shares['kd'][1]:.1f} |" in table
    gains = [kd - own for kd, own in zip(shares["kd"], shares["finetune"], strict=True)]
    assert told.startswith(f"Agreement of KD minus that of Fine-tuning: {gains[0]:+.1f} points (")
    assert f"on RTE, {gains[1]:+.1f} points (" in told


def test_a_dash_is_explained(tmp_path: Path) -> None:
    rows, teachers = {"finetune": NEAR, "kd": NEAR}, dict.fromkeys(NEAR, (90.0, 91.0, 89.0))
    assert NOT_KEPT not in agreement_section(contrasts(tmp_path / "all", rows, teachers), "kd", "finetune")[1]
    part = {"finetune": {"rte": NEAR["rte"]}, "kd": NEAR}
    table = agreement_section(contrasts(tmp_path / "part", part, teachers), "kd", "finetune")[1]
    assert "| – |" in table
    assert table.rstrip().endswith(NOT_KEPT)


def test_without_answers_of_teachers_nothing_is_told(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"dml": NEAR})
    assert agreement_section(found, "kd", "finetune") == ["No run kept its teacher's answers."]
