"""A short storm; `make chaos` is the long one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.storm import storm

pytestmark = pytest.mark.chaos


def test_whatever_happens_the_results_are_those_of_an_undisturbed_sweep(tmp_path: Path) -> None:
    wanted = Counter(kills=2, cut_checkpoints=1, damaged_series=1, full_disks=1, clock_jumps=1, changed_models=1,
                     lost_permissions=1, rivals=1)  # fmt: skip
    counts = storm(tmp_path / "storm", "kd,lgtm", "rte", wanted, seed=1)
    assert counts["kills"] >= 2
    assert counts["results compared"] >= 3
