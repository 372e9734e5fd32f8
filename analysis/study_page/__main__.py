"""Write the page: `python -m kdbench.analysis.study_page results/minilm-study docs/study.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from kdbench.analysis.study_page import STUDENTS, TUNING
from kdbench.analysis.study_page.page import main_study, study_page
from kdbench.core.atomic_files import write_text
from kdbench.results.read_studies import studies
from kdbench.results.store import Store


def write_page(folder: Path, page: Path) -> None:
    """Write the page of a collected study.

    The page is also about the settings that were tried before and the runs with other students, if their folders (see
    `TUNING` and `STUDENTS`) are there.
    """
    tuning, students = (folder.with_name(f"{folder.name}{end}") for end in (TUNING, STUDENTS))
    tuned = main_study(studies(Store(tuning, create=False))) if tuning.is_dir() else None
    stores = [Store(one, create=False) for one in (folder, students) if one.is_dir()]
    every = [study for store in stores for study in studies(store)]
    beside = [one.as_posix() for one in (tuning, students) if one.is_dir()]
    write_text(page, study_page(folder.as_posix(), every, tuned, beside))


if __name__ == "__main__":
    write_page(Path(sys.argv[1]), Path(sys.argv[2]))
