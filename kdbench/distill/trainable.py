"""A network that is trained: forward passes, AdamW, a linear schedule, and its state for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from kdbench.core.settings import Training
from kdbench.data.batches import Batch
from kdbench.distill.cost_meter import Meter
from kdbench.models.classifier_head import output_layer
from kdbench.models.compilation import compiled
from kdbench.models.micro_batches import in_pieces
from kdbench.models.network_outputs import checked, requested

BETAS = (0.9, 0.999)


class TrainableModel:
    """A network with its optimiser and schedule.

    The optimiser is AdamW as in the LGTM code (bias-corrected, epsilon added to the uncorrected root); the learning
    rate rises linearly over the warm-up and falls linearly to 0.

    Args:
        module: the network; it is moved to `device`.
        lr: the peak learning rate.
        length: the number of updates that the schedule spans.
        micro_batch: how many rows of a batch are in memory at once; 0 is all of them.
        name: what it is called where its passes are counted.
        meter: what counts them.
    """

    def __init__(
        self, module: nn.Module, *, lr: float, length: int, training: Training, device: torch.device,
        micro_batch: int = 0, name: str = "", meter: Meter | None = None,
    ) -> None:  # fmt: skip
        self.name, self._meter = name, meter
        self.module = module.to(device)
        self.module.train()
        self._network = compiled(self.module) if training.compile else self.module
        self._all_modules = list(self.module.modules())
        self.lr = lr
        self.length = length
        self.updates = 0
        self._since_restart = 0
        self.adam_eps = training.adam_eps
        self.weight_decay = training.weight_decay
        self._warmup = training.warmup
        self.max_grad_norm = training.max_grad_norm
        self._micro_batch = micro_batch
        self.params = [p for p in self.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.params, lr=lr, betas=BETAS, eps=self.adam_eps, weight_decay=self.weight_decay, fused=True
        )

    def logits(self, batch: Batch) -> Tensor:
        """Class logits [B, C], at least float32, in the module's present mode."""
        return full(self.outputs(batch).logits)

    def outputs(self, batch: Batch, **more: Any) -> Any:
        """The network's full output.

        Args:
            more: `output_hidden_states=True`, `output_attentions=True` add these, of every layer and token. With
                `first_tokens=True` nothing but the first token's states are read, so that `last_layer=first` may hold.

        Raises:
            RunFailure: attention maps that the attention kernel, or the network, does not give; first tokens that are
                padding.
        """
        asked = requested(self.module, more, batch.format)
        network = self.module if self._is_divided(batch) else self._network
        return checked(self._pass(partial(network, **asked), batch), asked)

    def logits_at(self, params: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Class logits [B, C] with other parameters in place of the network's own, which stay untouched."""
        return full(self.outputs_at(params, batch).logits)

    def outputs_at(self, params: Mapping[str, Tensor], batch: Batch, **more: Any) -> Any:
        """The full output with other parameters in place of the network's own; see `outputs`."""
        asked = requested(self.module, more, batch.format)
        made = self._pass(lambda **inputs: functional_call(self.module, dict(params), (), {**inputs, **asked}), batch)
        return checked(made, asked)

    def _is_divided(self, batch: Batch) -> bool:
        return 0 < self._micro_batch < len(batch)

    def _pass(self, network: Callable[..., Any], batch: Batch) -> Any:
        """The network's output on a batch, in pieces if so asked; a piece is made again in its mode of now."""
        out = in_pieces(network, batch.inputs, self._micro_batch, partial(self.mode, self.module.training))
        if self._meter:
            self._meter.passed(self.name, out.logits)
        return out

    def named_params(self) -> dict[str, Tensor]:
        """The trained parameters by name, in the order of `params`."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    @contextmanager
    def mode(self, train: bool) -> Iterator[None]:
        """Dropout on or off within the block."""
        before = self.module.training
        self._set_mode(train)
        try:
            yield
        finally:
            self._set_mode(before)

    def _set_mode(self, train: bool) -> None:
        """`module.train(train)`, without the attribute machinery that costs a tenth of a small network's step."""
        if self.module.training != train:
            for module in self._all_modules:
                module.__dict__["training"] = train

    def target(self, batch: Batch, *, train: bool = False) -> Tensor:
        """Logits for somebody else to learn from [B, C]: no gradient, no dropout unless asked for."""
        with torch.no_grad(), self.mode(train):
            return self.logits(batch)

    @property
    def current_lr(self) -> float:
        """The learning rate of the next update."""
        warm = int(self._warmup * self.length)
        done = self._since_restart
        if done < warm:
            return self.lr * (done + 1) / warm
        return self.lr * max(0.0, (self.length - done) / max(1, self.length - warm))

    def restart_schedule(self, length: int) -> None:
        """Begin the schedule anew, over `length` updates; the optimiser's moments stay."""
        self._since_restart, self.length = 0, length

    def step(self, loss: Tensor) -> None:
        """One update along the gradient of `loss`."""
        step_together(loss, self)

    def apply(self, gradients: Sequence[Tensor]) -> None:
        """One update along the given gradients, in the order of `params`."""
        for parameter, gradient in zip(self.params, gradients, strict=True):
            parameter.grad = gradient
        self._update()

    def _update(self) -> None:
        if self.max_grad_norm:
            nn.utils.clip_grad_norm_(self.params, self.max_grad_norm)
        group = self.optimizer.param_groups[0]
        group["lr"] = self.current_lr
        # torch divides the root by its bias correction before it adds epsilon; the LGTM code adds epsilon first.
        group["eps"] = self.adam_eps / math.sqrt(1 - BETAS[1] ** (self.updates + 1))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        self._since_restart += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Everything that a resumed run needs: tensors, and plain numbers."""
        tensors = {f"module/{k}": v for k, v in self.module.state_dict().items()}
        for i, parameter in enumerate(self.params):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam/{i}/{key}"] = value
        return tensors, {"updates": self.updates, "since_restart": self._since_restart, "length": self.length}

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, int]) -> None:
        """Take back what `state` gave."""
        prefix = "module/"
        self.module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        for i, parameter in enumerate(self.params):
            start = f"adam/{i}/"
            saved = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
            if saved:
                self.optimizer.state[parameter] = {k: v.clone().to(parameter.device) for k, v in saved.items()}
        self.updates, self._since_restart = numbers["updates"], numbers["since_restart"]
        self.length = numbers["length"]


def full(values: Tensor) -> Tensor:
    """At least float32: losses are never computed in half precision."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def step_together(loss: Tensor, *learners: TrainableModel) -> None:
    """One backward pass for several networks, then one update of each."""
    loss.backward()  # type: ignore[no-untyped-call]
    for learner in learners:
        learner._update()


def zero_head(module: nn.Module) -> None:
    """Set the classifier's last layer to zero, so that the first prediction is uniform (ProKT; LGTM, Fig. 5)."""
    for parameter in output_layer(module)[1].parameters():
        nn.init.zeros_(parameter)
