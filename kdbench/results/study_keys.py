"""Tell which cells may be compared: those of one preset on the same networks, data and splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

from kdbench.core.spec import ModelRef, RunSpec
from kdbench.results.study import StudyResults
from kdbench.results.sweep_files import Sweep

# names, which may differ: fingerprints are in `models` and `data`; of the source see `find_study`
LOOSE = ("glue_dir", "data_dir", "source", "student", "teacher")


def study_fields(sweep: Sweep, spec: RunSpec) -> dict[str, Any]:
    """Return the fields of a sweep's study, with titles of networks, and the seed that divided its runs' data."""
    names = {
        role: ModelRef(name=sweep.study[role], fingerprint=known).title
        for role, known in sweep.models.items() if role in sweep.study
    }  # fmt: skip
    return {**sweep.study, **names, "split_seed": spec.training.split_seed}


def study_key(sweep: Sweep, spec: RunSpec) -> str:
    """Return a key that is equal for cells that may be compared, as far as one cell can tell; see also `find_study`."""
    own = {k: v for k, v in study_fields(sweep, spec).items() if k not in LOOSE}
    return json.dumps([sweep.preset, own, sweep.models], sort_keys=True)


def find_study(
    key: str, rows: int, data: Mapping[str, str], sources: set[str], found: list[StudyResults]
) -> StudyResults | None:  # fmt: skip
    """Return the study with this key and `train_rows` that has no other data of a task, and no other source."""
    same = (study for study in found if study.key == key and len(study.sources | sources) <= 1)
    alike = (study for study in same if set(study.train_rows.values()) == {rows})
    return next((s for s in alike if all(s.data.get(task, value) == value for task, value in data.items())), None)


def join_disjoint(found: Sequence[StudyResults]) -> list[StudyResults]:
    """Join the studies that differ in `train_rows` alone and of which no two have the same task.

    Rows are drawn task by task, so that a large task may be learned from some of its rows beside small ones. Studies of
    which two have the same task all stay apart, so that the order of the runs does not matter.
    """
    families: dict[str, list[StudyResults]] = {}
    for study in found:
        families.setdefault(study.key, []).append(study)
    joined = list[StudyResults]()
    for study in found:
        family = families[study.key]
        tasks = [task for one in family for task in one.data]
        if len(tasks) > len(set(tasks)) or len(set[str]().union(*(one.sources for one in family))) > 1:
            joined.append(study)
        elif study is family[-1]:
            joined.append(reduce(_join, family))
    return joined


def _join(one: StudyResults, later: StudyResults) -> StudyResults:
    """Return both studies as one; of what both have, what the later one says."""
    own = later if later.sources else one
    return replace(
        later,
        study={**later.study, **{name: own.study[name] for name in ("source", "glue_dir")}},
        titles=one.titles | later.titles, networks=one.networks | later.networks, data=one.data | later.data,
        planned=one.planned | later.planned, data_remarks=one.data_remarks | later.data_remarks,
        other_results=one.other_results | later.other_results,
        left_out=one.left_out | later.left_out, cells=[*one.cells, *later.cells], runs=one.runs | later.runs,
    )  # fmt: skip
