"""Forward passes without gradients over many rows, and what is read off them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kdbench.data.batches import by_length, by_tokens, collate
from kdbench.data.splits import Part
from kdbench.data.task import Task
from kdbench.data.tokens import Tokens

EVAL_BATCH = 64  # rows, on the CPU
EVAL_TOKENS = 16384  # on a GPU, padding included: as much work for it, and as much memory, whatever the texts' length


def in_batches(tokens: Tokens, rows: NDArray[np.int64], device: torch.device) -> Iterator[NDArray[np.int64]]:
    """Rows as `over_rows` takes them, of like length together."""
    if device.type == "cpu":
        return by_length(tokens, rows, EVAL_BATCH)
    return by_tokens(tokens, rows, EVAL_TOKENS)


def batching(device: torch.device) -> tuple[str, ...]:
    """What `in_batches` does other than on the CPU: it decides about last bits."""
    return () if device.type == "cpu" else (f"batches of {EVAL_TOKENS} tokens",)


@torch.no_grad()
def over_rows(
    read: Callable[[Mapping[str, Tensor]], Tensor], tokens: Tokens, rows: NDArray[np.int64], device: torch.device
) -> Tensor:
    """What `read` gives for every row, in the order of `rows` [n, D], on the device; the CPU never waits for a batch.

    Args:
        read: of a batch's inputs [B, L] makes [B, D].
    """
    batches = list(in_batches(tokens, rows, device))
    assert batches, "no rows to evaluate"
    values = torch.cat([read(collate(tokens, some, device).inputs) for some in batches])
    places = np.empty(len(tokens), np.int64)
    places[rows] = np.arange(len(rows))
    out = torch.empty_like(values)
    out[torch.from_numpy(places[np.concatenate(batches)]).to(device)] = values
    return out


def all_logits(module: nn.Module, tokens: Tokens, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Logits in eval mode, in the order of `rows` [n, C], float32 on the CPU."""
    before = module.training
    module.eval()
    out = over_rows(lambda inputs: module(**inputs).logits.float(), tokens, rows, device)
    module.train(before)
    return out.cpu()


def measure(task: Task, logits: Tensor, labels: Tensor) -> dict[str, float]:
    """The task's metrics and the mean cross-entropy (`loss`, in nats)."""
    scores = task.score(logits.argmax(1).tolist(), labels.tolist())
    return {**scores, "loss": float(functional.cross_entropy(logits, labels))}


def labels_of(tokens: Tokens, part: Part) -> Tensor:
    return torch.from_numpy(tokens.labels[part.rows])


def entropy(logits: Tensor) -> Tensor:
    """H = -sum p ln p of each row, in nats [n]."""
    logp = logits.double().log_softmax(1)
    return -(logp.exp() * logp).sum(1)


def gaps(student: Tensor, teacher: Tensor) -> Mapping[str, float]:
    """How much surer of itself the teacher is (LGTM, Figures 5 and 6; no formula there).

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
