"""TinyBERT and MiniLM against the values of original implementations, on tensors and on whole networks."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.core.settings import Training
from kdbench.data.batches import Batch
from kdbench.distill.losses import soft_cross_entropy
from kdbench.distill.token_features import attention_scores, masked_mse, pair_mask, relation_kl
from kdbench.distill.trainable import TrainableModel
from kdbench.methods.minilm import MiniLM, MiniLMOptions, default_heads
from kdbench.methods.tinybert import TinyBERT, TinyBERTOptions, layer_map
from tests.methods.golden import FOLDER, bare, compare, learner, tensor

GOLDEN = json.loads((FOLDER / "losses2.json").read_text())


def entries(method: str, function: str) -> list[Any]:
    """Golden entries of a function, as parameters of a test."""
    found = [e for e in GOLDEN["entries"] if e["method"] == method and e["fn"] == function]
    assert found
    return [pytest.param(e, id=e["id"]) for e in found]


def tolerance_of(case: dict[str, Any]) -> float:
    return 2e-5 if case["dtype"] == "float32" else 1e-9


def tensors(case: dict[str, Any], name: str) -> list[Tensor]:
    return [tensor(values, case["dtype"]) for values in case[name]]


def linear(weight: Any, bias: Any, dtype: str) -> nn.Linear:
    w, b = (tensor(values, dtype, grad=False) for values in (weight, bias))
    module = nn.Linear(w.shape[1], w.shape[0], dtype=w.dtype)
    module.load_state_dict({"weight": w, "bias": b})
    return module


def tinybert(projection: nn.Module, **options: Any) -> Any:
    return bare(TinyBERT, TinyBERTOptions(padding="include", **options), projection=learner(projection, 1.0))


@pytest.mark.parametrize("entry", entries("tinybert", "task_distill.intermediate"))
def test_original_first_stage(entry: dict[str, Any]) -> None:
    case, outputs = GOLDEN["inputs"][entry["input"]], entry["outputs"]
    tolerance, mask = tolerance_of(case), torch.tensor(case["attention_mask"])
    method = tinybert(linear(case["fit_weight"], case["fit_bias"], case["dtype"]))
    s_scores, t_scores, s_states, t_states = (
        tensors(case, name) for name in ("s_scores", "t_scores", "s_states", "t_states")
    )
    layers = layer_map("uniform", len(t_scores), len(s_scores))
    attention = method.attention_distance([t_scores[i - 1] for i in layers], s_scores, mask)
    states = method.state_distance([t_states[i] for i in (0, *layers)], s_states, mask)
    compare(attention, outputs["parts"]["att"], tolerance, "attention")
    compare(states, outputs["parts"]["rep"], tolerance, "states")
    compare(attention + states, outputs["loss"], tolerance, "loss")
    (attention + states).backward()
    found = {"scores": s_scores, "states": s_states}
    for name, some in found.items():
        for part, wanted in zip(some, outputs[f"grad_s_{name}"], strict=True):
            compare(part.grad, wanted, tolerance, name)
    module = method.projection.module
    compare(module.weight.grad, outputs["grad_fit_weight"], tolerance, "weight")
    compare(module.bias.grad, outputs["grad_fit_bias"], tolerance, "bias")


@pytest.mark.parametrize("entry", entries("tinybert", "task_distill.soft_cross_entropy"))
def test_original_second_stage(entry: dict[str, Any]) -> None:
    case, outputs = GOLDEN["inputs"][entry["input"]], entry["outputs"]
    s, t = tensor(case["s"], case["dtype"]), tensor(case["t"], case["dtype"], grad=False)
    loss = bare(TinyBERT, TinyBERTOptions(temperature=entry["settings"]["T"])).second_stage(t, s)
    compare(loss, outputs["loss"], tolerance_of(case), "loss")
    loss.backward()
    assert s.grad is not None
    compare(s.grad, outputs["grad_s"], tolerance_of(case), "grad_s")


def relation_options(o: dict[str, Any]) -> MiniLMOptions:
    weights = {m: weight for m, _, weight in o["relations"]}
    return MiniLMOptions(
        query_weight=weights.get(1, 0.0), key_weight=weights.get(2, 0.0), value_weight=weights.get(3, 0.0)
    )


def of_equals(parameters: list[Any]) -> list[Any]:
    """Leave out relations between queries and keys, which MiniLMv2's paper compares with and we do not offer."""
    return [p for p in parameters if all(m == n for m, n, _ in p.values[0]["settings"]["relations"])]


