"""The command that makes a cell again plans the very runs of the cell, whatever was asked for at first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kdbench.cli.commands import run
from kdbench.core.errors import UserError
from kdbench.planning import config, reproduce
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.exhibits import merge_plans, request_configs, requests_by_name
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.planning.reproduce import rows_command
from kdbench.reporting import provenance
from kdbench.reporting.tables import TABLES
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.study import StudyResults
from kdbench.training.executors.sweep_record import build_request, store_sweep
from tests.kdbench.test_bad_input import save_bert

ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "rates": {"sets": ["student_lr=1e-3,5e-4", "teacher_lr=2e-4", "epochs=2"]},
    "options": {"sets": ["temperature=2.0,4.0", "lgtm.update_order=student", "takd.assistants=tiny-3x64"]},
    "other networks": {"sets": ["student=tiny-2x32", "teacher=tiny-3x32", "train_rows=96", "split_seed=3"]},
    "splits": {"feedback": "validation", "selection": "train:0.2"},
    "a teacher of its own": {"sets": ["teacher.epochs=2", "teacher.lr=5e-4,2e-4", "lgtm.teacher_start=finetuned"]},
    "two stages": {"sets": ["lgtm.teacher_start=finetuned"], "seeds": "1,3"},
}
METHODS = "finetune,kd,takd,rco,dml,meta_distill,lgtm,lgtm_released"


def planned(words: list[str], folder: Path) -> Plan:
    """What `kdbench run` would plan."""
    params = dict(run.command.make_context("run", words[2:]).params)
    sets = parse_sets(params.pop("sets"))
    given = {key: value for key, value in params.items() if value is not None and key in config.engine_keys()}
    return make_plan(assemble_config({**sets, **given}, folder))


def remembered(folder: Path, sets: tuple[str, ...] | list[str] = (), **given: Any) -> StudyResults:
    """The study of a sweep that was asked for, and not begun."""
    merged = assemble_config(
        {"methods": METHODS, "tasks": "mrpc,rte", "seeds": "0,1", **parse_sets(sets), **given}, folder
    )
    store = Store(folder / "results")
    store_sweep(*build_request(merged, make_plan(merged), store, Console()))
    return studies(store)[-1]


@pytest.mark.parametrize("name", ASKED)
def test_the_command_of_a_cell_plans_its_runs_and_no_other_cell(name: str, tmp_path: Path) -> None:
    study = remembered(tmp_path, **ASKED[name])
    for row in provenance.traceable_rows(study):
        traced = provenance.trace_cell(study, None, row, "mrpc")
        for point in {cell.point for cell in traced.runs.asked}:
            cells = [cell for cell in traced.runs.asked if cell.point == point]
            plan = planned(reproduce.cell_command(cells, study), tmp_path / "elsewhere")
            assert {cell.run.id for cell in cells} <= plan.runs.keys()
            if row != "teacher":
                assert [cell.run for cell in plan.cells] == [cell.run.id for cell in cells]


def test_the_command_of_every_run_plans_it(tmp_path: Path) -> None:
    study = remembered(tmp_path, **ASKED["options"])
    for one in study.runs.values():
        assert one.id in planned(reproduce.run_command(one, study), tmp_path / "elsewhere").runs


def test_the_command_says_only_what_is_not_usual(tmp_path: Path) -> None:
    study = remembered(tmp_path, **ASKED["rates"])
    traced = provenance.trace_cell(study, None, "lgtm", "rte")
    assert " ".join(reproduce.cell_command(traced.runs.wanted, study)) == (
        "kdbench run --methods lgtm --tasks rte --seeds 0,1 --preset tiny --set student_lr=0.001 "
        "--set teacher_lr=0.0002 --set epochs=2"
    )


def test_without_the_usual_values_every_option_is_said(tmp_path: Path) -> None:
    """As of results that an earlier version left."""
    study = remembered(tmp_path, **ASKED["options"])
    study.titles = {row: title.model_copy(update={"usual": {}}) for row, title in study.titles.items()}
    traced = provenance.trace_cell(study, None, "lgtm_released", "rte")
    plan = planned(reproduce.cell_command(traced.runs.wanted, study), tmp_path / "elsewhere")
    assert {cell.run.id for cell in traced.runs.wanted} == {cell.run for cell in plan.cells}


def test_a_folder_stays_a_path_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo").mkdir()
    networks = [save_bert(tmp_path / "zoo" / name) for name in ("tiny-2x64", "minilm")]
    study = remembered(tmp_path, sets=["student=zoo/tiny-2x64", "teacher=zoo/minilm"])
    asked = {cell.run.id for cell in study.of("kd", "rte")}
    for words in (
        reproduce.cell_command(study.of("kd", "rte"), study),
        reproduce.exhibit_command([TABLES.get("table1")()], Path("results"), study),
    ):
        assert {f"student={networks[0]}", f"teacher={networks[1]}"} < set(words)
    assert asked == {
        cell.run for cell in planned(reproduce.cell_command(study.of("kd", "rte"), study), tmp_path / "else").cells
    }
    # where people read it, neither looks like the network that has its name
    assert re.fullmatch(r"tiny-2x64 \([0-9a-f]{6}\)", study.study["student"])
    collect_study("kept", [Store(tmp_path / "results")], tmp_path / "kept", None)
    kept = studies(Store(tmp_path / "kept", create=False))[-1]
    assert kept.study == study.study
    words = reproduce.cell_command(kept.of("kd", "rte"), kept)
    assert {"student=PATH/TO/tiny-2x64", "teacher=PATH/TO/minilm"} < set(words)
    with pytest.raises(UserError, match="There is no model folder 'PATH/TO/tiny-2x64'"):
        planned(words, tmp_path / "elsewhere")


def test_two_folders_with_one_name_look_different(tmp_path: Path) -> None:
    for name, layers in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        save_bert(tmp_path / name / "bert", layers=layers)
    study = remembered(tmp_path, sets=[f"student={tmp_path}/a/bert", f"teacher={tmp_path}/b/bert"])
    names = study.study["student"], study.study["teacher"]
    assert names[0] != names[1]
    assert all(name.startswith("bert (") for name in names)
    alone = remembered(tmp_path / "c", sets=[f"student={tmp_path}/a/bert"])
    assert alone.study["student"] == "bert"


HABITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "other networks and rows": {"sets": ["student=tiny-2x32", "teacher=tiny-3x32", "train_rows=96", "split_seed=3"]},
    "a grid and epochs": {"sets": ["student_lr=1e-3,5e-4", "epochs=2", "lgtm.student_ce=0.5", "kd.temperature=3"]},
    "of one method": {"sets": ["lgtm.epochs=3", "lgtm.teacher_lr=1e-4"]},
    "splits": {"feedback": "validation", "selection": "train:0.2", "seeds": "1,3"},
    "a teacher of its own": {"sets": ["teacher.epochs=2", "teacher.warmup=0.2", "lgtm.teacher_start=finetuned"]},
    "the preset's epochs of a teacher, said": {"sets": ["teacher.epochs=8", "epochs=3"]},
    "other epochs than the preset's, for the teacher alone": {"sets": ["teacher.epochs=6"]},
    "another preset": {"preset": "bert-4l", "source": "generated", "student": "tiny-2x32", "teacher": "tiny-3x32"},
}


def missing(name: str, layer: dict[str, Any], folder: Path) -> Plan:
    """What `kdbench run --for` would plan for a study of one feedback."""
    made = merge_plans(
        request_configs(requests_by_name(name, (TABLES,))[name], {"tasks": "mrpc,rte", "seeds": "0,1", **layer}, folder)
    )
    return made[-1][0]


@pytest.mark.parametrize("name", ["table1", "table2", "table7"])
@pytest.mark.parametrize("habit", HABITS)
def test_the_command_for_a_table_plans_what_it_lacks(habit: str, name: str, tmp_path: Path) -> None:
    """The same runs as if the table had been asked for with the study's own settings."""
    asked = dict(HABITS[habit])
    layer = {**parse_sets(asked.pop("sets", [])), **asked}
    merged = assemble_config({"methods": "kd,lgtm", "tasks": "mrpc,rte", "seeds": "0,1", **layer}, tmp_path)
    store = Store(tmp_path / "results")
    store_sweep(*build_request(merged, make_plan(merged), store, Console()))
    study = studies(store)[-1]
    words = reproduce.exhibit_command([TABLES.get(name)()], store.root, study, tasks=["mrpc", "rte"])
    params = dict(run.command.make_context("run", words[2:]).params)
    assert params.pop("results") == str(store.root)
    sets = parse_sets(params.pop("sets"))
    given = {key: value for key, value in params.items() if value is not None and key in config.engine_keys()}
    twice = [
        missing(name, given, folder) for given, folder in (({**sets, **given}, tmp_path / "else"), (layer, tmp_path))
    ]
    assert twice[0].runs.keys() == twice[1].runs.keys()


