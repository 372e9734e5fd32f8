"""Tell which cells may be compared: those of one preset on the same networks, data and splits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdbench.core.spec import ModelRef, RunSpec
from kdbench.results.sweep_files import Sweep

if TYPE_CHECKING:
    from kdbench.results.study import StudyResults

# names, which may differ: fingerprints are in `models` and `data`; of the source see `find_study`
LOOSE = ("glue_dir", "data_dir", "source", "student", "teacher")


def study_fields(sweep: Sweep, spec: RunSpec) -> dict[str, Any]:
    """Return the fields of a sweep's study, with titles of networks, and those of its runs that divide the data."""
    training = spec.training
    names = {
        role: ModelRef(name=sweep.study[role], fingerprint=known).title
        for role, known in sweep.models.items() if role in sweep.study
    }  # fmt: skip
    return {**sweep.study, **names, "split_seed": training.split_seed, "train_rows": training.train_rows}


def study_key(sweep: Sweep, spec: RunSpec) -> str:
    """Return a key that is equal for cells that may be compared, as far as one cell can tell; see also `find_study`."""
    own = {k: v for k, v in study_fields(sweep, spec).items() if k not in LOOSE}
    return json.dumps([sweep.preset, own, sweep.models], sort_keys=True)


def find_study(key: str, data: Mapping[str, str], sources: set[str], found: list[StudyResults]) -> StudyResults | None:
    """Return the study with this key in which no task has other data, and tasks that are not files one source."""
    same = (study for study in found if study.key == key and len(study.sources | sources) <= 1)
    return next((s for s in same if all(s.data.get(task, value) == value for task, value in data.items())), None)
