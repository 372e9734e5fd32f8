"""A network that teaches and does not learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.batches import Batch, collate
from kdbench.data.splits import Part
from kdbench.data.tokens import Tokens
from kdbench.distill import teacher_cache
from kdbench.distill.cost_meter import Meter
from kdbench.distill.hidden_states import FeatureView
from kdbench.distill.trainable import full
from kdbench.models import cls_only_layer
from kdbench.models.classifier_head import output_layer
from kdbench.models.compilation import compiled
from kdbench.models.inference import batching, in_batches, over_rows
from kdbench.models.micro_batches import in_pieces
from kdbench.models.network_outputs import checked, requested

MOST_BYTES = 512 * 2**20  # of a table; a larger one is computed batch by batch

Network = Callable[..., Any]
Reading = Callable[[Network, Mapping[str, Tensor], int], Tensor]  # inputs [B, L], rows at a time -> [B, D]


class FrozenTeacher:
    """A network in eval mode, without gradients.

    What is read off it on the training rows is computed once, in one pass over batches of like length, kept on
    disk for all runs that have the same teacher (`shelf`), and looked up by row: the network is not in the student's
    step at all. The pass is a function of weights and data alone, so a resumed run looks up the same numbers. A batch
    whose inputs or index a method has changed is not looked up but computed.

    Args:
        name: the role, and the state in that role, under which its passes are counted.
        folder: where tables are kept; None keeps none.
        compile: whether passes in a step are compiled; tables are made without, so that all runs share them.
    """

    def __init__(
        self, module: nn.Module, tokens: Tokens, part: Part, device: torch.device, micro_batch: int = 0,
        name: tuple[str, str] = ("", ""), meter: Meter | None = None, folder: Path | None = None,
        *, compile: bool = False,
    ) -> None:  # fmt: skip
        self._name, self._meter, self._folder = name, meter, folder
        self.module = module.to(device).eval().requires_grad_(False)
        self._network: Network = compiled(self.module) if compile else self.module
        self._tokens, self._part, self._device = tokens, part, device
        self._tables: dict[str, Tensor | None] = {}
        self._micro_batch = micro_batch

    def logits(self, batch: Batch) -> Tensor:
        """Logits of a batch [B, C]: looked up if it is a training batch, else computed."""
        return self.seen(batch, FeatureView())

    def seen(self, batch: Batch, view: FeatureView) -> Tensor:
        """A view of the network [B, D]: looked up if it is a training batch and the table fits, else computed."""
        return self._look_up(batch, f"view {view.layers}", partial(self._view, view))

    def head_inputs(self, batch: Batch, view: FeatureView) -> tuple[Tensor, Tensor]:
        """Return what the classifier's last layer reads [B, H], and a view of the output; looked up or computed."""
        both = self._look_up(batch, f"head and view {view.layers}", partial(self._head_and_view, view))
        config: Any = self.module.config
        width = config.num_labels + len(view.layers) * config.hidden_size
        return both[:, :-width], both[:, -width:]

    @torch.no_grad()
    def outputs(self, batch: Batch, **more: Any) -> Any:
        """The network's full output on any batch, computed; see `TrainableModel.outputs`."""
        asked = requested(self.module, more, batch.format)
        out = in_pieces(partial(self._in_step(batch), **asked), batch.inputs, self._micro_batch)
        self._passed(out.logits)
        return checked(out, asked)

    def _in_step(self, batch: Batch) -> Network:
        """What a batch goes through in a step: a pass in pieces is never compiled."""
        return self.module if 0 < self._micro_batch < len(batch) else self._network

    @property
    def head_width(self) -> int:
        """H: how many features the classifier's last layer reads."""
        return output_layer(self.module)[1].in_features

    def _view(self, view: FeatureView, network: Network, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
        return view(in_pieces(partial(network, **requested(self.module, view.asks, self._tokens.format)), inputs, rows))

    def _head_and_view(self, view: FeatureView, _: Network, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
        """Never compiled: it listens to what passes through the classifier's last layer."""
        read: list[Tensor] = []
        made: list[Tensor] = []

        def listen(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            read.append(given[0])
            made.append(out)

        hook = output_layer(self.module)[1].register_forward_hook(listen)
        try:
            seen = self._view(view, self.module, inputs, rows)
        finally:
            hook.remove()
        features = full(torch.cat(read))
        if features.dim() == 3:  # a head that decides at every token, of which the network then takes one (GPT-2)
            logits = seen[:, : made[0].shape[-1]]
            place = (full(torch.cat(made)) == logits[:, None]).all(2).int().argmax(1)
            features = features[torch.arange(len(features), device=features.device), place]
        return torch.cat([features, seen], dim=1)

    @torch.no_grad()
    def _look_up(self, batch: Batch, what: str, read: Reading) -> Tensor:
        if batch.role == "train" and batch.is_drawn_from(self._tokens):
            if what not in self._tables:
                self._tables[what] = self._table(what, read)
            table = self._tables[what]
            if table is not None:
                return table[batch.index]
        out = read(self._in_step(batch), batch.inputs, self._micro_batch)
        self._passed(out)
        return out

    def _table(self, what: str, read: Reading) -> Tensor | None:
        """All training rows' values by row [N, D], NaN elsewhere; None where that would be too large."""
        rows = self._part.rows

        def whole(inputs: Mapping[str, Tensor]) -> Tensor:
            return read(self.module, inputs, 0)

        some = next(in_batches(self._tokens, rows, self._device))
        sample = whole(collate(self._tokens, some, self._device).inputs)
        if len(rows) * sample[0].nbytes > MOST_BYTES:
            return None
        places = torch.from_numpy(rows).to(self._device)

        def spread(values: Tensor) -> Tensor:
            table = values.new_full((len(self._tokens), values.shape[1]), torch.nan, device=self._device)
            table[places] = values.to(self._device)
            return table

        def fits(values: Tensor) -> bool:
            return values.shape == (len(rows), sample.shape[1]) and torch.equal(spread(values)[some], sample)

        make = partial(over_rows, whole, self._tokens, rows, self._device)
        values = make() if self._folder is None else teacher_cache.kept(self._folder, self._key(what), make, fits)
        if self._meter:
            self._meter.table(self._name[0], f"{self._name[1]} {what}", len(rows))
        return spread(values)

    def _key(self, what: str) -> tuple[str, ...]:
        config: Any = self.module.config
        texts = teacher_cache.texts(self._tokens, self._part.rows)
        layer = ("last layer: first token",) if cls_only_layer.is_installed(self.module) else ()
        how = (str(config._attn_implementation), *layer, teacher_cache.kernels(self._device), *batching(self._device))
        return teacher_cache.weights(self.module), texts, what, *how

    def _passed(self, out: Tensor) -> None:
        if self._meter:
            self._meter.passed(self._name[0], out)
