"""A network that teaches and does not learn."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.batches import Batch
from kdbench.data.splits import Part
from kdbench.data.tokens import Tokens
from kdbench.hidden import View
from kdbench.training.evaluate import all_logits
from kdbench.training.learner import full
from kdbench.training.meter import Meter
from kdbench.training.pieces import in_pieces


class Frozen:
    """A network in eval mode, without gradients.

    Its logits on the training rows are computed once, in one pass over batches of like length, and then looked up by
    row: the network is not in the student's step at all. The pass is a function of weights and data alone, so a
    resumed run looks up the same numbers.

    Args:
        name: the role, and the state in that role, under which its passes are counted.
    """

    def __init__(
        self, module: nn.Module, tokens: Tokens, part: Part, device: torch.device, micro_batch: int = 0,
        name: tuple[str, str] = ("", ""), meter: Meter | None = None,
    ) -> None:  # fmt: skip
        self._name, self._meter = name, meter
        self.module = module.to(device).eval().requires_grad_(False)
        self._tokens, self._part, self._device = tokens, part, device
        self._known: Tensor | None = None
        self._micro_batch = micro_batch

    def logits(self, batch: Batch) -> Tensor:
        """Logits of a batch [B, C]: looked up if it is a training batch, else computed."""
        if batch.role != "train":
            logits: Tensor = self.outputs(batch).logits.float()
            return logits
        if self._known is None:
            values = all_logits(self.module, self._tokens, self._part.rows, self._device)
            self._known = torch.full((len(self._tokens), values.shape[1]), torch.nan, device=self._device)
            self._known[torch.from_numpy(self._part.rows).to(self._device)] = values.to(self._device)
            if self._meter:
                self._meter.table(*self._name, len(self._part.rows))
        return self._known[batch.index]

    @torch.no_grad()
    def head_inputs(self, batch: Batch, view: View) -> tuple[Tensor, Tensor]:
        """What the classifier reads [B, H], and the view of what the network makes of it; computed."""
        seen: list[Tensor] = []
        hook = self.module.get_submodule("classifier").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            outputs = self.outputs(batch, **view.asks)
        finally:
            hook.remove()
        return full(torch.cat(seen)), view(outputs)

    @torch.no_grad()
    def outputs(self, batch: Batch, **more: Any) -> Any:
        """The network's full output on any batch, computed; `output_hidden_states=True` adds the hidden states."""
        out = in_pieces(partial(self.module, **more), batch.inputs, self._micro_batch)
        if self._meter:
            self._meter.passed(self._name[0], out.logits)
        return out
