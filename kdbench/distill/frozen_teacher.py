"""Frozen teachers: networks that are not trained, whose outputs on the training rows are computed once and cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.batches import Batch, collate
from kdbench.data.splits import Part
from kdbench.data.tokens import Tokens
from kdbench.distill import teacher_cache
from kdbench.distill.cost_meter import CostMeter
from kdbench.distill.hidden_states import FeatureView
from kdbench.distill.losses import at_least_float32
from kdbench.distill.trainable import ComputeSettings
from kdbench.models.classifier_head import output_layer
from kdbench.models.compilation import compiled
from kdbench.models.inference import compute_rows, evaluation_batches
from kdbench.models.micro_batches import run_in_micro_batches
from kdbench.models.network_outputs import bind_arguments, check_outputs, forward_arguments
from kdbench.models.outputs_network import OutputsNetwork
from kdbench.models.own_tokenizer import tokenizer_of
from kdbench.models.query_key_value import QKV

MAX_TABLE_BYTES = 512 * 2**20  # a larger table is not kept: every batch is computed

Network = Callable[..., Any]
Quantity = Callable[[Network, Mapping[str, Tensor], int], Tensor]  # inputs [B, L], rows per micro-batch -> [B, D]


class FrozenTeacher:
    """A network in eval mode, without gradients.

    Its outputs on the training rows are computed once, in one pass over batches of similar length, cached on disk for
    all runs that have the same teacher, and looked up by row, so a training step does not run the network. The pass
    depends on weights and data alone, so a resumed run looks up the same numbers. A batch whose inputs or index a
    method has changed is computed instead; a network with another tokenizer than the student's refuses it.

    Args:
        tokens, part: the training rows; the network reads them as its own tokenizer encodes them.
        compute: where it computes; `output_cache` is the folder of the tables.
        name: (role, state), the key under which the meter counts its passes; those of a file of outputs are none.
        compile: compile the passes in a training step; tables are computed without, so that all runs share them.
    """

    def __init__(
        self, module: nn.Module, tokens: Tokens, part: Part, compute: ComputeSettings,
        name: tuple[str, str] = ("", ""), meter: CostMeter | None = None, *, compile: bool = False,
    ) -> None:  # fmt: skip
        self._name, self._meter = name, None if isinstance(module, OutputsNetwork) else meter  # a file costs no pass
        self._device, self._micro_batch, self._folder = compute.device, compute.micro_batch, compute.output_cache
        self.module = module.to(self._device).eval().requires_grad_(False)
        self._network: Network = compiled(self.module) if compile else self.module
        self._tokens, self._part = tokens, part
        self._tokenizer = tokenizer_of(module)
        self._own_tokens = tokens.for_tokenizer(self._tokenizer)
        self._tables: dict[str, Tensor | None] = {}

    def logits(self, batch: Batch) -> Tensor:
        """Return logits [B, C], looked up for a training batch, else computed."""
        return self.features(batch, FeatureView())

    def features(self, batch: Batch, view: FeatureView) -> Tensor:
        """Return the features [B, D] of a view, looked up for a training batch if the table is kept, else computed."""
        return self._look_up(batch, f"view {view.layers}", partial(self._view, view))

    def head_inputs(self, batch: Batch, view: FeatureView) -> tuple[Tensor, Tensor]:
        """Return the inputs of the classifier's last layer [B, H] and the features of a view; looked up or computed."""
        both = self._look_up(batch, f"head and view {view.layers}", partial(self._head_and_view, view))
        config: Any = self.module.config
        width = config.num_labels + len(view.layers) * config.hidden_size
        return both[:, :-width], both[:, -width:]

    @torch.no_grad()
    def outputs(self, batch: Batch, **more: Any) -> Any:
        """Compute the network's full output on a batch; see `TrainableModel.outputs`."""
        batch = batch.for_tokenizer(self._tokenizer)
        asked = forward_arguments(self.module, more, batch.format)
        network = bind_arguments(self.module if asked.get(QKV) else self._step_network(batch), self.module, asked)
        out = run_in_micro_batches(network, batch.inputs, self._micro_batch)
        self._count_pass(out.logits)
        return check_outputs(out, self.module, asked)

    def _step_network(self, batch: Batch) -> Network:
        """Return the network for a training step; a pass in micro-batches is never compiled."""
        return self.module if 0 < self._micro_batch < len(batch) else self._network

    @property
    def head_width(self) -> int:
        """Return H, the number of inputs of the classifier's last layer."""
        return output_layer(self.module)[1].in_features

    def _view(self, view: FeatureView, network: Network, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
        asked = forward_arguments(self.module, view.output_flags, self._own_tokens.format)
        return view(check_outputs(run_in_micro_batches(partial(network, **asked), inputs, rows), self.module, asked))

    def _head_and_view(self, view: FeatureView, _: Network, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
        """Compute head inputs and features side by side [B, H + D]; never compiled, because it hooks the last layer."""
        head_inputs: list[Tensor] = []
        head_outputs: list[Tensor] = []

        def listen(_: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            head_inputs.append(inputs[0])
            head_outputs.append(out)

        hook = output_layer(self.module)[1].register_forward_hook(listen)
        try:
            features = self._view(view, self.module, inputs, rows)
        finally:
            hook.remove()
        states = at_least_float32(torch.cat(head_inputs))
        if states.dim() == 3:  # a head that classifies at every token [B, L, H]; find the token that was used (GPT-2)
            logits = features[:, : head_outputs[0].shape[-1]]
            used = (at_least_float32(torch.cat(head_outputs)) == logits[:, None]).all(2).int().argmax(1)
            states = states[torch.arange(len(states), device=states.device), used]
        return torch.cat([states, features], dim=1)

    @torch.no_grad()
    def _look_up(self, batch: Batch, name: str, quantity: Quantity) -> Tensor:
        if batch.role == "train" and batch.is_drawn_from(self._tokens):
            if name not in self._tables:
                self._tables[name] = self._table(name, quantity)
            table = self._tables[name]
            if table is not None:
                return table[batch.index]
        own = batch.for_tokenizer(self._tokenizer)
        out = quantity(self._step_network(own), own.inputs, self._micro_batch)
        self._count_pass(out)
        return out

    def _table(self, name: str, quantity: Quantity) -> Tensor | None:
        """Load or compute a quantity for all training rows [N, D], NaN in other rows; None where it is too large."""
        tokens, rows = self._own_tokens, self._part.rows

        def compute(inputs: Mapping[str, Tensor]) -> Tensor:
            return quantity(self.module, inputs, 0)

        # one batch tells the width, and serves to check a stored table
        sample_rows = next(evaluation_batches(tokens, rows, self._device))
        sample = compute(collate(tokens, sample_rows, self._device).inputs)
        if len(rows) * sample[0].nbytes > MAX_TABLE_BYTES:
            return None
        index = torch.from_numpy(rows).to(self._device)

        def by_row(values: Tensor) -> Tensor:
            table = values.new_full((len(tokens), values.shape[1]), torch.nan, device=self._device)
            table[index] = values.to(self._device)
            return table

        def is_valid(values: Tensor) -> bool:
            return values.shape == (len(rows), sample.shape[1]) and torch.equal(by_row(values)[sample_rows], sample)

        # all rows, from the cache if it has them
        make = partial(compute_rows, compute, tokens, rows, self._device)
        if self._folder is None:
            values = make()
        else:
            key = teacher_cache.forward_key(self.module, tokens, rows, name, self._device)
            values = teacher_cache.load_or_compute(self._folder, key, make, is_valid)
        if self._meter:
            self._meter.count_table(self._name[0], f"{self._name[1]} {name}", len(rows))
        return by_row(values)

    def _count_pass(self, out: Tensor) -> None:
        if self._meter:
            self._meter.count_pass(self._name[0], out)
