"""Losses that several methods use.

Logits are [B, C]; every loss is a mean over the batch, in nats, and finite for any finite logits. A network with one
output [B, 1] predicts a number: `label_loss` and `output_distance` are then squared differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from kdbench.core.lazy_torch import functional, torch

if TYPE_CHECKING:
    from torch import Tensor

Objective = Callable[["Tensor", "Tensor"], "Tensor"]  # (teacher's side, student's side) -> mean loss
Reduction = Literal["batchmean", "elementmean"]


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """Compute CE(y, z) = -mean_B log softmax(z)[y] with hard labels y [B]."""
    return functional.cross_entropy(logits, labels)


def is_regression(logits: Tensor) -> bool:
    """Return whether outputs [B, C] are predicted numbers: one column, which no classifier has."""
    return logits.shape[1] == 1


def label_loss(labels: Tensor, logits: Tensor) -> Tensor:
    """Compute the loss with the labels [B]: the cross-entropy, or mean_B (s - y)^2 of a regression."""
    if is_regression(logits):
        return functional.mse_loss(logits[:, 0], labels.to(logits.dtype))
    return cross_entropy(labels, logits)


def output_distance(
    target: Tensor, logits: Tensor, temperature: float = 1.0, reduction: Reduction = "batchmean"
) -> Tensor:  # fmt: skip
    """Compute the distance of outputs that KD minimises: `kl`, or mean_B ((s - t) / tau)^2 of a regression."""
    if is_regression(logits):
        return logit_mse(target / temperature, logits / temperature)
    return kl(target, logits, temperature, reduction)


def soft_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """Compute CE(T, S) = -mean_B sum_C T log S from logits, the second term of LGTM Eq. 1 and Eq. 3."""
    return soft_cross_entropy_each(target, logits).mean()


def soft_cross_entropy_each(target: Tensor, logits: Tensor) -> Tensor:
    """Compute CE(T_i, S_i) for every example [B]."""
    return -(target.softmax(1) * logits.log_softmax(1)).sum(1)


def soft_label_loss_each(target: Tensor, logits: Tensor) -> Tensor:
    """Compute the loss with another network's outputs as labels [B]: CE(T_i, S_i), or (s_i - t_i)^2 of a regression."""
    return (logits - target).square()[:, 0] if is_regression(logits) else soft_cross_entropy_each(target, logits)


def kl(target: Tensor, logits: Tensor, temperature: float | Tensor = 1.0, reduction: Reduction = "batchmean") -> Tensor:
    """Compute KL(softmax(target / tau) || softmax(logits / tau)), both sides through log-softmax.

    `functional.kl_div` on probabilities would give the target side a NaN gradient once a probability underflows, which
    matters where the target's network is trained too. `elementmean`, the default of torch's KLDivLoss, also divides by
    the number of classes.
    """
    logp, logq = (target / temperature).log_softmax(1), (logits / temperature).log_softmax(1)
    each = logp.exp() * (logp - logq)
    return each.mean() if reduction == "elementmean" else each.sum(1).mean()


def standardize(logits: Tensor) -> Tensor:
    """Compute the z-scores of every row [B, C]: (z - mean) / (1e-7 + std), std with C - 1 (LSKD's code).

    With two classes they are +-0.71 whatever the logits are, without a gradient.
    """
    return (logits - logits.mean(1, keepdim=True)) / (1e-7 + logits.std(1, keepdim=True))


def drop_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logits of the classes other than the label [B, C - 1], in their order."""
    others = torch.arange(logits.shape[1] - 1, device=logits.device).expand(len(logits), -1)
    return logits.gather(1, others + (others >= labels[:, None]))


def label_or_other(logits: Tensor, labels: Tensor) -> Tensor:
    """Return two logits [B, 2] whose softmax is (p_y, 1 - p_y)."""
    return torch.cat([logits.gather(1, labels[:, None]), drop_label(logits, labels).logsumexp(1, keepdim=True)], dim=1)


def logit_mse(target: Tensor, logits: Tensor) -> Tensor:
    """Compute the mean over batch and classes of (s - t)^2 (LGTM, Table 2, "MSE")."""
    return functional.mse_loss(logits, target)


def probability_mse(target: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute the mean over batch and classes of (softmax(t/tau) - softmax(s/tau))^2 (Meta Distill, PESF-KD code)."""
    return functional.mse_loss((logits / temperature).softmax(1), (target / temperature).softmax(1))


def at_least_float32(values: Tensor) -> Tensor:
    """Convert half precision to float32, in which all losses are computed."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def exact_product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply float32 tensors of a loss in full, forward and back, also inside autocast."""
    from kdbench.models.matmul_precision import ExactProduct  # imports torch

    found: Tensor = ExactProduct.apply(a, b)  # type: ignore[no-untyped-call]
    return found


def pearson_distance(a: Tensor, b: Tensor, dim: int, eps: float, smooth: bool = True) -> Tensor:
    """Compute the mean of 1 - rho(a, b), with Pearson's correlation rho along `dim`.

    Args:
        eps: keeps the denominator above zero.
        smooth: add eps^2 to both variances, so that a row or column without variance has a bounded gradient for any
            batch size. Otherwise eps is added to the product of the norms, as in the code of DIST, where such a
            gradient has the size 1 / eps.
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
    """Compute tau^2 (beta inter + gamma intra) of DIST (Huang et al., 2022): correlations of rows and of columns."""
    s, t = (logits / temperature).softmax(1), (target / temperature).softmax(1)
    inter, intra = (pearson_distance(s, t, dim, eps, smooth) for dim in (1, 0))
    return temperature**2 * (beta * inter + gamma * intra)


def hidden_state_distance(target: Tensor, states: Tensor, *, normalize: bool = True, reduction: str = "mean") -> Tensor:
    """Compute the squared distance of first-token states [B, M, H] of M layers (PKD).

    Args:
        normalize: scale every state to length 1 first.
        reduction: `mean` over batch, layers and features, as in the code of PKD; `sum` over layers and features and
            mean over the batch, as in the paper.
    """
    target, states = at_least_float32(target), at_least_float32(states)
    if normalize:
        target, states = (functional.normalize(x, dim=-1) for x in (target, states))
    squared = (states - target).square()
    return squared.mean() if reduction == "mean" else squared.sum((1, 2)).mean()


# Distillation objectives that several methods offer as an option (LGTM, Table 2).
OBJECTIVES: dict[str, Objective] = {"kl": output_distance, "dist": dist, "mse": logit_mse}
