"""What runs leave is checked when it is used; the same command trains a damaged run again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.errors import RunFailure, UserError
from kdbench.planning.plan import Plan
from kdbench.results.checksums import find_damage
from kdbench.results.predictions import read_predictions
from kdbench.results.store import Store
from kdbench.results.verification import verify_results
from kdbench.training.runner import execute
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run, train

Trained = tuple[Plan, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A student of KD and its teacher."""
    folder = tmp_path_factory.mktemp("trained")
    made = plan(folder, "epochs=1", methods="kd")
    train(made, Store(folder / "results"))
    return made, folder / "results"


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> tuple[Plan, Store]:
    shutil.copytree(trained[1], tmp_path / "results")
    return trained[0], Store(tmp_path / "results")


def overwrite(file: Path) -> None:
    """Change four bytes, and neither size nor times: as a disk does."""
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[-64:-60] = bytes(255 - byte for byte in content[-64:-60])
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))


def test_every_file_has_its_checksum(copied: tuple[Plan, Store]) -> None:
    made, store = copied
    run = store.run(the_run(made).id)
    known = json.loads((run.path / "checksums.json").read_text(encoding="utf-8"))["files"]
    assert {"result.json", "cost.json", "series.jsonl", "predictions.safetensors", "model/model.safetensors"} <= set(
        known
    )
    assert verify_results(store).lines() == ["2 finished runs whole, 0 damaged."]


@pytest.mark.parametrize("how", ["empty", "cut", "deleted file", "deleted folder"])
def test_a_teacher_that_lost_its_model_is_trained_again(copied: tuple[Plan, Store], how: str) -> None:
    made, store = copied
    teacher = store.run(the_run(made).needs["teacher"])
    before, weights = contents(store, teacher.id), teacher.model / "model.safetensors"
    assert teacher.is_done()
    if how == "deleted folder":
        shutil.rmtree(teacher.model)
    elif how == "deleted file":
        weights.unlink()
    else:
        weights.write_bytes(b"" if how == "empty" else weights.read_bytes()[:1000])
    assert not teacher.is_done()
    train(made, store)
    assert teacher.is_done()
    assert contents(store, teacher.id) == before
    assert "trained again: model" in teacher.log.read_text(encoding="utf-8")


def test_other_scores_of_a_run_that_is_trained_again_are_told(copied: tuple[Plan, Store]) -> None:
    """As on another machine. Its student may have learned from the network that is gone."""
    made, store = copied
    teacher = store.run(the_run(made).needs["teacher"])
    stored = read_json(teacher.path / "result.json")
    elsewhere = json.loads(json.dumps(stored))
    elsewhere["best"]["report"]["validation"]["accuracy"] += 0.125
    for before in (elsewhere, stored):  # and it is not forgotten when the scores are the same the next time
        if before is elsewhere:
            write_json(teacher.path / "result.json", before)
            teacher.write_checksums()
        shutil.rmtree(teacher.model)
        train(made, store)
        assert read_json(teacher.path / "result.json") == {**stored, "had_other_scores": True}


def test_four_changed_bytes_of_a_teacher_are_found_by_its_student(copied: tuple[Plan, Store]) -> None:
    made, store = copied
    spec = the_run(made)
    teacher, student = store.run(spec.needs["teacher"]), store.run(spec.id)
    before = contents(store, teacher.id), contents(store, student.id)
    overwrite(teacher.model / "model.safetensors")
    shutil.rmtree(student.path)
    with pytest.raises(RunFailure) as caught:
        execute(spec, store, CPU, FEW)
    assert caught.value.kind == "damaged"
    assert str(caught.value) == (
        f"model/model.safetensors has other bytes than were written in {teacher.path}; the same command trains that "
        "run again."
    )
    assert (teacher.state().status, teacher.state().kind) == ("failed", "damaged")
    train(made, store)
    assert (contents(store, teacher.id), contents(store, student.id)) == before


@pytest.mark.parametrize("name", ["result.json", "predictions.safetensors"])
def test_changed_results_are_not_shown(copied: tuple[Plan, Store], name: str) -> None:
    made, store = copied
    run = store.run(the_run(made).id)
    overwrite(run.path / name)
    if name == "result.json":
        assert run.result() is None
        assert not run.is_done()
    else:
        with pytest.raises(UserError, match="has no readable predictions"):
            read_predictions(run)
    assert list(verify_results(store).damaged) == [run.id]


def test_runs_of_earlier_versions_have_no_checksums_and_are_as_good(copied: tuple[Plan, Store]) -> None:
    made, store = copied
    run = store.run(the_run(made).id)
    (run.path / "checksums.json").unlink()
    assert run.is_done()
    assert find_damage(run.path) == ""
    assert verify_results(store).lines() == ["1 finished runs whole, 0 damaged, 1 without checksums (readable)."]
