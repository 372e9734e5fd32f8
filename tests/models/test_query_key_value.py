"""Queries, keys and values of every architecture that has them, and a sentence where one has not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from kdbench.core.errors import RunFailure
from kdbench.models import cls_only_layer
from kdbench.models.network_outputs import bind_arguments, forward_arguments
from kdbench.models.query_key_value import find_linear_maps
from tests.models.made import ARCHITECTURES, config

WITH = ("bert", "roberta", "xlm-roberta", "electra", "distilbert")
BERT_FORMAT: Any = SimpleNamespace(side="right")


def network(kind: str) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(config(kind)).eval()


@pytest.mark.parametrize("kind", WITH)
def test_layers_in_their_order(kind: str) -> None:
    model, ids = network(kind), torch.tensor([[5, 6, 7, 8], [8, 7, 6, 5]])
    asked = forward_arguments(model, {"qkv": (4, 2), "output_hidden_states": True}, BERT_FORMAT)
    out = bind_arguments(model, model, asked)(input_ids=ids)
    torch.testing.assert_close(out.logits, model(input_ids=ids).logits)
    for (query, key, value), layer in zip(out.qkv, (4, 2), strict=True):
        below = out.hidden_states[layer - 1]
        for found, part in zip((query, key, value), find_linear_maps(model)[layer - 1], strict=True):
            torch.testing.assert_close(found, part(below))
    assert not any(part._forward_hooks for maps in find_linear_maps(model) for part in maps)


@pytest.mark.parametrize("kind", sorted(set(ARCHITECTURES) - set(WITH)))
def test_networks_without_them(kind: str) -> None:
    with pytest.raises(RunFailure, match=f"a network of type {kind} has no query, key and value of its own"):
        find_linear_maps(network(kind))


SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 40}
UNLIKE = {
    "longformer": (transformers.LongformerConfig, {"attention_window": [8, 8], "pad_token_id": 1}),  # pads each row
    "squeezebert": (transformers.SqueezeBertConfig, {"embedding_size": 32}),  # convolutions
    "ibert": (transformers.IBertConfig, {}),  # quantised maps, which return two tensors
    "convbert": (transformers.ConvBertConfig, {"embedding_size": 32}),  # half of the heads are convolutions
}  # fmt: skip


@pytest.mark.parametrize("kind", UNLIKE)
def test_parts_of_these_names_that_are_something_else(kind: str) -> None:
    form, more = UNLIKE[kind]
    model = transformers.AutoModelForSequenceClassification.from_config(form(**SMALL, **more)).eval()
    ids = torch.tensor([[5, 6, 7], [8, 7, 6]])
    with pytest.raises(RunFailure, match=f"a network of type {kind} has no query, key and value of its own"):
        bind_arguments(model, model, forward_arguments(model, {"qkv": (2,)}, BERT_FORMAT))(input_ids=ids)


def test_a_last_layer_of_one_token_is_computed_for_all() -> None:
    whole, short, ids = network("bert"), network("bert"), torch.tensor([[5, 6, 7, 8]])
    cls_only_layer.install(short)
    found = []
    for model in (whole, short):
        asked = forward_arguments(model, {"qkv": (4,)}, BERT_FORMAT)
        found.append(bind_arguments(model, model, asked)(input_ids=ids).qkv[0])
    for a, b in zip(*found, strict=True):
        assert a.shape == (1, 4, 32)
        torch.testing.assert_close(a, b)
