"""The arithmetic of what a study costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import bill, study
from kdbench.core.atomic_files import write_json
from kdbench.data.task_registry import TASKS
from kdbench.planning.make_plan import select_methods
from tests.benchmarks.small import WORK

ONE = {"forward": 1.0, "backward": 1.0}
KD = {
    "epoch": {"student": ONE, "teacher": {"forward": 0}},
    "once": {"student": {"forward": 0, "backward": 0}, "teacher": {"forward": 1}},
}  # by network and kind: passes in an epoch, and once in a training, a training row


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return study.measure(WORK)


@pytest.fixture
def by_hand() -> dict[str, Any]:
    """As if every method but fine-tuning made KD's passes, on inputs of 100 tokens."""
    passes = {**dict.fromkeys(select_methods("all"), KD), "finetune": {"epoch": {"student": ONE}, "once": {}}}
    return {"passes": passes, "lengths": dict.fromkeys(TASKS.all(), 100.0)}


@pytest.mark.slow
def test_passes_are_those_of_the_method_cards(measured: dict[str, Any]) -> None:
    """KD: the student forward and back in every epoch, the teacher forward once in a training; RCO: once an anchor."""
    kd, rco, lgtm = (measured["passes"][name] for name in ("kd", "rco", "lgtm"))
    assert kd == KD
    assert rco["once"]["teacher"]["forward"] > 1
    assert lgtm["epoch"]["student"] == {"forward": 2, "tangent": 1, "backward": 3}


def test_a_run_by_hand(by_hand: dict[str, Any]) -> None:
    """KD on RTE: 2,490 rows, six epochs, six evaluations on 277 rows, a teacher of twelve layers asked once."""
    account = study.Account(study.whole(), by_hand)
    spec = next(spec for spec in account.plan.runs.values() if spec.method == "kd" and spec.task == "rte")
    weights = 768 * (4 * 768 + 2 * 3072)
    layer = 2 * 100 * weights + 4 * 100 * 100 * 768
    last = 2 * 100 * 2 * 768**2 + 2 * (weights - 2 * 768**2) + 4 * 100 * 768  # keys and values; the rest for one token
    small, large = 5 * layer + last, 11 * layer + last
    student = small * (6 * 2490 * 3 + 6 * 277)
    assert account.run(spec) == pytest.approx(student + large * 2490)
    teacher = large * (6 * 2490 * 3 + 6 * 277)
    assert account.alone(spec.id) == pytest.approx(student + large * 6 * 2490 + teacher)
    assert account.chain(spec.id) == pytest.approx(account.run(spec) + teacher)


@pytest.mark.parametrize("passes", ["by_hand", pytest.param("measured", marks=pytest.mark.slow)])
def test_the_bill(passes: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", {"measured": [request.getfixturevalue(passes)]})
    rows = {
        line.split("|")[1]: line.split("|")[2:-1]
        for line in bill.write(tmp_path).read_text().splitlines()
        if "|" in line
    }
    assert rows["KD"][0] == "90"
    assert rows["all"][0] == "1200"
    parts = [float(cells[2]) for title, cells in rows.items() if len(cells) == 4 and title not in ("", "---", "all")]
    assert sum(parts) == pytest.approx(float(rows["all"][2]), abs=0.01 * len(parts))
