"""Small models of many architectures, saved as a user would have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers.implementations import BertWordPieceTokenizer

LETTERS = [chr(97 + i) for i in range(26)]
# any word of letters can be read; the doubled ones only fill the table
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{x}" for x in LETTERS)]
SIZES = {"num_hidden_layers": 4, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
WITH_LAYERS: dict[str, dict[str, Any]] = {
    "bert": SIZES, "roberta": SIZES, "xlm-roberta": SIZES, "electra": {**SIZES, "embedding_size": 16}, "mpnet": SIZES,
    "deberta-v2": SIZES, "modernbert": {**SIZES, "pad_token_id": 0},
    "distilbert": {"n_layers": 4, "dim": 32, "hidden_dim": 64, "n_heads": 2},
    "gpt2": {"n_layer": 4, "n_embd": 32, "n_head": 2, "n_inner": 64, "pad_token_id": 0},
    "xlnet": {"n_layer": 4, "d_model": 32, "d_inner": 64, "n_head": 2},
}  # fmt: skip
ARCHITECTURES = {**WITH_LAYERS, "albert": {**SIZES, "embedding_size": 16}}
MNLI = ("contradiction", "entailment", "neutral")  # not the order of the task


def config(kind: str = "bert", **changes: Any) -> Any:
    """A configuration of four layers of width 32; `labels` are its label words."""
    if labels := changes.pop("labels", None):
        changes |= {"id2label": dict(enumerate(labels)), "label2id": {word: i for i, word in enumerate(labels)}}
    return transformers.CONFIG_MAPPING[kind](**{"vocab_size": len(WORDS), **ARCHITECTURES[kind], **changes})


def save(folder: Path, made: Any, auto: Any = transformers.AutoModelForSequenceClassification) -> Path:
    """Save a network of that configuration, every parameter drawn, and a tokenizer."""
    transformers.logging.disable_progress_bar()
    model = auto.from_config(made)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)  # so that a tensor that was loaded differs from one that was drawn
    model.save_pretrained(folder)
    words = BertWordPieceTokenizer({word: i for i, word in enumerate(WORDS)}, lowercase=True)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder's weights."""
    return load_file(folder / "model.safetensors")


def rename(folder: Path, change: Callable[[str], str | None]) -> None:
    """Rename the tensors of a folder's weights; None drops one."""
    kept = {name: tensor for key, tensor in tensors(folder).items() if (name := change(key)) is not None}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def set_config(folder: Path, **values: Any) -> None:
    """Change keys of a folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
