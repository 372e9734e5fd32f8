"""The part of docs/study.md about teachers that learn along, on results worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.trained_teachers import teachers_section
from kdbench.core.atomic_files import write_json
from kdbench.results.read_studies import studies
from kdbench.results.series import SeriesFile, SeriesMark
from tests.analysis.drawn import PER_EPOCH
from tests.analysis.exact_results import NEAR, contrasts, shifted, study


def test_teachers_beside_their_students_and_the_ratio_of_gradients(tmp_path: Path) -> None:
    """Teachers of 60 and 70 per cent; of the ratios 0, 0.002 and 0.004 a seed, on RTE only, the median is 0.002."""
    made = study(tmp_path, {"kd": NEAR, "lgtm": shifted(5)}, NEAR)
    for run_id, run in made.runs.items():
        if run.method == "lgtm":
            file = made.store.run(run_id).path / "result.json"
            score = {"rte": 0.6, "qnli": 0.7}[run.task]
            write_json(file, {**json.loads(file.read_text()), "teacher": {"validation": {"accuracy": score}}})
            series = SeriesFile(made.store.run(run_id).series, SeriesMark(), PER_EPOCH)
            for step, ratio in enumerate((0.0, 0.002, 0.004) if run.task == "rte" else ()):
                series.add(step, "influence", {"influence_ratio": [ratio]})
    (text,) = teachers_section(StudyContrasts(studies(made.store)[0]))
    assert text.splitlines()[:4] == [
        "|  | RTE | QNLI | Influence ratio |",
        "| --- | ---: | ---: | ---: |",
        "| Teacher, fine-tuned alone | 70.0±1.0 | 70.0±1.0 | – |",
        "| LGTM | 60.0±0.0 (75.0) | 70.0±0.0 (75.0) | 0.002 / – |",
    ]


def test_no_teacher_that_learns_along(tmp_path: Path) -> None:
    assert teachers_section(contrasts(tmp_path, {"kd": NEAR})) == ["No teacher was trained along with its student."]
