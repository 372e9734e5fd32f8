"""A small network with dropout, a batch for it, and how close two computations of the same must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from kdbench.core.settings import Training
from kdbench.data.batches import Batch
from kdbench.data.tokens import Tokens
from kdbench.distill.bilevel import gradient
from kdbench.distill.trainable import TrainableModel

ROWS = 16
CLOSE = {"rtol": 1e-9, "atol": 1e-12}  # float64: another order of summation changes the last of 16 digits
CLOSE_32 = {"rtol": 1e-4, "atol": 1e-6}  # float32 has 7 digits, and AdamW divides by roots that are small at first


def learner(
    rows: int, *, attention: str = "eager", layers: int = 2, dtype: torch.dtype = torch.float64
) -> TrainableModel:
    """A network with dropout, the same one every time."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, attn_implementation=attention, hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.2,
    )  # fmt: skip
    module = BertForSequenceClassification(config).to(dtype)
    return TrainableModel(module, lr=1e-3, length=9, training=Training(), device=torch.device("cpu"), micro_batch=rows)


def a_batch(longest: int = 20) -> Batch:
    """Rows of different length."""
    drawn = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (ROWS, longest), generator=drawn)
    mask = (torch.arange(longest) < torch.randint(3, longest + 1, (ROWS, 1), generator=drawn)).long()
    labels = torch.randint(2, (ROWS,), generator=drawn)
    return Batch(ids * mask, mask, torch.zeros_like(ids), labels, torch.arange(ROWS), "feedback")


def derivatives(made: TrainableModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of a seeded pass, and the gradient of a loss that ties the rows together."""
    torch.manual_seed(3)
    z = made.logits(batch)
    return z, gradient(z.float().log_softmax(0).square().mean(), made.named_params())


def assert_close(found: Any, wanted: Any, close: dict[str, float]) -> None:
    torch.testing.assert_close(found, wanted, **close)


def no_tokens() -> Tokens:
    """Return a split without rows, for a frozen network that is given its batches."""
    return Tokens(np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(1, np.int64), np.zeros(0, np.int64))
