"""Losses that methods share. Logits are [B, C]; every loss is a mean over the batch, in nats, finite for any logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """CE(y, z) = -mean_B log softmax(z)[y], hard labels [B]."""
    return functional.cross_entropy(logits, labels)


def soft_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """CE(T, S) = -mean_B sum_C T log S: the second term of LGTM Eq. 1 and Eq. 3. Both sides are logits."""
    return soft_cross_entropy_each(target, logits).mean()


def soft_cross_entropy_each(target: Tensor, logits: Tensor) -> Tensor:
    """CE(T_i, S_i) of every example [B]."""
    return -(target.softmax(1) * logits.log_softmax(1)).sum(1)


def kl(target: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(target / tau) || softmax(logits / tau)), both sides through log-softmax.

    Not `functional.kl_div` on probabilities: its gradient to the target side is NaN once a probability underflows,
    which is fatal where the target's network trains too.
    """
    logp, logq = (target / temperature).log_softmax(1), (logits / temperature).log_softmax(1)
    return (logp.exp() * (logp - logq)).sum(1).mean()


def logit_mse(target: Tensor, logits: Tensor) -> Tensor:
    """Mean over batch and classes of (s - t)^2 (LGTM, Table 2, "MSE")."""
    return functional.mse_loss(logits, target)


def pearson_distance(a: Tensor, b: Tensor, dim: int, eps: float) -> Tensor:
    """Mean of 1 - rho(a, b) along `dim`.

    `eps` stands inside the roots, so that a row or column without variance gives a small gradient, not an explosion.
    """
    a, b = a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True)
    scale = ((a.square().sum(dim) + eps**2) * (b.square().sum(dim) + eps**2)).sqrt()
    return (1 - (a * b).sum(dim) / scale).mean()


def dist(
    target: Tensor, logits: Tensor, beta: float = 2.0, gamma: float = 2.0, temperature: float = 1.0, eps: float = 1e-4
) -> Tensor:
    """DIST (Huang et al., 2022): tau^2 (beta inter + gamma intra), correlations of rows and of columns."""
    s, t = (logits / temperature).softmax(1), (target / temperature).softmax(1)
    inter, intra = pearson_distance(s, t, 1, eps), pearson_distance(s, t, 0, eps)
    return temperature**2 * (beta * inter + gamma * intra)
