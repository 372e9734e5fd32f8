"""Hidden states are numbered by layer: a network that gives others is refused, as teacher and as student."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from kdbench.core.errors import RunFailure
from kdbench.core.settings import Training
from kdbench.data.splits import Part
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.hidden_states import FeatureView
from kdbench.distill.trainable import ComputeSettings, TrainableModel
from tests.kdbench.small_networks import a_batch, no_tokens

ALBERT = {
    "vocab_size": 57, "embedding_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64,
}  # fmt: skip
BART = {
    "vocab_size": 57, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "eos_token_id": 2,
}  # fmt: skip
CPU = torch.device("cpu")
VIEW = FeatureView((1,))


def student(config: Any) -> TrainableModel:
    torch.manual_seed(0)
    network = transformers.AutoModelForSequenceClassification.from_config(config)
    return TrainableModel(network, lr=1e-3, length=9, training=Training(), device=CPU)


def teacher(config: Any) -> FrozenTeacher:
    part = Part("train", np.zeros(0, np.int64))
    return FrozenTeacher(student(config).module, no_tokens(), part, ComputeSettings(CPU))


def inputs(config: Any) -> Any:
    batch = a_batch()
    if config.model_type == "bart":  # which reads the state of the last </s>
        batch.input_ids[batch.input_ids == 2] = 3
        batch.input_ids[:, 1] = 2
    return batch


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (transformers.AlbertConfig(**ALBERT, inner_group_num=2), "type albert with 2 layers gives 5"),
        (transformers.BartConfig(**BART), "type bart with 2 layers gives none"),
    ],
)
def test_other_states_than_one_for_each_layer_are_refused(config: Any, said: str) -> None:
    batch = inputs(config)
    with pytest.raises(RunFailure, match=said):
        student(config).outputs(batch, **VIEW.output_flags)
    with pytest.raises(RunFailure, match=said):
        teacher(config).features(batch, VIEW)


def test_states_are_those_after_the_layer_of_that_number() -> None:
    """Of a network whose layers share their weights."""
    made = student(transformers.AlbertConfig(**ALBERT))
    after: list[torch.Tensor] = []
    shared: Any = made.module.get_submodule("albert.encoder.albert_layer_groups.0.albert_layers.0")
    shared.register_forward_hook(lambda _, __, out: after.append(out[0] if isinstance(out, tuple) else out))
    with made.mode(False):
        found = made.outputs(a_batch(), **VIEW.output_flags).hidden_states
    assert len(found) == 3
    for state, out in zip(found[1:], after, strict=True):
        torch.testing.assert_close(state, out, rtol=0, atol=0)
