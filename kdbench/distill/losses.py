"""Losses that methods share. Logits are [B, C]; every loss is a mean over the batch, in nats, finite for any logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from kdbench.core.lazy_torch import functional, torch

if TYPE_CHECKING:
    from torch import Tensor

Objective = Callable[["Tensor", "Tensor"], "Tensor"]  # (teacher's side, student's side) -> mean loss
Reduction = Literal["batchmean", "elementmean"]


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """CE(y, z) = -mean_B log softmax(z)[y], hard labels [B]."""
    return functional.cross_entropy(logits, labels)


def soft_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """CE(T, S) = -mean_B sum_C T log S: the second term of LGTM Eq. 1 and Eq. 3. Both sides are logits."""
    return soft_cross_entropy_each(target, logits).mean()


def soft_cross_entropy_each(target: Tensor, logits: Tensor) -> Tensor:
    """CE(T_i, S_i) of every example [B]."""
    return -(target.softmax(1) * logits.log_softmax(1)).sum(1)


def kl(target: Tensor, logits: Tensor, temperature: float = 1.0, reduction: Reduction = "batchmean") -> Tensor:
    """KL(softmax(target / tau) || softmax(logits / tau)), both sides through log-softmax.

    Not `functional.kl_div` on probabilities: its gradient to the target side is NaN once a probability underflows,
    which is fatal where the target's network trains too. `elementmean`, the default of torch's KLDivLoss, divides by
    the number of classes as well.
    """
    logp, logq = (target / temperature).log_softmax(1), (logits / temperature).log_softmax(1)
    each = logp.exp() * (logp - logq)
    return each.mean() if reduction == "elementmean" else each.sum(1).mean()


def logit_mse(target: Tensor, logits: Tensor) -> Tensor:
    """Mean over batch and classes of (s - t)^2 (LGTM, Table 2, "MSE")."""
    return functional.mse_loss(logits, target)


def probability_mse(target: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean over batch and classes of (softmax(t / tau) - softmax(s / tau))^2 (code of Meta Distill and PESF-KD)."""
    return functional.mse_loss((logits / temperature).softmax(1), (target / temperature).softmax(1))


def pearson_distance(a: Tensor, b: Tensor, dim: int, eps: float, smooth: bool = True) -> Tensor:
    """Mean of 1 - rho(a, b) along `dim`.

    Args:
        eps: keeps the denominator from zero. Added to both variances as eps^2 (`smooth`), a row or column without
            variance gives a bounded gradient, whatever the batch's size; added to the product of the norms, as in the
            code of DIST, one of the size 1 / eps.
    """
    a, b = a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True)
    if smooth:
        scale = ((a.square().mean(dim) + eps**2) * (b.square().mean(dim) + eps**2)).sqrt()
        return (1 - (a * b).mean(dim) / scale).mean()
    norms: Tensor = torch.linalg.vector_norm(a, dim=dim) * torch.linalg.vector_norm(b, dim=dim)
    return (1 - (a * b).sum(dim) / (norms + eps)).mean()


def dist(
    target: Tensor, logits: Tensor, beta: float = 2.0, gamma: float = 2.0, temperature: float = 1.0,
    eps: float = 1e-2, smooth: bool = True,
) -> Tensor:  # fmt: skip
    """DIST (Huang et al., 2022): tau^2 (beta inter + gamma intra), correlations of rows and of columns."""
    s, t = (logits / temperature).softmax(1), (target / temperature).softmax(1)
    inter, intra = (pearson_distance(s, t, dim, eps, smooth) for dim in (1, 0))
    return temperature**2 * (beta * inter + gamma * intra)


def patience(target: Tensor, states: Tensor, *, normalize: bool = True, reduction: str = "mean") -> Tensor:
    """Squared distance of first-token states [B, M, H] of M layers (PKD).

    Args:
        normalize: bring every state to length 1 first.
        reduction: `mean` over batch, layers and features, as in the code; `sum` over layers and features, and mean
            over the batch, where the paper sums.
    """
    if normalize:
        target, states = (functional.normalize(x, dim=-1) for x in (target, states))
    squared = (states - target).square()
    return squared.mean() if reduction == "mean" else squared.sum((1, 2)).mean()


# Distillation objectives that several methods offer under these names (LGTM, Table 2).
OBJECTIVES: dict[str, Objective] = {"kl": kl, "dist": dist, "mse": logit_mse}
