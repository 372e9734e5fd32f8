"""Write the page: `python -m kdbench.analysis.study_page results/minilm-study docs/study.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from kdbench.analysis.study_page.page import main_study, study_page
from kdbench.core.atomic_files import write_text
from kdbench.results.store import Store
from kdbench.results.study import studies
from kdbench.results.sweep_files import read_sweeps


def write_page(folder: Path, page: Path) -> None:
    """Write the page of a collected study; settings that were tried before are read from the folder FOLDER-tuning."""
    beside = folder.with_name(f"{folder.name}-tuning")
    tuned = main_study(studies(Store(beside, create=False))) if beside.is_dir() else None
    store = Store(folder, create=False)
    write_text(page, study_page(folder.as_posix(), studies(store), read_sweeps(store), tuned))


if __name__ == "__main__":
    write_page(Path(sys.argv[1]), Path(sys.argv[2]))
