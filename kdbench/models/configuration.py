"""Read a model's config.json: its sizes, or the whole configuration of transformers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.models.model_files import read_object

STANDARD = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings")
HEADS = "num_attention_heads"
PADDING = "pad_token_id"  # 1 where a configuration of AFTER_PADDING does not give it
# these number the tokens from the row after that of the padding token, so that the rows before it are never used
AFTER_PADDING = (
    "camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "markuplm", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
INNER = ("intermediate_size", "hidden_dim", "ffn_dim", "n_inner", "d_inner", "d_ff")  # has no one name in transformers


@dataclass(frozen=True)
class Dimensions:
    """Sizes of a network.

    `intermediate` is the width within a feed-forward layer, `vocabulary` the rows of the word embeddings, `positions`
    those of the position embeddings (None: the network has no such limit), `kind` the architecture (`model_type`),
    `heads` those of attention (0: not known).
    """

    kind: str
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    positions: int | None
    heads: int = field(default=0, compare=False)
    unused: int = field(default=0, compare=False)  # rows of the position embeddings before the first token's

    @property
    def longest(self) -> int | None:
        """Return the longest input, in tokens; None without limit."""
        return None if self.positions is None else self.positions - self.unused


def read_dimensions(folder: Path) -> Dimensions:
    """Read a network's sizes, under the names of any architecture.

    transformers, whose import takes seconds, is only used where config.json lacks a standard name.

    Raises:
        UserError: config.json is damaged, of an unknown architecture, or has no such sizes.
    """
    path = folder / "config.json"
    values: Mapping[str, Any] = read_object(path)
    kind = _kind(path, values)
    if not all(type(values.get(name)) is int for name in STANDARD):
        config = load_config(folder).get_text_config()
        values = {name: getattr(config, name, None) for name in (*STANDARD, *INNER, HEADS, PADDING)}
    sizes = {name: value for name, value in values.items() if type(value) is int and value > 0}
    if missing := [name for name in STANDARD[:2] if name not in sizes]:
        raise UserError(f"{path} gives no usable {' and '.join(missing)}; take a model that encodes texts.")
    hidden = sizes["hidden_size"]
    inner = next((sizes[name] for name in INNER if name in sizes), 4 * hidden)
    vocabulary, positions = sizes.get("vocab_size", 0), sizes.get("max_position_embeddings")
    unused = sizes.get(PADDING, 0 if PADDING in values else 1) + 1 if kind in AFTER_PADDING else 0
    depth, heads = sizes["num_hidden_layers"], sizes.get(HEADS, 0)
    return Dimensions(kind, depth, hidden, inner, vocabulary, positions, heads, unused)


def load_config(folder: Path) -> Any:
    """Load the `PretrainedConfig` that the folder's `model_type` names. Imports transformers.

    Raises:
        UserError: config.json is damaged, or names an architecture that transformers does not know.
    """
    import transformers

    path = folder / "config.json"
    kind = _kind(path, read_object(path))
    if kind not in transformers.CONFIG_MAPPING:
        near = difflib.get_close_matches(kind, transformers.CONFIG_MAPPING.keys(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(
            f"{path} has model_type '{kind}', which transformers {transformers.__version__} does not know."
            f"{hint} Take a model of a known type, such as bert or roberta."
        )
    try:
        return transformers.CONFIG_MAPPING[kind].from_pretrained(folder)
    except Exception as error:  # classes raise errors of many types for wrong values
        raise UserError(f"{path} does not describe a network of type {kind} ({first_line(error)}).") from None


def _kind(path: Path, values: Mapping[str, Any]) -> str:
    """Return the architecture (`model_type`), which early exports of BERT lack."""
    kind = values.get("model_type", "bert")
    if not isinstance(kind, str):
        raise UserError(f"{path} has model_type {kind!r}, which is no name; a BERT has 'bert'.")
    return kind


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