@pytest.mark.parametrize("entry", of_equals(entries("minilmv2", "bloomberg.MiniLM.forward")))
def test_original_relations(entry: dict[str, Any]) -> None:
    case, outputs, o = GOLDEN["inputs"][entry["input"]], entry["outputs"], entry["settings"]
    tolerance, mask = tolerance_of(case), torch.tensor(case["attention_mask"])
    s, t = tensors(case, "s_qkv"), tensors(case, "t_qkv")
    loss = bare(MiniLM, relation_options(o), heads=o["A_r"]).relations(tuple(t), tuple(s), mask)
    compare(loss, outputs["loss"], tolerance, "loss")
    for name, target, states in zip(("qq", "kk", "vv"), t, s, strict=True):
        if name in outputs["parts"]:
            compare(relation_kl(target, states, o["A_r"], mask), outputs["parts"][name], tolerance, name)
    loss.backward()
    for part, wanted in zip(s, outputs["grad_s_qkv"], strict=True):
        if part.grad is not None and wanted is not None:
            compare(part.grad, wanted, tolerance, "gradient")


CASE = GOLDEN["inputs"]["bert_C2_L6_S2x8_T4x16_float64"]


def golden_bert(role: str) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = CASE["config" if role == "student" else "teacher_config"]
    config = BertConfig(vocab_size=CASE["vocab_size"], **sizes)
    model = BertForSequenceClassification._from_config(config, attn_implementation="sdpa").double()
    own = {k: tensor(v, "float64", grad=False) for k, v in CASE[role].items() if not k.startswith("fit_dense")}
    missing, unexpected = model.load_state_dict(own, strict=False)
    assert set(unexpected) == set()
    assert all("position_ids" in name for name in missing)
    return model


def golden_batch() -> Batch:
    ids, mask, types = (torch.tensor(CASE[name]) for name in ("input_ids", "attention_mask", "token_type_ids"))
    return Batch(ids, mask, types, torch.zeros(len(ids), dtype=torch.long), torch.arange(len(ids)))


def compare_gradients(grads: dict[str, Any], student: nn.Module, projection: nn.Module | None = None) -> None:
    """Compare with golden gradients by Hugging Face name; `fit_dense` is the projection."""
    for name, wanted in grads.items():
        module, own = (projection, name.removeprefix("fit_dense.")) if name.startswith("fit_dense") else (student, name)
        assert module is not None
        grad = dict(module.named_parameters())[own].grad
        assert grad is not None, name
        compare(grad, wanted, 1e-9, name)


def networks() -> tuple[TrainableModel, TrainableModel]:
    return learner(golden_bert("student"), 1.0), learner(golden_bert("teacher"), 1.0)


def test_original_first_stage_on_whole_networks() -> None:
    (entry,) = (p.values[0] for p in entries("tinybert", "task_distill end to end, stage 1"))
    weights = (CASE["student"][f"fit_dense.{name}"] for name in ("weight", "bias"))
    method = tinybert(linear(*weights, "float64"))
    method.student, method.teacher = networks()
    method.layers, method.heads = layer_map("uniform", 4, 2), CASE["num_heads"]
    attention, states = method.first_stage(golden_batch())
    compare(attention, entry["outputs"]["parts"]["att"], 1e-9, "attention")
    compare(states, entry["outputs"]["parts"]["rep"], 1e-9, "states")
    (attention + states).backward()
    compare_gradients(entry["outputs"]["grads"], method.student.module, method.projection.module)
    assert method.student.module.classifier.weight.grad is None


def test_original_second_stage_on_whole_networks() -> None:
    """The original's classifier reads relu(pooled), so it is put in the place of the networks' own."""
    (entry,) = (p.values[0] for p in entries("tinybert", "task_distill end to end, stage 2"))
    batch, found = golden_batch(), []
    student, teacher = (learner_.module for learner_ in networks())
    for module in (teacher, student):
        found.append(module.classifier(module.bert(**batch.inputs).pooler_output.relu()))
    loss = bare(TinyBERT, TinyBERTOptions()).second_stage(found[0].detach(), found[1])
    compare(loss, entry["outputs"]["loss"], 1e-9, "loss")
    loss.backward()
    compare_gradients(entry["outputs"]["grads"], student)