def test_the_command_for_a_table_leaves_to_it_what_it_varies(tmp_path: Path) -> None:
    study = remembered(tmp_path, feedback="validation", sets=["lgtm.teacher_ce=0.3"])
    feedback, alpha = (
        reproduce.exhibit_command([TABLES.get(name)()], Path("results"), study) for name in ("table6", "table7")
    )
    assert "--feedback" not in feedback
    assert "lgtm.teacher_ce=0.3" not in alpha
    assert "--results" not in alpha
    assert alpha[alpha.index("--feedback") + 1] == "validation"


def test_a_folder_in_an_option_stays_a_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From elsewhere, `zoo/mid` would be a network of the hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo").mkdir()
    student, middle = (save_bert(tmp_path / "zoo" / name, layers=layers) for name, layers in (("small", 1), ("mid", 2)))
    sets = [f"student={student}", f"teacher={middle}", "takd.assistants=zoo/mid:1+0 :: zoo/mid"]
    study = remembered(tmp_path, sets=sets)
    cells = study.of("takd", "rte")
    words = reproduce.cell_command(cells, study)
    assert f"assistants={middle}:1+0::{middle}" in words
    monkeypatch.chdir("/")
    assert [cell.run for cell in planned(words, Path("/")).cells] == [cell.run.id for cell in cells]


