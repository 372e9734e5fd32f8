"""Notes below tables on what else sets rows apart: options, rows held out, and where data and networks come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdbench.analysis.table1 import Table1
from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.spec import DataLocation
from kdbench.data.task import Examples, TaskData
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS
from kdbench.reporting import notes
from kdbench.results.data_origin import describe_data, generated_tasks
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.study import StudyResults
from kdbench.tasks.rte import Rte
from tests.analysis.made import STUDY, Made, spec, teacher


def said(store: Store) -> str:
    sheet = Table1().build(studies(store)[0])
    assert sheet is not None
    return "\n".join(sheet.notes)


def defaults(method: str, **changes: Any) -> dict[str, Any]:
    return {**METHODS.get(method).options_type().model_dump(mode="json"), **changes}


def told(made: Made, rows: dict[str, dict[str, Any]]) -> None:
    """Write the sweep with more about its rows."""
    made.write()
    (file,) = made.store.sweeps_folder.glob("*.json")
    sweep = json.loads(file.read_text())
    for row, more in rows.items():
        sweep["rows"][row] |= more
    file.write_text(json.dumps(sweep))


@pytest.mark.parametrize("stored", [True, False])
def test_options_that_are_not_at_their_default(tmp_path: Path, stored: bool) -> None:
    """As written down with the sweep, or as the installed methods have them."""
    made = Made(Store(tmp_path))
    dml = {k: v for k, v in METHODS.get("dml").options_type().model_dump(mode="json").items() if isinstance(v, float)}
    name = next(iter(dml))
    for row, options in (
        ("kd", defaults("kd")),
        ("dml", defaults("dml", **{name: 0.125})),
        ("lgtm", defaults("lgtm", zero_heads=False, influence_coef=0.1)),
    ):
        made.done(made.ask(spec(row, "rte", 0, options=options)), 0.7)
    known = {row: {"defaults": defaults(row)} for row in ("kd", "dml", "lgtm")} if stored else {"kd": {}}
    usual = {"lgtm": {"usual": {"zero_heads": False, "influence_coef": 0.1}}, "dml": {"usual": {name: 1.0}}}
    told(made, {row: known.get(row, {}) | usual.get(row, {}) for row in ("kd", "dml", "lgtm")})
    text = said(made.store)
    lgtm = next(line for line in text.splitlines() if line.startswith("Options"))
    assert lgtm == (
        "Options of methods that are not at their defaults: LGTM zero_heads=false, influence_coef=0.1 "
        f"(preset bert-6l); DML {name}=0.125."
    )


def test_the_class_of_f1_is_named(tmp_path: Path) -> None:
    for task in ("mrpc", "rte"):
        made = Made(Store(tmp_path / task))
        made.done(made.ask(spec("kd", task, 0)), 0.7)
        made.write()
        assert ("MRPC: F1 is that of class 'equivalent'." in said(made.store)) == (task == "mrpc")


def test_texts_that_are_cut_off_are_one_sentence_for_all_splits(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    run = made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    file = made.store.run(run).path / "result.json"
    cut = {"rows": {"train": 90, "held_out": 20}, "cut_off": {"train": 9, "held_out": 2}}
    write_json(file, {**read_json(file), **cut})
    sentence = (
        "9 of 90 rows of train and 2 of 20 rows of held-out fill max_length=128 tokens; longer texts are cut off."
    )
    assert f"RTE: {sentence}" in said(made.write())


def test_options_that_another_note_tells_are_left_out(tmp_path: Path) -> None:
    """A grid's values, what a table varies on purpose, and what a variant is."""
    made = Made(Store(tmp_path))
    for coef in (0.1, 1.0):
        wanted = spec("lgtm", "rte", 0, options=defaults("lgtm", influence_coef=coef))
        made.done(made.ask(wanted, choice={"influence_coef": coef}), 0.7, 1 - coef / 2)
    released = dict(METHODS.get("lgtm").variants["lgtm_released"][1])
    made.done(made.ask(spec("lgtm", "rte", 0, options=defaults("lgtm", **released)), "lgtm_released"), 0.6)
    text = said(made.write())
    assert "LGTM: influence_coef=0.1 on RTE." in text
    assert "Options of methods" not in text


def finish(made: Made, run: str, **rows: int) -> None:
    made.done(run, 0.7)
    file = made.store.run(run).path / "result.json"
    write_json(file, read_json(file) | {"rows": rows})


def feedback_note(root: Path, tasks: Sequence[str], protocol: str = "train:0.1") -> str:
    """The table's sentence about feedback; every task has 300 rows more than the one before it."""
    made = Made(Store(root), study={**STUDY, "feedback": protocol})
    for i, task in enumerate(tasks):
        sizes = {"train": 2970 + 300 * i, "feedback": 331}
        parent = made.need(teacher(task, 0))
        finish(made, parent, train=sizes["train"] + 331, feedback=0)
        finish(made, made.ask(spec("kd", task, 0, needs={"teacher": parent})), train=sizes["train"] + 331)
        finish(made, made.ask(spec("lgtm", task, 0, feedback=protocol)), **sizes)
        meta = spec("meta_distill", task, 0, feedback=protocol, needs={"teacher": parent})
        finish(made, made.ask(meta), **sizes)
    return next(line for line in said(made.write()).splitlines() if "eedback" in line)


