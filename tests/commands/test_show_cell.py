"""`kdbench show ROW TASK`: from a cell of the table to its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.reporting import provenance
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import full, states
from tests.commands.test_commands import call, call_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells")
    full(path / "results", seeds=(0, 1))
    return path


def test_the_runs_of_a_cell_are_those_of_the_table(folder: Path) -> None:
    study = studies(Store(folder / "results"))[-1]
    sheet = provenance.build_traced_table(study)
    assert sheet is not None
    for row in provenance.traceable_rows(study):
        for task in study.tasks:
            behind = {r["run"] for r in sheet.records if (r["row"], r["task"]) == (row, task)}
            traced = provenance.trace_cell(study, sheet, row, task)
            assert {cell.run.id for cell in traced.runs.shown} == behind
            assert traced.entry is not None
            assert {cell.cell.seed for cell in traced.runs.shown} == {0, 1}


@pytest.mark.slow
def test_a_cell(folder: Path) -> None:
    text = call(folder, "show", "lgtm", "mrpc")
    row = next(line for line in call(folder, "table", "1").splitlines() if line.startswith("LGTM "))
    assert text.splitlines()[0] == f"LGTM on MRPC  {row.split()[1].rstrip('°')}  F1/Acc."
    behind, _, others = text.partition("Finished, but not behind the numbers")
    assert behind.count("  mrpc-lgtm-s") == 2
    assert others.count("  mrpc-lgtm-s") == 2
    assert "5e-05" not in text
    for fact in ("fingerprint  data-mrpc", "selection  train:0.1", "student  s-net", "device", "python"):
        assert fact in text
    command = next(line for line in text.splitlines() if line.startswith("  kdbench run --methods lgtm"))
    asked = "--methods lgtm --tasks mrpc --seeds 0,1 --preset bert-6l --set student=s-net --set teacher=t-net"
    assert command.startswith(f"  kdbench run {asked} --feedback train:0.1 --selection train:0.1 --set student_lr=")
    assert "kdbench run --methods kd --set 'a b=1'" in text  # as it was typed


@pytest.mark.slow
def test_a_cell_without_finished_runs(tmp_path: Path) -> None:
    _, runs = states(tmp_path / "results")
    text = call(tmp_path, "show", "kd", "rte")
    assert f"blocked  It waits for {runs['failed']}, which failed." in text
    text = call(tmp_path, "show", "teacher", "rte")
    assert "failed  non-finite: the loss is nan at step 3" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("show lgtn mrpc", "Unknown row 'lgtn'. Did you mean 'lgtm'"),
        ("show lgtm mrp", "Unknown task 'mrp'. Did you mean 'mrpc'"),
        ("show lgtm mrpc --preset tiney", "Unknown preset 'tiney'. Did you mean 'tiny'"),
        ("show lgtm mrpc --preset minilm", "There are no results of preset minilm in results"),
        ("show lgtm --preset tiny", "--preset narrows a cell"),
        ("show lgtm mrpc --results nowhere", "There are no results in nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, arguments: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert call_here(arguments.split(), monkeypatch) == 2
    text = capsys.readouterr().err
    assert text.startswith("kdbench: ")
    assert sentence in text
    assert text.count("\n") == 1
