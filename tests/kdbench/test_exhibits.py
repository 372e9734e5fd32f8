"""From what tables and figures need to plans."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kdbench.core.errors import UserError
from kdbench.planning.exhibits import Request, merge_plans, request_configs, requests_by_name
from kdbench.planning.plan import Plan
from kdbench.reporting.tables import TABLES


def made(folder: Path, *requests: Request, **given: Any) -> list[Plan]:
    layer = {"tasks": "rte", **given}
    return [plan for plan, _ in merge_plans(request_configs(requests, layer, folder))]


def values(plan: Plan, key: str) -> Mapping[str, set[Any]]:
    """An option, by row."""
    found: dict[str, set[Any]] = {}
    for cell in plan.cells:
        found.setdefault(cell.row, set()).add(plan.runs[cell.run].options.get(key))
    return found


def test_what_is_varied_reaches_the_methods_that_are_asked_for(tmp_path: Path) -> None:
    (plan,) = made(tmp_path, Request("kd,lgtm", {"kd_loss": "mse"}), Request("dist"))
    assert values(plan, "kd_loss") == {"kd": {"mse"}, "lgtm": {"mse"}, "dist": {None}}
    assert {cell.row: dict(cell.varies) for cell in plan.cells} == {
        "kd": {"kd_loss": "mse"}, "lgtm": {"kd_loss": "mse"}, "dist": {},
    }  # fmt: skip


def test_a_variant_is_varied_beyond_what_it_is(tmp_path: Path) -> None:
    (plan,) = made(tmp_path, Request("lgtm_printed", {"influence": "jvp"}))
    assert values(plan, "influence") == {"lgtm_printed": {"jvp"}}
    assert values(plan, "influence_sign") == {"lgtm_printed": {1}}  # still as printed


def test_equal_data_and_splits_are_one_plan_and_equal_runs_one_run(tmp_path: Path) -> None:
    usual, loss = Request("lgtm"), Request("lgtm", {"kd_loss": "kl"})  # what it is anyway
    other = Request("lgtm", {"feedback": "train:0.05"})
    first, second = made(tmp_path, usual, loss, usual, other)
    assert len(first.runs) == 1
    assert [dict(cell.varies) for cell in first.cells] == [{}, {"kd_loss": "kl"}]
    assert (first.study.feedback, second.study.feedback) == ("train:0.1", "train:0.05")


def test_an_absorbed_plan_keeps_snapshots(tmp_path: Path) -> None:
    plain, route = (made(tmp_path, Request(name), tasks="mrpc")[0] for name in ("kd", "rco"))
    (parent,) = plain.runs.keys() & route.runs.keys()
    assert not plain.runs[parent].snapshots
    plain.absorb(route)
    assert plain.runs[parent].snapshots == route.runs[parent].snapshots != ()
    assert len(plain.cells) == 2


def test_who_wins(tmp_path: Path) -> None:
    """The command line over the request, the request over kdbench.toml, that over the preset."""
    (tmp_path / "kdbench.toml").write_text(
        'preset = "tiny"\nmethods = "dml"\ntasks = "qqp"\nseeds = "7"\n[lgtm]\nkd_loss = "kl"\nteacher_ce = 0.3\n'
    )
    request = Request("lgtm", {"kd_loss": "dist"}, {"preset": "bert-4l", "tasks": "mnli"})
    (plan,) = made(tmp_path, request, preset="tiny", tasks=None)
    (cell,) = plan.cells
    assert (plan.preset, cell.row, cell.task, cell.seed) == ("tiny", "lgtm", "mnli", 7)
    assert plan.runs[cell.run].options["kd_loss"] == "dist"
    assert plan.runs[cell.run].options["teacher_ce"] == 0.3
    (plan,) = made(tmp_path, request, preset="tiny", lgtm={"kd_loss": "mse"}, seeds="1")
    assert (plan.cells[0].seed, plan.runs[plan.cells[0].run].options["kd_loss"]) == (1, "mse")


def test_a_request_for_a_preset_is_weaker_than_the_command_line_only(tmp_path: Path) -> None:
    (tmp_path / "kdbench.toml").write_text('preset = "minilm"\nsource = "generated"\nstudent = "tiny-2x32"\n')
    ((_, config),) = request_configs([Request("kd", settings={"preset": "bert-4l"})], {}, tmp_path)
    assert config.files[0]["preset"] == "bert-4l"
    ((_, config),) = request_configs([Request("kd", settings={"preset": "bert-4l"})], {"preset": "tiny"}, tmp_path)
    assert config.files[0]["preset"] == "tiny"


def test_the_name_of_a_plan_tells_varied_cells_from_others(tmp_path: Path) -> None:
    varied = made(tmp_path, Request("lgtm", {"kd_loss": "kl"}))[0]
    plain = made(tmp_path, Request("lgtm"))[0]
    assert varied.runs == plain.runs
    assert varied.id != plain.id


def test_every_table_that_asks_for_runs_can_be_planned(tmp_path: Path) -> None:
    for name, requests in requests_by_name("all", (TABLES,)).items():
        found = made(tmp_path, *requests, preset="tiny")
        assert found, name
        assert all(plan.cells for plan in found), name


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("table11", "Unknown table or figure 'table11'. Did you mean 'table1'"),
        ("table1,", "Unknown table or figure ''"),
        ("table5", "table5 needs no runs; those that do are calibration, cost, deploy, fidelity, table1"),
    ],
)
def test_names_that_cannot_be(names: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        requests_by_name(names, (TABLES,))
    assert str(error.value).startswith(sentence)


def test_methods_are_not_given_twice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave out --methods"):
        made(tmp_path, Request("kd"), methods="dml")
