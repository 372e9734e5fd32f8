"""Networks in training: forward passes, AdamW, the learning-rate schedule, and the state for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from kdbench.core.errors import RunFailure
from kdbench.core.settings import Training
from kdbench.data.batches import Batch
from kdbench.distill.cost_meter import CostMeter
from kdbench.distill.losses import at_least_float32
from kdbench.models.classifier_head import output_layer
from kdbench.models.compilation import compiled
from kdbench.models.micro_batches import run_in_micro_batches
from kdbench.models.network_outputs import bind_arguments, check_outputs, forward_arguments
from kdbench.models.own_tokenizer import tokenizer_of
from kdbench.models.query_key_value import QKV
from kdbench.models.trimmed_embedding import KEPT, restore_embedding, split_weights, trimmed_embedding

BETAS = (0.9, 0.999)  # of Adam


@dataclass(frozen=True)
class ComputeSettings:
    """Say where a run's networks compute; none of it changes results, but for last bits.

    Attributes:
        micro_batch: rows of a batch in memory at once; 0 is all of them.
        output_cache: the folder for outputs of frozen teachers; None caches none on disk.
    """

    device: torch.device
    micro_batch: int = 0
    output_cache: Path | None = None


class TrainableModel:
    """A network with its optimiser and schedule. It reads every batch as its own tokenizer encodes it.

    The optimiser is AdamW as in the LGTM code (bias-corrected, epsilon added to the uncorrected root); the learning
    rate rises linearly during warm-up and then falls linearly to 0.

    Args:
        module: the network; it is moved to `device`.
        lr: the peak learning rate.
        length: the number of updates in the schedule.
        micro_batch: rows of a batch in memory at once; 0 is all of them.
        name: the name under which `meter` counts its passes.
    """

    def __init__(
        self, module: nn.Module, *, lr: float, length: int, training: Training, device: torch.device,
        micro_batch: int = 0, name: str = "", meter: CostMeter | None = None,
    ) -> None:  # fmt: skip
        self.name, self._meter = name, meter
        self.module = module.to(device)
        self.module.train()
        self._network = compiled(self.module) if training.compile else self.module
        self._tokenizer = tokenizer_of(self.module)
        self.lr = lr
        self.length = length
        self.updates = 0
        self._since_restart = 0
        self.adam_eps = training.adam_eps
        self.weight_decay = training.weight_decay
        self._warmup = training.warmup
        self._recipe = training.recipe
        self.max_grad_norm = training.max_grad_norm
        self._micro_batch = micro_batch
        self._first_table: Tensor | None = None  # the embedding before training, where a checkpoint lacks rows of it
        self._find_parameters()

    def _find_parameters(self) -> None:
        """Read the module's parts and parameters, and make a new optimiser for them."""
        self._all_modules = list(self.module.modules())
        self._trimmed = trimmed_embedding(self.module)
        self.params = [p for p in self.module.parameters() if p.requires_grad]
        parts = ([p for p in self.params if self.decay_of(p)], [p for p in self.params if not self.decay_of(p)])
        groups = [{"params": part, "weight_decay": self.decay_of(part[0])} for part in parts if part]
        self.optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=BETAS, eps=self.adam_eps, fused=True)

    def logits(self, batch: Batch) -> Tensor:
        """Compute class logits [B, C], at least float32, in the module's present mode."""
        return at_least_float32(self.outputs(batch).logits)

    def outputs(self, batch: Batch, **more: Any) -> Any:
        """Compute the network's full output.

        Args:
            more: `output_hidden_states=True` and `output_attentions=True` add states and attention maps of every layer
                and token, `qkv=LAYERS` the queries, keys and values of some layers, from 1 (see `query_key_value`).
                `first_tokens=True` declares that only the first token's states are read, so that
                `last_layer=first` can save time.

        Raises:
            RunFailure: the network or its attention kernel gives no attention maps, the network gives no state for each
                layer, the first tokens are padding, or the network has another tokenizer than the student and is asked
                about every token or a changed batch.
        """
        batch = batch.for_tokenizer(self._tokenizer)
        asked = forward_arguments(self.module, more, batch.format)
        # neither micro-batches nor hooks are compiled
        plain = 0 < self._micro_batch < len(batch) or asked.get(QKV)
        network = bind_arguments(self.module if plain else self._network, self.module, asked)
        return check_outputs(self._forward_pass(network, batch), self.module, asked)

    def logits_at(self, params: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Compute class logits [B, C] with other parameters than the network's own, which stay unchanged."""
        return at_least_float32(self.outputs_at(params, batch).logits)

    def outputs_at(self, params: Mapping[str, Tensor], batch: Batch, **more: Any) -> Any:
        """Compute the full output with other parameters than the network's own; see `outputs`."""
        batch = batch.for_tokenizer(self._tokenizer)
        asked = forward_arguments(self.module, more, batch.format)

        def network(**inputs: Any) -> Any:
            return functional_call(self.module, dict(params), (), inputs)

        return check_outputs(self._forward_pass(bind_arguments(network, self.module, asked), batch), self.module, asked)

    def _forward_pass(self, network: Callable[..., Any], batch: Batch) -> Any:
        """Compute the output on a batch; micro-batches are recomputed for the gradient in the mode of this pass."""
        out = run_in_micro_batches(network, batch.inputs, self._micro_batch, partial(self.mode, self.module.training))
        if self._meter:
            # a loss may be made of states alone
            qkv = (tensor for some in getattr(out, QKV, ()) for tensor in some)
            self._meter.count_pass(self.name, out.logits, (*(getattr(out, "hidden_states", None) or ()), *qkv))
        return out

    def named_params(self) -> dict[str, Tensor]:
        """Return the trained parameters by name, in the order of `params`."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    @contextmanager
    def mode(self, train: bool) -> Iterator[None]:
        """Switch dropout on (`train`) or off within the block."""
        before = self.module.training
        self._set_mode(train)
        try:
            yield
        finally:
            self._set_mode(before)

    def _set_mode(self, train: bool) -> None:
        """Do `module.train(train)` without `__setattr__`, which takes a tenth of a small network's step."""
        if self.module.training != train:
            for module in self._all_modules:
                module.__dict__["training"] = train

    def target_logits(self, batch: Batch, *, train: bool = False) -> Tensor:
        """Compute logits [B, C] as another network's target: without gradient, with dropout only if `train`."""
        with torch.no_grad(), self.mode(train):
            return self.logits(batch)

    @property
    def current_lr(self) -> float:
        """Return the learning rate of the next update."""
        warm = int(self._warmup * self.length)
        done = self._since_restart
        if done < warm:
            return self.lr * (done + (self._recipe == 1)) / warm
        return self.lr * max(0.0, (self.length - done) / max(1, self.length - warm))

    def decay_of(self, parameter: Tensor) -> float:
        """Return the weight decay of a parameter; 0 for biases and LayerNorm."""
        return self.weight_decay if self._recipe == 1 or parameter.ndim > 1 else 0.0

    def restart_schedule(self, length: int) -> None:
        """Restart the schedule, over `length` updates; the optimiser keeps its moments."""
        self._since_restart, self.length = 0, length

    def restart_optimizer(self, length: int) -> None:
        """Restart the optimiser, without its moments, and the schedule over `length` updates."""
        self.optimizer.state.clear()
        self.updates = 0
        self.restart_schedule(length)

    def step(self, loss: Tensor) -> None:
        """Update the network once along the gradient of `loss`."""
        step_together(loss, self)

    def apply(self, gradients: Sequence[Tensor]) -> None:
        """Update the network once along the given gradients, in the order of `params`."""
        for parameter, gradient in zip(self.params, gradients, strict=True):
            parameter.grad = gradient
        self._update()

    def _update(self) -> None:
        if self.max_grad_norm:
            grads = {name: p.grad for name, p in self.named_params().items() if p.grad is not None}
            norm = nn.utils.get_total_norm(self._padded(grads))
            nn.utils.clip_grads_with_norm_(self.params, self.max_grad_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.current_lr
            # torch divides the root by its bias correction before it adds epsilon; the LGTM code adds epsilon first.
            group["eps"] = self.adam_eps / math.sqrt(1 - BETAS[1] ** (self.updates + 1))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        self._since_restart += 1

    def global_norm(self, direction: Mapping[str, Tensor]) -> Tensor:
        """Compute the Euclidean norm, a scalar, of all tensors of a gradient or another direction by parameter."""
        norms = torch.stack([torch.linalg.vector_norm(values) for values in self._padded(direction)])
        length: Tensor = torch.linalg.vector_norm(norms)
        return length

    def _padded(self, direction: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the tensors of a direction, with zeros for embedding rows left out, so that sums round alike."""
        trimmed = self._trimmed
        return [trimmed.pad(v) if trimmed and name == trimmed.name else v for name, v in direction.items()]

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of a checkpoint by name; of a trimmed embedding also the token ids of its rows."""
        trimmed = self._trimmed
        return self.module.state_dict() | ({trimmed.name + KEPT: trimmed.kept} if trimmed else {})

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `weights` returned. An embedding that was trimmed in another way becomes whole."""
        given, name, kept = split_weights(tensors)
        if self._trimmed and (kept is None or not torch.equal(kept, self._trimmed.kept)):
            restore_embedding(self.module)
            self._find_parameters()
        if kept is not None and not self._trimmed:
            # rows that were left out are those of before the training
            if self._first_table is None:
                self._first_table = self.module.get_parameter(name).detach().clone()
            given[name] = self._first_table.index_copy(0, kept, given[name])
        self.module.load_state_dict(given)

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Return what a resumed run needs: weights and Adam's moments, and the position in the schedule."""
        tensors = {f"module/{k}": v for k, v in self.weights().items()}
        for i, parameter in enumerate(self.params):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam/{i}/{key}"] = value
        return tensors, {"updates": self.updates, "since_restart": self._since_restart, "length": self.length}

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, int]) -> None:
        """Restore what `state` returned."""
        prefix = "module/"
        weights = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        self.load_weights(weights)
        _, name, kept = split_weights(weights)
        for i, (of, parameter) in enumerate(self.named_params().items()):
            start = f"adam/{i}/"
            saved = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
            if of == name and kept is not None and not self._trimmed:
                # moments of tokens without a row are zero; the number of steps is a scalar
                saved = {
                    k: torch.zeros_like(parameter).index_copy(0, kept, v) if v.dim() else v for k, v in saved.items()
                }
            if saved:
                self.optimizer.state[parameter] = {k: v.clone().to(parameter.device) for k, v in saved.items()}
        self.updates, self._since_restart = numbers["updates"], numbers["since_restart"]
        self.length = numbers["length"]


def step_together(loss: Tensor, *learners: TrainableModel) -> None:
    """Run one backward pass for several networks, then update each.

    Raises:
        RunFailure: `loss` is no tensor with one number and a gradient.
    """
    if problem := _loss_problem(loss):
        raise RunFailure("bug", f"the loss {problem}")
    loss.backward()  # type: ignore[no-untyped-call]
    for learner in learners:
        learner._update()


def _loss_problem(loss: object) -> str:
    """Return why a network cannot be updated along a loss, as the rest of a sentence; "" when it can."""
    if not isinstance(loss, Tensor):
        return f"is {loss!r:.40}, of type {type(loss).__name__}, where a tensor with one number is expected"
    if loss.numel() != 1:
        return f"has the shape {list(loss.shape)}, where one number is expected; take its mean over the batch"
    if not loss.requires_grad:
        return "has no gradient: all of it is detached from the networks, as by .detach(), .item() or torch.no_grad()"
    return ""


def zero_head(module: nn.Module) -> None:
    """Set the classifier's last layer to zero, so that the first prediction is uniform (ProKT; LGTM, Fig. 5)."""
    for parameter in output_layer(module)[1].parameters():
        nn.init.zeros_(parameter)
