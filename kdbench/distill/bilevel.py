"""What a student's next step would do to its loss elsewhere, and how that depends on the teacher.

Shared by the methods that learn from feedback. No network is copied: a look-ahead is a dictionary of parameters that
`TrainableModel.logits_at` uses in place of the network's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from kdbench.data.batches import Batch
from kdbench.distill.hidden_states import FeatureView
from kdbench.distill.losses import Objective
from kdbench.distill.trainable import BETAS, TrainableModel
from kdbench.models.matmul_precision import exactly

Params = Mapping[str, Tensor]


def gradient(loss: Tensor, params: Params, *, keep_graph: bool = False) -> dict[str, Tensor]:
    """d loss / d params; parameters that the loss does not touch get zeros."""
    found = torch.autograd.grad(loss, list(params.values()), retain_graph=keep_graph, materialize_grads=True)
    return dict(zip(params, found, strict=True))


def sgd_step(params: Params, grad: Params, lr: float) -> dict[str, Tensor]:
    """theta' = theta - lr * grad, as leaves of their own (LGTM Eq. 2, Alg. 1 line 4)."""
    return {name: torch.sub(p.detach(), grad[name], alpha=lr).requires_grad_() for name, p in params.items()}


def adam_step(learner: TrainableModel, grad: Params) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The step that the learner's AdamW would take along `grad`, clipping included, and its diagonal derivative.

    Returns:
        theta' as leaves of their own, and P with -P = d theta' / d grad (the clipping factor held fixed). The optimiser
        is only read.
    """
    ahead, slope = {}, {}
    beta1, beta2 = BETAS
    t = learner.updates + 1
    eps = learner.adam_eps
    scale = learner.current_lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    clip = _clipping(learner.max_grad_norm, grad)
    for (name, p), raw in zip(learner.named_params().items(), grad.values(), strict=True):
        g = clip * raw
        state = learner.optimizer.state.get(p, {})
        m = beta1 * state.get("exp_avg", torch.zeros_like(g)) + (1 - beta1) * g
        q = beta2 * state.get("exp_avg_sq", torch.zeros_like(g)) + (1 - beta2) * g.square()
        root = q.sqrt() + eps
        decayed = p.detach() * (1 - learner.current_lr * learner.weight_decay)
        ahead[name] = (decayed - scale * m / root).requires_grad_()
        # g / sqrt(q) first: it is at most 32, and 0 for weights that nothing has touched
        steady = g / q.sqrt().clamp_min(torch.finfo(q.dtype).tiny)
        slope[name] = clip * scale * ((1 - beta1) / root - (1 - beta2) * steady * m / root.square())
    return ahead, slope


def _clipping(most: float, grad: Params) -> float | Tensor:
    """The factor that brings the norm down to `most`; left on the device, so that nobody waits for it."""
    return (most / (norm(grad).double() + 1e-6)).clamp_max(1.0) if most else 1.0


def norm(direction: Params) -> Tensor:
    """The Euclidean norm of all tensors together."""
    length: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(v) for v in direction.values()]))
    return length


def jvp(
    learner: TrainableModel, direction: Params, batch: Batch, view: FeatureView | None = None
) -> tuple[Tensor, Tensor]:
    """Logits z [B, C] and dz/d eps [B, C] at theta + eps * direction, eps = 0, in one forward pass.

    Forward-mode differentiation: exact, no graph, no copy. Attention falls back to the kernel that supports it.

    Args:
        view: what to read off the network's output instead, [B, anything].
    """
    look = view or FeatureView()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        params = {n: _dual(p.detach(), direction[n]) for n, p in learner.named_params().items()}
        seen = look(learner.outputs_at(params, batch, **look.asks))
        z, dz = forward_ad.unpack_dual(seen)  # type: ignore[no-untyped-call]
    return z, torch.zeros_like(z) if dz is None else dz


def draws(device: torch.device) -> Tensor:
    """Where the generator stands, to draw the same dropout masks again in `drawn_again`."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def drawn_again(state: Tensor, device: torch.device) -> Iterator[None]:
    """Within the block the generator repeats what it drew since `draws`; afterwards it goes on from where it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)
        yield


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    made: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return made


def displaced(learner: TrainableModel, direction: Params, epsilon: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits at theta + epsilon * direction and at theta - epsilon * direction [B, C] (LGTM Eq. 10), without a graph.

    Both passes draw the same dropout masks and run in full float32: their difference is small against either.
    """
    device = batch.labels.device
    with torch.no_grad(), exactly(device):
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            plus = learner.logits_at({n: p + epsilon * direction[n] for n, p in learner.named_params().items()}, batch)
        minus = learner.logits_at({n: p - epsilon * direction[n] for n, p in learner.named_params().items()}, batch)
    return plus, minus


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
