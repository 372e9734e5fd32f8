"""Stands the golden networks up as learners, and compares with golden values."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kdbench.core.settings import Training
from kdbench.data.batches import Batch
from kdbench.distill.hidden_states import FeatureView, layer_pairs
from kdbench.distill.trainable import TrainableModel
from kdbench.methods.lgtm import LGTM, LGTMOptions
from kdbench.methods.meta_distill import MetaDistill, MetaDistillOptions

FOLDER = Path(__file__).parent.parent / "golden"


def load_golden(name: str) -> dict[str, Tensor]:
    """Load golden tensors onto torch's default device, which benchmarks/gpu.sh sets to a GPU."""
    return load_file(FOLDER / name, device=str(torch.get_default_device()))


class Perceptron(nn.Module):
    """Linear, tanh, Linear; `input_ids` are the features."""

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__()
        for layer in ("fc1", "classifier"):
            weight = torch.tensor(weights[f"{layer}.weight"], dtype=torch.float64)
            module = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
            module.weight.data, module.bias.data = weight, torch.tensor(weights[f"{layer}.bias"], dtype=torch.float64)
            self.add_module(layer, module)

    def forward(self, input_ids: Tensor, **rest: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.classifier(self.fc1(input_ids).tanh()))


def mlp_case(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "lgtm_mlp.json").read_text())[name]


def features(data: dict[str, Any]) -> Batch:
    x, y = torch.tensor(data["x"], dtype=torch.float64), torch.tensor(data["y"])
    return Batch(x, x, x, y, torch.arange(len(y)))


def bert(role: str, dtype: torch.dtype, **changes: Any) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = json.loads((FOLDER / "bert_C3_data.json").read_text())[f"{role}_config"] | changes
    model = BertForSequenceClassification._from_config(BertConfig(**config), attn_implementation="eager")
    model.load_state_dict(load_golden(f"bert_C3_{role}.safetensors"))
    return model.to(dtype)


def tokens(name: str) -> Batch:
    data = json.loads((FOLDER / "bert_C3_data.json").read_text())[name]
    ids = torch.tensor(data["input_ids"])
    types = torch.tensor(data.get("token_type_ids", torch.zeros_like(ids).tolist()))
    return Batch(ids, torch.tensor(data["attention_mask"]), types, torch.tensor(data["labels"]), torch.arange(len(ids)))


def learner(module: nn.Module, lr: float) -> TrainableModel:
    return TrainableModel(module, lr=lr, length=10**9, training=Training(), device=torch.get_default_device())


def lgtm(student: nn.Module, teacher: nn.Module, student_lr: float, teacher_lr: float = 1.0, **options: Any) -> LGTM:
    """The method on given networks, without a run around it."""
    method = LGTM.__new__(LGTM)
    method.options = LGTMOptions(**options)
    method.student, method.teacher = learner(student, student_lr), learner(teacher, teacher_lr)
    method.context = SimpleNamespace(probe_is_due=False, probe=None)
    return method


def meta(student: nn.Module, teacher: nn.Module, classes: int, teacher_lr: float = 1.0, **options: Any) -> MetaDistill:
    """Meta Distill on given networks, without a run around it; with beta > 0 both are BERTs."""
    method = MetaDistill.__new__(MetaDistill)
    method.options = MetaDistillOptions(**options)
    method.student, method.teacher = learner(student, 1.0), learner(teacher, teacher_lr)
    method.context = SimpleNamespace(num_labels=classes, device=torch.get_default_device())
    method.teacher_view, method.student_view = FeatureView(), FeatureView()
    if method.options.beta:
        depths = (module.config.num_hidden_layers for module in (teacher, student))
        method.teacher_view, method.student_view = map(FeatureView, layer_pairs("skip", *depths))
    return method


def tensor(values: Any, dtype: str, grad: bool = True) -> Tensor:
    return torch.tensor(values, dtype=getattr(torch, dtype), requires_grad=grad)


def bare(kind: type, options: Any, **more: Any) -> Any:
    """A method without networks, for its losses."""
    made = kind.__new__(kind)
    made.options = options
    vars(made).update(more)
    return made


def fixed(logits: Tensor) -> Any:
    """A network that says `logits` to any batch."""
    return SimpleNamespace(logits=lambda _: logits)


def batch_of(y: Tensor) -> Batch:
    return Batch(y, y, y, y, y)


def number(value: Any) -> float:
    return float(value) if value is not None else math.nan


def flat(value: Any) -> list[float]:
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [number(value)]


def compare(found: Tensor, wanted: Any, tolerance: float, what: str) -> None:
    """Element by element, relative to the size of each, where the original is a number."""
    for a, b in zip(found.detach().flatten().tolist(), flat(wanted), strict=True):
        if math.isfinite(b):
            assert a == pytest.approx(b, rel=tolerance, abs=tolerance), what
