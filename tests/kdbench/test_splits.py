"""Roles of data: disjoint, fixed, and out of a method's reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.data.splits import assign_roles
from kdbench.results.store import Store
from kdbench.training.setup import prepare
from tests.kdbench.small_runs import CPU, FEW, plan, the_run

SIZES = {"train": 500, "validation": 80}


def roles(tmp: Path, rows: int = 0, **given: str):  # type: ignore[no-untyped-def]
    spec = the_run(plan(tmp, f"train_rows={rows}", **given))
    return assign_roles(spec, SIZES, ("validation",))


@settings(deadline=None)  # the first example loads the plugins
@given(st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_train_feedback_and_selection_share_no_row(
    tmp_path_factory: pytest.TempPathFactory, f: float, s: float
) -> None:
    made = roles(tmp_path_factory.getbasetemp(), methods="lgtm", feedback=f"train:{f}", selection=f"train:{s}")
    parts = [set(p.rows) for p in (made.train, made.feedback, made.selection)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == SIZES["train"]
    assert len(made.selection.rows) == round(s * 500)


def test_methods_without_feedback_train_on_that_slice_too(tmp_path: Path) -> None:
    """So that all methods have seen the same labelled examples."""
    with_feedback, without = roles(tmp_path, methods="lgtm"), roles(tmp_path, methods="finetune")
    assert set(without.train.rows) == set(with_feedback.train.rows) | set(with_feedback.feedback.rows)
    assert without.feedback is None
    assert np.array_equal(without.selection.rows, with_feedback.selection.rows)


def test_all_methods_and_teachers_can_leave_that_slice_out(tmp_path: Path) -> None:
    """So that all have equally many rows and steps, and no teacher has seen the feedback rows."""
    sets, every = ("hold_out_feedback=all", "train_rows=0"), {"methods": "lgtm,kd,meta_distill,finetune"}
    planned = plan(tmp_path, *sets, **every).runs.values()
    rows = [assign_roles(spec, SIZES, ("validation",)).train.rows for spec in planned]
    assert len(rows) == 5  # the teacher of KD and Meta Distill among them
    assert {len(some) for some in rows} == {400}
    assert all(np.array_equal(some, rows[0]) for some in rows)
    assert {spec.id for spec in planned}.isdisjoint(plan(tmp_path, "train_rows=0", methods="kd,meta_distill").runs)
    lgtm = plan(tmp_path, *sets, methods="lgtm").runs  # its teacher starts pre-trained: nothing changes for LGTM
    assert lgtm.keys() == plan(tmp_path, "train_rows=0", methods="lgtm").runs.keys()


def test_feedback_from_validation_holds_nothing_out(tmp_path: Path) -> None:
    with_all, without = (
        plan(tmp_path, *sets, methods="kd,finetune", feedback="validation").runs
        for sets in (("hold_out_feedback=all",), ())
    )
    assert with_all.keys() == without.keys()


def test_validation_feedback_is_the_reported_split(tmp_path: Path) -> None:
    made = roles(tmp_path, methods="lgtm", feedback="validation", selection="validation")
    assert made.feedback.split == made.selection.split == "validation"
    assert len(made.train.rows) == SIZES["train"]


def test_the_division_does_not_depend_on_the_seed_of_the_run(tmp_path: Path) -> None:
    first, other = (roles(tmp_path, methods="lgtm", seeds=seed) for seed in ("0", "7"))
    assert np.array_equal(first.selection.rows, other.selection.rows)


def test_a_method_that_did_not_ask_for_feedback_gets_none(tmp_path: Path) -> None:
    setup = prepare(the_run(plan(tmp_path, methods="finetune")), Store(tmp_path / "r"), CPU, FEW)
    with pytest.raises(PermissionError, match="feedback"):
        setup.context.feedback()


def test_a_method_is_handed_train_and_feedback_and_nothing_else(tmp_path: Path) -> None:
    """Whatever a method reaches from its context holds training rows only."""
    setup = prepare(the_run(plan(tmp_path, methods="lgtm")), Store(tmp_path / "r"), CPU, FEW)
    seen = {int(i) for step in range(40) for i in setup.train.at(step).index}
    fed = {int(i) for _ in range(12) for i in setup.context.feedback().index}
    assert seen == set(setup.roles.train.rows)
    assert fed == set(setup.roles.feedback.rows)
    assert not (seen | fed) & set(setup.roles.selection.rows)
    hidden = setup.roles.selection.rows
    for stream in (setup.train, setup.context._data.feedback):
        assert (stream.tokens.labels[hidden] == -1).all()
        assert all(not stream.tokens.ids[stream.tokens.starts[r] : stream.tokens.starts[r + 1]].any() for r in hidden)
    assert setup.context._data.tokens is setup.train.tokens


def test_feedback_from_a_validation_split_that_selects_nothing(tmp_path: Path) -> None:
    """The split is tokenised for the feedback alone."""
    made = plan(tmp_path, methods="lgtm", feedback="validation", selection="train:0.1")
    setup = prepare(the_run(made), Store(tmp_path / "results"), CPU, FEW)
    assert setup.roles.feedback is not None
    assert setup.roles.feedback.split == "validation"
    assert len(setup.context.feedback()) > 0
