"""The numbers of docs/lgtm.md that come from the kept study are what its runs wrote down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.results.archive.compression import read_series

ROOT = Path(__file__).parent.parent.parent
STUDY = ROOT / "results" / "minilm-mrpc"
NOTES = (ROOT / "docs" / "lgtm.md").read_text()


def influence(objective: str) -> dict[str, dict[int, Any]]:
    """What LGTM's run with the objective recorded of its influence: key -> step -> value."""
    runs = [json.loads(line) for line in (STUDY / "runs.jsonl").read_text().splitlines()]
    wanted = {"influence": "jvp", "influence_sign": -1, "kd_loss": objective}
    (run,) = (r["id"] for r in runs if wanted.items() <= r["spec"]["options"].items())
    found: dict[str, dict[int, Any]] = {}
    for row in map(json.loads, dict(read_series(STUDY / "series.jsonl.xz"))[run]):
        if row["split"] == "influence":
            found.setdefault(row["key"], {})[row["step"]] = np.array(row["value"])
    return found


def share_of_the_mean(at: dict[str, dict[int, Any]], step: int) -> float | None:
    """(mean m)^2 / mean m^2 of the change m of the student's margin along v; None where too few rows tell."""
    first = at["label"][step] == 1
    t, s = (np.where(first, p, 1 - p) for p in (at["teacher_p"][step], at["student_p"][step]))
    told = np.abs(s - t) > 2e-3
    if told.sum() < 48:
        return None
    m = at["influence"][step][told] / (s - t)[told]
    return float(m.mean() ** 2 / (m**2).mean())


@pytest.mark.parametrize("objective", ["kl", "mse", "dist"])
def test_ratio_of_norms_and_what_all_rows_share(objective: str) -> None:
    at = influence(objective)
    ratios = np.array([float(np.ravel(value)[0]) for value in at["influence_ratio"].values()])
    shares = [share for step in sorted(at["influence"]) if (share := share_of_the_mean(at, step)) is not None]
    low, middle, high = np.quantile(shares, [0.25, 0.5, 0.75])
    numbers = f"{np.median(ratios):.1f} | {ratios.max():.0f} | {middle:.2f} | {low:.2f}, {high:.2f}"
    assert f"| {objective.upper()} | {numbers} |" in NOTES
    assert {len(set(classes.tolist())) for classes in at["teacher_predicts"].values()} == {1}
