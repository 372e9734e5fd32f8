"""What a student's next step would do to its loss elsewhere, and how that depends on the teacher.

Shared by the methods that learn from feedback. No network is copied: a look-ahead is a dictionary of parameters that
`Learner.logits_at` uses in place of the network's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.autograd import forward_ad

from kdbench.data.batches import Batch
from kdbench.training.learner import BETAS, Learner

Params = Mapping[str, Tensor]
Objective = Callable[[Tensor, Tensor], Tensor]  # (teacher logits, student logits) -> mean loss


def gradient(loss: Tensor, params: Params, *, keep_graph: bool = False) -> dict[str, Tensor]:
    """d loss / d params; parameters that the loss does not touch get zeros."""
    found = torch.autograd.grad(loss, list(params.values()), retain_graph=keep_graph, materialize_grads=True)
    return dict(zip(params, found, strict=True))


def sgd_step(params: Params, grad: Params, lr: float) -> dict[str, Tensor]:
    """theta' = theta - lr * grad, as leaves of their own (LGTM Eq. 2, Alg. 1 line 4)."""
    return {name: (p.detach() - lr * grad[name]).requires_grad_() for name, p in params.items()}


def adam_step(learner: Learner, grad: Params) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The step that the learner's AdamW would take along `grad`, and its diagonal derivative.

    Returns:
        theta' as leaves of their own, and P with -P = d theta' / d grad. The optimiser is only read.
    """
    ahead, slope = {}, {}
    beta1, beta2 = BETAS
    t = learner.updates + 1
    eps = learner.adam_eps
    scale = learner.current_lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    for (name, p), g in zip(learner.named_params().items(), grad.values(), strict=True):
        state = learner.optimizer.state.get(p, {})
        m = beta1 * state.get("exp_avg", torch.zeros_like(g)) + (1 - beta1) * g
        q = beta2 * state.get("exp_avg_sq", torch.zeros_like(g)) + (1 - beta2) * g.square()
        root = q.sqrt() + eps
        decayed = p.detach() * (1 - learner.current_lr * learner.weight_decay)
        ahead[name] = (decayed - scale * m / root).requires_grad_()
        bend = m * (1 - beta2) * g / (q.sqrt().clamp_min(1e-38) * root.square())
        slope[name] = scale * ((1 - beta1) / root - bend)
    return ahead, slope


def norm(direction: Params) -> Tensor:
    """The Euclidean norm of all tensors together."""
    return torch.stack([v.square().sum() for v in direction.values()]).sum().sqrt()


def forward_derivative(learner: Learner, direction: Params, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits z [B, C] and dz/d eps [B, C] at theta + eps * direction, eps = 0, in one forward pass.

    Forward-mode differentiation: exact, no graph, no copy. The network's attention must be `eager`.
    """
    with torch.no_grad(), forward_ad.dual_level():
        params = {n: _dual(p.detach(), direction[n]) for n, p in learner.named_params().items()}
        z, dz = forward_ad.unpack_dual(learner.logits_at(params, batch))  # type: ignore[no-untyped-call]
    return z, torch.zeros_like(z) if dz is None else dz


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    made: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return made


def displaced(learner: Learner, direction: Params, epsilon: Tensor, batch: Batch) -> Tensor:
    """Logits at theta + epsilon * direction [B, C], without a graph (the S(x; theta^+-) of LGTM Eq. 10)."""
    with torch.no_grad():
        return learner.logits_at({n: p + epsilon * direction[n] for n, p in learner.named_params().items()}, batch)


def derivative_along(objective: Objective, teacher: Tensor, z: Tensor, dz: Tensor) -> Tensor:
    """d/d eps of objective(teacher, z + eps dz) at eps = 0: a scalar that is differentiable in the teacher's logits.

    Second derivatives are taken of the objective alone, on logits; no network is in it.
    """
    leaf = z.detach().requires_grad_()
    (slope,) = torch.autograd.grad(objective(teacher, leaf), leaf, create_graph=True)
    return (slope * dz.detach()).sum()


def sample_weights(teacher: Tensor, z: Tensor, dz: Tensor) -> Tensor:
    """w_i of LGTM Eq. 8 for every example at once [B]: d/d eps CE(T_i, S_i) = -sum_C T (dz - sum_C S dz)."""
    dlogp = dz - (z.softmax(1) * dz).sum(1, keepdim=True)
    return -(teacher.softmax(1) * dlogp).sum(1)