def test_what_is_held_out_for_feedback(tmp_path: Path) -> None:
    first = (
        "Feedback (Meta Distill, LGTM) from 10 % of train, held out: 2,970 of 3,301 rows and 93 of 104 steps an epoch"
    )
    seen = " remain; Meta Distill's teacher was trained on the feedback rows too."
    assert feedback_note(tmp_path / "one", ["mrpc"]) == f"{first}{seen}"
    assert feedback_note(tmp_path / "five", ["mrpc", "rte", "sst2", "qnli", "qqp"]) == (
        f"{first} (MRPC), 3,270 of 3,601 rows and 103 of 113 steps an epoch (RTE), 3,570 of 3,901 rows and 112 of 122 "
        f"steps an epoch (SST-2), as much less on 2 other tasks{seen}"
    )
    assert "an epoch" not in feedback_note(tmp_path / "validation", ["mrpc"], "validation")


def test_that_no_row_was_trained_on_the_feedback_rows(tmp_path: Path) -> None:
    made = Made(Store(tmp_path), study={**STUDY, "hold_out_feedback": "all"})
    finish(made, made.ask(spec("kd", "mrpc", 0, withheld="train:0.1")), train=2970)
    text = "No method of this table, and no teacher, was trained on the 10 % of train held out for feedback."
    assert text in said(made.write())


class Reviews(Rte):
    """A user's own: whatever the location is, it reads its own data."""

    title = "Reviews"

    def load(self, location: DataLocation) -> TaskData:
        split = Examples(["good", "bad"], None, [0, 1])
        return TaskData({"train": split, "validation": split})


def made_study(root: Path, source: str, *tasks: str) -> StudyResults:
    made = Made(Store(root), study={**STUDY, "source": source})
    for task in tasks:
        made.done(made.ask(spec("kd", task, 0)), 0.7)
    return studies(made.write())[0]


MADE = "Made data: these numbers say nothing about the methods."
RANDOM = "Networks drawn at random (s-net), without pre-training: how methods compare on pre-trained ones may differ."


def test_made_data_are_those_that_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = made_study(tmp_path / "both", "generated", "rte", "mrpc")
    real = made_study(tmp_path / "real", "hub", "rte")
    assert (generated_tasks(both), describe_data(both), notes.evidence_notes(both)) == (
        ["mrpc", "rte"],
        "generated",
        [MADE],
    )
    assert (generated_tasks(real), describe_data(real), notes.evidence_notes(real)) == ([], "hub", [])
    monkeypatch.setitem(TASKS.all(), "rte", Reviews)  # type: ignore[arg-type]
    monkeypatch.setattr(TASKS, "get", TASKS.all().__getitem__)
    assert TASKS.get("rte") is Reviews
    assert (generated_tasks(both), describe_data(both)) == (["mrpc"], "generated, the task's own (Reviews)")
    assert notes.evidence_notes(both) == ["Made data (MRPC): these numbers say nothing about the methods."]


def test_random_networks_on_real_data_are_named(tmp_path: Path) -> None:
    real = made_study(tmp_path / "real", "hub", "rte")
    tiny = replace(real, models={"student": "tiny/2/tiny-2x64", "teacher": "fp/t"})
    assert notes.evidence_notes(tiny) == [RANDOM]
    made = replace(made_study(tmp_path / "made", "generated", "rte"), models=tiny.models)
    assert notes.evidence_notes(made) == [MADE]  # which says more


def test_other_versions_of_libraries_are_named(tmp_path: Path) -> None:
    """As after an upgrade, or where folders of two machines were joined: such rows differ in more than the method."""
    made = Made(Store(tmp_path))
    for method, seed, torch in (("kd", 0, "2.4.0"), ("kd", 1, "2.5.1"), ("dml", 0, "2.5.1"), ("lgtm", 0, None)):
        run = made.done(made.ask(spec(method, "rte", seed)), 0.7)
        file = made.store.run(run).path / "environment.json"
        packages = {"torch": torch, "transformers": "5.0"} if torch else {}
        earlier = {"earlier": [{"packages": {"torch": "2.3.0"}}]} if method == "dml" else {}  # it resumed under 2.5.1
        write_json(file, {**read_json(file), "packages": packages, **earlier})
    told = said(made.write())
    assert "Trained with different versions of torch: 2.4.0 (KD); 2.5.1 (KD, DML); 2.3.0 (DML)." in told
    assert "versions of transformers" not in told
    assert "versions of kdbench" not in told
