"""Small untrained networks of many architectures on disk, as a user would have them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *string.printable[:62],
    *("##" + c for c in string.printable[:62]),
]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
KINDS: dict[str, dict[str, Any]] = {
    "bert": SIZE,
    "electra": {**SIZE, "embedding_size": 16},
    "roberta": {**SIZE, "max_position_embeddings": 66, "type_vocab_size": 2},  # two positions are never used
    "mpnet": SIZE,
    "albert": {**SIZE, "embedding_size": 16},
    "deberta-v2": {**SIZE, "type_vocab_size": 2},
    "modernbert": {**SIZE, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "pad_token_id": 0},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "pad_token_id": 0},
}


def save_model(folder: Path, kind: str, **changes: Any) -> Path:
    """A classifier of this `model_type` with a tokenizer that reads any text.

    Args:
        changes: of its configuration.
    """
    from tokenizers.implementations import BertWordPieceTokenizer
    from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

    config = AutoConfig.for_model(kind, **{"vocab_size": len(WORDS), **KINDS[kind], **changes})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    words = BertWordPieceTokenizer({word: i for i, word in enumerate(WORDS)}, lowercase=True)
    PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    return folder
