"""Answers of the study name what rests on tasks that are still learned at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.analysis.study_page import questions
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.results.read_studies import studies
from tests.analysis.exact_results import NEAR, READINGS, Scores, study

WITHOUT = "Without the tasks that are still learned at the end of training (on QNLI)"
FAST: Scores = {
    "kd": NEAR, "dist": {"rte": tuple(score + 20 for score in NEAR["rte"]), "qnli": NEAR["qnli"]}, "skd": NEAR,
}  # fmt: skip


def learned(root: Path, rows: Scores, *unsettled: str) -> StudyContrasts:
    """Rows with these accuracies; on the unsettled tasks every run is best at its end."""
    made = study(root, rows)
    for run_id in (run_id for run_id, run in made.runs.items() if run.task in unsettled):
        made.best_at(run_id, 10)
    (found,) = studies(made.store)
    return StudyContrasts(found)


def test_a_lead_on_a_task_that_is_still_learned_is_said_to_be_one(tmp_path: Path) -> None:
    found = learned(tmp_path, FAST, "rte")
    assert found.settled_tasks == ["qnli"]
    text = questions.beats_kd(found)
    answer, _, details = text.partition("\n\n")
    assert answer.startswith("Yes: DIST +10.0 points")
    assert answer.endswith(", but not DIST without the tasks that are still learned at the end of training.")
    assert f"- {WITHOUT}, separable above plain KD: none, the highest is " in details


def test_pairs_are_compared_without_such_tasks_too(tmp_path: Path) -> None:
    found = learned(tmp_path, READINGS, "rte")
    gain, net = (found.contrast("lgtm", other, ["qnli"]).words for other in ("lgtm_no_influence", "prokt_lgtm"))
    assert gain.startswith("+20.0 points")
    assert net.startswith("-10.0 points")
    assert f"- {WITHOUT}: LGTM minus LGTM without influence {gain}." in questions.influence_helps(found)
    assert f"- {WITHOUT}: LGTM minus ProKT with labels {net}." in questions.feedback_pays(found)


@pytest.mark.parametrize("unsettled", [(), ("rte", "qnli")])
def test_nothing_is_left_out_where_all_tasks_are_alike(unsettled: tuple[str, ...], tmp_path: Path) -> None:
    text = questions.beats_kd(learned(tmp_path, FAST, *unsettled))
    assert ("\n- Every task is still learned at the end of training." in text) == bool(unsettled)
    assert ("but not DIST" in text) == bool(unsettled)
    assert "Without the tasks" not in text
