"""A run's id changes exactly when its result could."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kdbench.core.spec import RunSpec
from tests.kdbench.small_runs import plan, the_run


def run_id(folder: Path, *sets: str, **given: str) -> str:
    return the_run(plan(folder, *sets, **{"methods": "lgtm", **given})).id


@pytest.mark.parametrize(
    "change",
    [
        "student_lr=2e-3", "teacher_lr=2e-3", "epochs=3", "batch_size=8", "max_length=32", "seeds=1",
        "lgtm.student_ce=0.5", "lgtm.influence=fda", "student=tiny-1x64", "teacher=tiny-4x32", "precision=bf16",
        "feedback=validation", "selection=validation", "train_rows=90", "split_seed=1", "warmup=0.2", "adam_eps=1e-8",
        "bucket=1", "recipe=1", "dropout=packed", "last_layer=first", "compile=true",
        "lgtm.influence_center=batch", "lgtm.influence_bound=0.5",
    ],
)  # fmt: skip
def test_what_can_change_a_result_changes_the_id(tmp_path: Path, change: str) -> None:
    assert run_id(tmp_path, change) != run_id(tmp_path)


@pytest.mark.parametrize(
    "change",
    ["device=cpu", "threads=2", "checkpoint_seconds=1", "probe_size=7", "results=other", "trim_embedding=false"],
)
def test_what_cannot_does_not(tmp_path: Path, change: str) -> None:
    assert run_id(tmp_path, change) == run_id(tmp_path)


@pytest.mark.parametrize("said", ["bucket=50", "dropout=torch", "last_layer=whole", "compile=false"])
def test_what_came_later_leaves_the_ids_of_before(tmp_path: Path, said: str) -> None:
    """Of results that were there before the setting was."""
    spec = the_run(plan(tmp_path, said, methods="lgtm"))
    assert said.partition("=")[0] not in spec.identity()["training"]
    assert spec.id == run_id(tmp_path)


def test_a_stored_spec_without_recipe_is_that_of_the_earlier_recipe(tmp_path: Path) -> None:
    spec = the_run(plan(tmp_path, "recipe=1", methods="lgtm"))
    assert "recipe" not in spec.identity()["training"]
    stored = spec.model_dump(mode="json")
    del stored["training"]["recipe"]
    assert RunSpec.model_validate(stored).id == spec.id


@pytest.mark.parametrize("said", ["lgtm.influence_center=none", "lgtm.influence_bound=0"])
def test_a_methods_later_option_leaves_the_ids_of_before(tmp_path: Path, said: str) -> None:
    spec = the_run(plan(tmp_path, said, methods="lgtm"))
    assert said.partition("=")[0].removeprefix("lgtm.") not in spec.options
    assert spec.id == run_id(tmp_path)


def test_what_the_method_does_not_read_does_not(tmp_path: Path) -> None:
    """Fine-tuning the student knows no teacher and no feedback, and no other method's options."""
    plain = run_id(tmp_path, methods="finetune")
    for change in ("teacher=tiny-4x32", "teacher_lr=1e-5", "feedback=validation", "lgtm.student_ce=0.5"):
        assert run_id(tmp_path, change, methods="finetune") == plain


def test_a_teacher_belongs_to_its_students_identity(tmp_path: Path) -> None:
    assert run_id(tmp_path, "teacher=tiny-4x32", methods="kd") != run_id(tmp_path, methods="kd")
    assert run_id(tmp_path, "teacher_lr=5e-4", methods="kd") != run_id(tmp_path, methods="kd")


def test_the_method_version_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.methods.lgtm import LGTM

    before = run_id(tmp_path)
    monkeypatch.setattr(LGTM, "version", 99)
    assert run_id(tmp_path) != before


def write_sst2(folder: Path, first: str = "a fine film ") -> Path:
    rows = "".join(f"{first if i == 0 else f'sentence number {i} '}\t{i % 2}\n" for i in range(40))
    for name in ("train.tsv", "dev.tsv"):
        (folder / "SST-2").mkdir(parents=True, exist_ok=True)
        (folder / "SST-2" / name).write_text("sentence\tlabel\n" + rows)
    return folder


def test_data_and_models_count_by_content_not_by_folder(tmp_path: Path) -> None:
    here, there = write_sst2(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(here, there)
    changed = write_sst2(tmp_path / "c", first="a bad film ")
    ids = [run_id(tmp_path, tasks="sst2", glue_dir=str(f)) for f in (here, there, changed)]
    assert ids[0] == ids[1] != ids[2]


def test_a_variant_is_its_options(tmp_path: Path) -> None:
    spelled = ["ce_weight=0.6", "kd_weight=0.4"]
    assert run_id(tmp_path, methods="dml_lgtm") == run_id(tmp_path, *spelled, methods="dml")