@pytest.mark.parametrize("entry", of_equals(entries("minilmv2", "bloomberg.MiniLM end to end")))
def test_original_relations_on_whole_networks(entry: dict[str, Any]) -> None:
    o, batch = entry["settings"], golden_batch()
    student, teacher = networks()
    s, t = student.outputs(batch, qkv=(o["student_layer"],)), teacher.outputs(batch, qkv=(o["teacher_layer"],))
    loss = bare(MiniLM, relation_options(o), heads=o["A_r"]).relations(t.qkv[0], s.qkv[0], batch.attention_mask)
    compare(loss, entry["outputs"]["loss"], 1e-9, "loss")
    loss.backward()
    compare_gradients(entry["outputs"]["grads"], student.module)
    assert student.module.classifier.weight.grad is None


def test_scores_give_the_attention_maps_of_the_network() -> None:
    model = golden_bert("student")
    model.set_attn_implementation("eager")
    batch = golden_batch()
    out = learner(model, 1.0).outputs(batch, output_attentions=True, qkv=(1, 2))
    for (query, key, _), wanted in zip(out.qkv, out.attentions, strict=True):
        maps = attention_scores(query, key, CASE["num_heads"], batch.attention_mask).softmax(3)
        assert torch.allclose(maps, wanted, atol=1e-12)


def test_micro_batches_and_parts_give_the_same_queries() -> None:
    batch, whole = golden_batch(), learner(golden_bert("student"), 1.0)
    parts = TrainableModel(
        golden_bert("student"), lr=1.0, length=1, training=Training(), device=torch.get_default_device(), micro_batch=1
    )
    one, many = (network.outputs(batch, qkv=(2,), output_hidden_states=True) for network in (whole, parts))
    for a, b in zip((*one.qkv[0], one.logits), (*many.qkv[0], many.logits), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    many.qkv[0][0].sum().backward()
    one.qkv[0][0].sum().backward()
    name = "bert.encoder.layer.1.attention.self.query.weight"
    found = [dict(network.module.named_parameters())[name].grad for network in (whole, parts)]
    assert torch.allclose(found[0], found[1], atol=1e-12)


def test_means_over_real_tokens_by_hand() -> None:
    values, mask = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [5.0], [7.0]]]), torch.tensor([[1, 1, 0], [1, 0, 0]])
    zeros = torch.zeros_like(values)
    assert masked_mse(zeros, values, mask[..., None]).item() == pytest.approx((1 + 9 + 4) / 3)
    assert masked_mse(zeros, values, None).item() == pytest.approx(values.square().mean().item())
    scores = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert masked_mse(0 * scores, scores, pair_mask(mask[:1])).item() == pytest.approx((0 + 1 + 9 + 16) / 4)


def test_layer_maps_and_parts_of_the_width() -> None:
    assert layer_map("uniform", 12, 6) == (2, 4, 6, 8, 10, 12)
    assert layer_map("uniform", 3, 2) == (1, 3)
    assert layer_map("last", 12, 3) == (10, 11, 12)
    assert [default_heads(*widths) for widths in ((768, 768), (768, 384), (768, 312), (64, 64), (32, 32))] == [
        48, 48, 24, 4, 2,
    ]  # fmt: skip


def test_the_second_stage_begins_with_an_optimiser_of_its_own() -> None:
    student, s = learner(nn.Linear(2, 2), 1.0), torch.ones(3, 2)
    student.step(student.module(s).sum())
    assert student.optimizer.state
    student.restart_optimizer(10)
    assert (student.updates, student.length, student.current_lr) == (0, 10, 1.0)
    assert not student.optimizer.state
    method = bare(TinyBERT, TinyBERTOptions(), first_steps=3, spec=SimpleNamespace())
    assert [method.may_be_best(step) for step in (1, 3, 4)] == [False, False, True]


def test_the_second_stage_is_a_mean_over_classes_too() -> None:
    t, s = torch.randn(4, 3), torch.randn(4, 3)
    loss = bare(TinyBERT, TinyBERTOptions()).second_stage(t, s)
    assert torch.allclose(3 * loss, soft_cross_entropy(t, s))