def test_tasks_with_other_settings_have_commands_of_their_own(tmp_path: Path) -> None:
    """One command would train a grid that nobody asked for."""
    remembered(tmp_path, tasks="mrpc,sst2", seeds="0", sets=["precision=bf16"])
    study = remembered(tmp_path, tasks="rte", methods="kd,lgtm")
    said = reproduce.exhibit_commands([TABLES.get("table1")()], Path("results"), study, tasks=["mrpc", "rte", "sst2"])
    start = "kdbench run --for table1 --preset tiny --tasks"
    assert [" ".join(words) for words in said] == [
        f"{start} mrpc,sst2 --seeds 0 --set precision=bf16", f"{start} rte --seeds 0,1",
    ]  # fmt: skip
    # a task that the study does not have is trained like most others
    (other,) = reproduce.exhibit_commands([TABLES.get("table1")()], Path("results"), study, tasks=["qnli"])
    assert " ".join(other) == f"{start} qnli --seeds 0 --set precision=bf16"


def test_a_row_that_a_task_lacks_parts_no_command(tmp_path: Path) -> None:
    remembered(tmp_path, tasks="mrpc", sets=["lgtm.student_lr=5e-4"])
    study = remembered(tmp_path, tasks="rte", methods="kd")
    (said,) = reproduce.exhibit_commands([TABLES.get("table1")()], Path("results"), study, tasks=["mrpc", "rte"])
    assert " ".join(said).endswith("--tasks mrpc,rte --seeds 0,1 --set lgtm.student_lr=0.0005")


def test_a_command_for_rows_has_the_seeds_of_its_task(tmp_path: Path) -> None:
    """A study of several tasks may have three seeds of one and five of another."""
    remembered(tmp_path, tasks="rte", seeds="0-4")
    study = remembered(tmp_path, tasks="mrpc", seeds="2")
    seeds = {
        (task, least): (words := rows_command(study, ["dist"], task, least_seeds=least))[words.index("--seeds") + 1]
        for task in ("rte", "mrpc", "sst2") for least in (1, 2)
    }  # fmt: skip
    assert seeds == {
        ("rte", 1): "0,1,2,3,4", ("rte", 2): "0,1,2,3,4",
        ("mrpc", 1): "2", ("mrpc", 2): "0,1,2",
        ("sst2", 1): "0,1,2,3,4", ("sst2", 2): "0,1,2,3,4",
    }  # fmt: skip
