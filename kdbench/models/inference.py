"""Run forward passes without gradients over many rows, and compare the confidence of their logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdbench.data.batches import by_length, by_tokens, collate
from kdbench.data.splits import Part
from kdbench.data.tokens import Tokens

EVAL_BATCH = 64  # rows, on the CPU
EVAL_TOKENS = 16384  # per batch on a GPU, padding included: equal work and memory for texts of any length


def evaluation_batches(tokens: Tokens, rows: NDArray[np.int64], device: torch.device) -> Iterator[NDArray[np.int64]]:
    """Yield the rows in the batches of `compute_rows`, grouped by length."""
    if device.type == "cpu":
        return by_length(tokens, rows, EVAL_BATCH)
    return by_tokens(tokens, rows, EVAL_TOKENS)


def describe_batches(device: torch.device) -> tuple[str, ...]:
    """Describe the batches of `evaluation_batches`, which change last bits; () on the CPU."""
    return () if device.type == "cpu" else (f"batches of {EVAL_TOKENS} tokens",)


@torch.no_grad()
def compute_rows(
    compute: Callable[[Mapping[str, Tensor]], Tensor], tokens: Tokens, rows: NDArray[np.int64], device: torch.device
) -> Tensor:
    """Compute a quantity for all rows, in the order of `rows` [n, D], on the device, without waiting for a GPU.

    Args:
        compute: maps a batch's inputs [B, L] to [B, D].
    """
    batches = list(evaluation_batches(tokens, rows, device))
    assert batches, "no rows to evaluate"
    values = torch.cat([compute(collate(tokens, batch, device).inputs) for batch in batches])
    # back into the order of `rows`
    places = np.empty(len(tokens), np.int64)
    places[rows] = np.arange(len(rows))
    out = torch.empty_like(values)
    out[torch.from_numpy(places[np.concatenate(batches)]).to(device)] = values
    return out


def all_logits(module: nn.Module, tokens: Tokens, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Compute logits in eval mode, in the order of `rows` [n, C], float32 on the CPU."""
    before = module.training
    module.eval()
    out = compute_rows(lambda inputs: module(**inputs).logits.float(), tokens, rows, device)
    module.train(before)
    return out.cpu()


def labels_of(tokens: Tokens, part: Part) -> Tensor:
    return torch.from_numpy(tokens.labels[part.rows])


def entropy(logits: Tensor) -> Tensor:
    """Compute H = -sum p ln p of each row [n], in nats."""
    logp = logits.double().log_softmax(1)
    return -(logp.exp() * logp).sum(1)


def entropy_gaps(student: Tensor, teacher: Tensor) -> Mapping[str, float]:
    """Compute how much more confident the teacher is than the student (LGTM, Figures 5 and 6, without formula).

    The entropy gap is mean H(S) - H(T); the sharpness gap (PESF-KD) is mean logsumexp(t) - mean logsumexp(s).
    """
    gap = entropy(student) - entropy(teacher)
    sharpness = teacher.double().logsumexp(1).mean() - student.double().logsumexp(1).mean()
    return {
        "entropy_student": float(entropy(student).mean()),
        "entropy_teacher": float(entropy(teacher).mean()),
        "entropy_gap": float(gap.mean()),
        "entropy_gap_abs": float(gap.abs().mean()),
        "sharpness_gap": float(sharpness),
    }
