"""What a notebook does with kdbench: run a study, look at it as data frames, take tables and figures as objects."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import kdbench
from kdbench.data.task_registry import TASKS

SETTINGS = {"student": "tiny-1x32", "teacher": "tiny-1x32", "epochs": 1, "train_rows": 100, "threads": 1, "jobs": 1}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook") / "results"


@pytest.fixture(scope="module")
def runs(results: Path) -> pd.DataFrame:
    settings = {**SETTINGS, "kd.temperature": [2, 4]}
    return kdbench.run_study(["kd", "finetune"], "rte", range(2), results=results, settings=settings)


def test_a_study_gives_a_row_a_run(runs: pd.DataFrame, results: Path) -> None:
    assert set(runs["status"]) == {"done"}
    assert runs["run"].is_unique
    kd = runs[runs["method"] == "kd"]
    assert sorted(zip(kd["seed"], kd["temperature"], strict=True)) == [(0, 2.0), (0, 4.0), (1, 2.0), (1, 4.0)]
    assert set(kd["teacher's epochs"]) == {1.0}
    assert set(kd["row"]) == {"kd"}
    for row in runs.to_dict("records"):
        stored = kdbench.load_results(results).set_index("run").loc[row["run"]]
        assert stored["validation accuracy"] == row["validation accuracy"]
        assert 0 <= row["validation accuracy"] <= 100
        assert row["train rows"] == 90
        assert row["cost train_seconds"] > 0


def test_a_file_becomes_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TASKS, "_found", None)
    rows = "".join(f"film {i} was {('good', 'bad')[i % 2]},{('yes', 'no')[i % 2]}\n" for i in range(120))
    Path("reviews.csv").write_text(f"review,liked\n{rows}")
    settings = {key: value for key, value in SETTINGS.items() if key != "train_rows"}
    found = kdbench.run_study("finetune", data="reviews.csv", results="results", settings=settings)
    assert list(found["task"]) == ["reviews"]
    assert 0 <= found["held_out accuracy"][0] <= 100
    assert Path("tasks/reviews.toml").exists()
    # the file changes while the notebook is open
    Path("reviews.csv").write_text(f"review,liked\n{rows.replace('film 1 ', 'movie 1 ')}")
    again = kdbench.run_study("finetune", "reviews", results="results", settings=settings)
    assert again["run"][0] != found["run"][0]


def test_what_is_left_out_is_taken_from_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kdbench.toml").write_text('methods = "finetune"\ntasks = "rte"\nseeds = 3\nresults = "mine"\n')
    found = kdbench.run_study(settings=SETTINGS)
    assert found[["method", "task", "seed"]].values.tolist() == [["finetune", "rte", 3]]
    assert list(kdbench.load_results("mine")["run"]) == list(found["run"])


def test_scores_are_those_of_the_table(runs: pd.DataFrame, results: Path) -> None:
    table = kdbench.make_table(1, results)
    best = runs[runs["method"] == "kd"].groupby("temperature")[["validation accuracy"]].mean()
    assert table.frame.loc["KD", "Avg."].partition("±")[0].rstrip("°§") in {
        f"{v:.1f}" for v in best["validation accuracy"]
    }
    assert list(table.numbers["row"].unique()) == list(dict.fromkeys(record["row"] for record in table.records))
    assert "<table" in table._repr_html_()


def test_a_figure_is_a_matplotlib_figure(runs: pd.DataFrame, results: Path, tmp_path: Path) -> None:
    figure = kdbench.make_figure("scores", results, width="page")
    figure.savefig(tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size > 5000
    assert figure.get_size_inches()[0] == pytest.approx(6.8)


@pytest.mark.parametrize(("call", "message"), [
    (lambda folder: kdbench.load_results(folder / "nowhere"), "no results folder"),
    (lambda folder: kdbench.make_table(9, folder), "Unknown table"),
    (lambda folder: kdbench.make_figure("nine", folder), "Unknown figure"),
    (lambda folder: kdbench.run_study("kd", "rte", results=folder, settings={"no_such": 1}), "no_such"),
    (lambda folder: kdbench.run_study("kd", "rte", results=folder, settings={"pkd.beta": 9}), "reads pkd.beta"),
])  # fmt: skip
def test_bad_input_is_a_user_error(call: object, message: str, runs: pd.DataFrame, results: Path) -> None:
    with pytest.raises(kdbench.UserError, match=message):
        call(results)  # type: ignore[operator]


def test_everything_that_is_offered_is_there() -> None:
    assert all(getattr(kdbench, name).__doc__ for name in kdbench.__all__)
