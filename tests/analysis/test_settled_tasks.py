"""Answers of the study name what rests on tasks that are not learned to the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kdbench.analysis.study_page import questions
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.convergence import settled_tasks
from kdbench.results.read_studies import studies
from kdbench.results.series import SeriesFile, SeriesMark
from tests.analysis.drawn import PER_EPOCH
from tests.analysis.exact_results import NEAR, READINGS, Scores, study

WITHOUT = "Without the tasks on which most rows still gain in the last epoch (on QNLI)"
FAST: Scores = {"kd": NEAR, "dist": {"rte": tuple(score + 20 for score in NEAR["rte"]), "qnli": NEAR["qnli"]}}


def learned(root: Path, rows: Scores, last: Mapping[str, float]) -> StudyContrasts:
    """Rows with these accuracies, and what the last of two epochs adds on the selection split, by task."""
    made = study(root, rows)
    for run_id, run in made.runs.items():
        series = SeriesFile(made.store.run(run_id).series, SeriesMark(), PER_EPOCH)
        for epoch, accuracy in ((1, 0.5), (2, 0.5 + last[run.task])):
            series.add(epoch * PER_EPOCH, "selection", {"accuracy": accuracy})
    (found,) = studies(made.store)
    return StudyContrasts(found)


def test_a_lead_on_a_task_that_is_still_learned_is_said_to_be_one(tmp_path: Path) -> None:
    found = learned(tmp_path, FAST, {"rte": 0.1, "qnli": 0.001})
    assert settled_tasks(found) == ["qnli"]
    text = questions.beats_kd(found)
    answer, _, details = text.partition("\n\n")
    assert answer.startswith("Yes: DIST +10.0 points")
    assert answer.endswith(", but not DIST without the tasks on which most rows still gain in the last epoch.")
    assert f"- {WITHOUT}, separable above plain KD: none, the highest is DIST 0.0 points (95 % interval -" in details


def test_pairs_are_compared_without_such_tasks_too(tmp_path: Path) -> None:
    found = learned(tmp_path, READINGS, {"rte": 0.1, "qnli": 0.001})
    gain, net = (found.contrast("lgtm", other, ["qnli"]).words for other in ("lgtm_no_influence", "prokt_lgtm"))
    assert gain.startswith("+20.0 points")
    assert net.startswith("-10.0 points")
    assert f"- {WITHOUT}: LGTM minus LGTM without influence {gain}." in questions.influence_helps(found)
    assert f"- {WITHOUT}: LGTM minus ProKT with labels {net}." in questions.feedback_pays(found)


@pytest.mark.parametrize("last", [0.001, 0.1])
def test_nothing_is_left_out_where_all_tasks_are_alike(last: float, tmp_path: Path) -> None:
    found = learned(tmp_path, FAST, {"rte": last, "qnli": last})
    text = questions.beats_kd(found)
    assert ("\n- On every task most rows still gain in the last epoch." in text) == (last > 0.01)
    assert ("but not DIST" in text) == (last > 0.01)
    assert "Without the tasks" not in text
