"""Derivatives through a student's look-ahead step, for methods whose teacher learns from feedback (LGTM, Meta Distill).

No network is copied: a look-ahead is a dictionary of parameters that `TrainableModel.logits_at` uses in place of the
network's own.
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
from kdbench.distill.losses import Objective, is_regression
from kdbench.distill.trainable import BETAS, TrainableModel
from kdbench.models.matmul_precision import exact_float32

Params = Mapping[str, Tensor]


def gradient(loss: Tensor, params: Params, *, keep_graph: bool = False) -> dict[str, Tensor]:
    """Compute d loss / d params by name; parameters that the loss does not depend on get zeros."""
    grads = torch.autograd.grad(loss, list(params.values()), retain_graph=keep_graph, materialize_grads=True)
    return dict(zip(params, grads, strict=True))


def sgd_step(params: Params, grad: Params, lr: float) -> dict[str, Tensor]:
    """Compute theta' = theta - lr * grad as new leaf tensors (LGTM Eq. 2, Alg. 1 line 4)."""
    return {name: torch.sub(p.detach(), grad[name], alpha=lr).requires_grad_() for name, p in params.items()}


def adam_step(learner: TrainableModel, grad: Params) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Compute the step that the learner's AdamW would take along `grad`, clipping included, and its derivative.

    Returns:
        theta' as new leaf tensors, and the diagonal P with -P = d theta' / d grad (the clipping factor held fixed).
        The optimiser's state is read, not changed.
    """
    ahead, slope = {}, {}
    beta1, beta2 = BETAS
    t = learner.updates + 1
    eps = learner.adam_eps
    scale = learner.current_lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    # the clipping factor stays on the device: reading it would make the host wait for the GPU
    limit = learner.max_grad_norm
    clip = (limit / (learner.global_norm(grad).double() + 1e-6)).clamp_max(1.0) if limit else 1.0
    for (name, p), raw in zip(learner.named_params().items(), grad.values(), strict=True):
        # the moments after this step
        g = clip * raw
        state = learner.optimizer.state.get(p, {})
        m = beta1 * state.get("exp_avg", torch.zeros_like(g)) + (1 - beta1) * g
        q = beta2 * state.get("exp_avg_sq", torch.zeros_like(g)) + (1 - beta2) * g.square()
        root = q.sqrt() + eps
        # the step and its derivative
        decayed = p.detach() * (1 - learner.current_lr * learner.decay_of(p))
        ahead[name] = (decayed - scale * m / root).requires_grad_()
        # g / sqrt(q) first: it is at most 32, and 0 for weights that nothing has touched
        steady = g / q.sqrt().clamp_min(torch.finfo(q.dtype).tiny)
        slope[name] = clip * scale * ((1 - beta1) / root - (1 - beta2) * steady * m / root.square())
    return ahead, slope


def jvp(
    learner: TrainableModel, direction: Params, batch: Batch, view: FeatureView | None = None
) -> tuple[Tensor, Tensor]:
    """Compute logits z [B, C] and dz/d eps [B, C] at theta + eps * direction, eps = 0, in one forward pass.

    Forward-mode differentiation is exact and needs neither a graph nor a copy. Attention uses the math kernel, the
    only one that supports it.

    Args:
        view: the features [B, D] to differentiate in place of the logits.
    """
    view = view or FeatureView()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        params = {
            name: forward_ad.make_dual(p.detach(), direction[name])  # type: ignore[no-untyped-call]
            for name, p in learner.named_params().items()
        }
        features = view(learner.outputs_at(params, batch, **view.output_flags))
        z, dz = forward_ad.unpack_dual(features)  # type: ignore[no-untyped-call]
    return z, torch.zeros_like(z) if dz is None else dz


def random_state(device: torch.device) -> Tensor:
    """Return the state of the device's generator, from which `replay_random_state` draws the same dropout masks."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def replay_random_state(state: Tensor, device: torch.device) -> Iterator[None]:
    """Start the generator at `state` within the block; afterwards it continues from where it was before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)
        yield


def perturbed_logits(
    learner: TrainableModel, direction: Params, epsilon: Tensor, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Compute logits [B, C] at theta + epsilon * direction and theta - epsilon * direction, no graph (LGTM Eq. 10).

    Both passes draw the same dropout masks and run in full float32, because their difference is small against either.
    """
    device = batch.labels.device
    with torch.no_grad(), exact_float32(device):
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            plus = learner.logits_at({n: p + epsilon * direction[n] for n, p in learner.named_params().items()}, batch)
        minus = learner.logits_at({n: p - epsilon * direction[n] for n, p in learner.named_params().items()}, batch)
    return plus, minus


def directional_derivative(objective: Objective, teacher: Tensor, z: Tensor, dz: Tensor) -> Tensor:
    """Compute d/d eps of objective(teacher, z + eps dz) at eps = 0, a scalar differentiable in the teacher's logits.

    Second derivatives are of the objective alone, as a function of logits; none goes through a network.
    """
    leaf = z.detach().requires_grad_()
    (slope,) = torch.autograd.grad(objective(teacher, leaf), leaf, create_graph=True)
    return (slope * dz.detach()).sum()


def sample_weights(teacher: Tensor, z: Tensor, dz: Tensor) -> Tensor:
    """Compute w_i = d/d eps CE(T_i, S_i) = -sum_C T (dz - sum_C S dz) for every example [B] (LGTM Eq. 8).

    Of a regression, w_i = d/d eps (z_i - t_i)^2 = 2 (z_i - t_i) dz_i.
    """
    if is_regression(z):
        return 2 * ((z - teacher) * dz)[:, 0]
    dlogp = dz - (z.softmax(1) * dz).sum(1, keepdim=True)
    return -(teacher.softmax(1) * dlogp).sum(1)
