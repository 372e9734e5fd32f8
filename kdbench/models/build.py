"""Build networks and tokenizers: from a configuration, or from a folder in Hugging Face format."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdbench.models.reference import TINY, TINY_POSITIONS, available, heads, split_name, tiny_tokens
from kdbench.spec import ModelRef


def build(ref: ModelRef, num_labels: int, attention: str, vocabulary: Sequence[str] = ()) -> Any:
    """A `BertForSequenceClassification` (or what the model's own configuration says), weights loaded or drawn.

    What is drawn (a tiny model, a new classifier) comes from torch's global generator: seed it first.
    """
    from transformers import AutoModelForSequenceClassification

    base, layers = split_name(ref.name)
    if tiny := TINY.fullmatch(base):
        config = _tiny_config(int(tiny["layers"]), int(tiny["hidden"]), len(tiny_tokens(vocabulary)), num_labels)
        return AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    folder = available(ref)
    if layers:
        return _build_layers(folder, num_labels, layers, attention)
    return load(folder, num_labels=num_labels, attention=attention)


def load(folder: Path | None, *, attention: str, num_labels: int | None = None) -> Any:
    """A model in Hugging Face format, without the library's loading report."""
    import transformers

    quiet()
    # a start with another number of classes keeps everything but the classifier, which is drawn anew
    fresh = num_labels is not None
    config = load_config(folder, **({"num_labels": num_labels} if fresh else {}))
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, config=config, attn_implementation=attention, dtype="float32", ignore_mismatched_sizes=fresh,
        # nothing that is loaded may bring code along; what we wrote ourselves is always safetensors
        trust_remote_code=False, weights_only=True, use_safetensors=None if fresh else True,
    )  # fmt: skip


def load_config(folder: Path | None, **changes: Any) -> Any:
    """The model's configuration; early BERT exports do not say that they are BERTs."""
    from transformers import CONFIG_MAPPING

    assert folder is not None
    kind = json.loads((folder / "config.json").read_text()).get("model_type", "bert")
    return CONFIG_MAPPING[kind].from_pretrained(folder, **changes)


def quiet() -> None:
    """Keep the library's reports and bars out of ours."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _build_layers(folder: Path | None, num_labels: int, layers: Sequence[int], attention: str) -> Any:
    """The model with some of its encoder layers, in order; classifier and pooler as they were (or as drawn)."""
    from torch import nn

    model = load(folder, num_labels=num_labels, attention=attention)
    encoder = model.base_model.encoder
    encoder.layer = nn.ModuleList([encoder.layer[i] for i in layers])
    model.config.num_hidden_layers = len(layers)
    return model


def _tiny_config(layers: int, hidden: int, vocabulary: int, num_labels: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads(hidden),
        intermediate_size=2 * hidden, max_position_embeddings=TINY_POSITIONS, num_labels=num_labels,
        initializer_range=0.02 * math.sqrt(768 / hidden),  # the gain of BERT's 0.02 at its width of 768
    )  # fmt: skip


def tokenizer(ref: ModelRef, vocabulary: Sequence[str] = ()) -> Any:
    """The model's fast tokenizer."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    base, _ = split_name(ref.name)
    if not TINY.fullmatch(base):
        folder = available(ref)
        return AutoTokenizer.from_pretrained(folder, config=load_config(folder), use_fast=True, trust_remote_code=False)
    from tokenizers.implementations import BertWordPieceTokenizer

    words = BertWordPieceTokenizer({w: i for i, w in enumerate(tiny_tokens(vocabulary))}, lowercase=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=TINY_POSITIONS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
