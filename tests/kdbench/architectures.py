"""Small networks of many kinds, on disk as a user would have them: each with a tokenizer of its own kind."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

from kdbench.tasks.lexicon import vocabulary

CHARACTERS = [*string.ascii_lowercase, *string.digits, *".,?!'-"]
WORDS = [word for word in vocabulary() if word not in CHARACTERS]
SIZE = {
    "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "embedding_size": 16,
    "initializer_range": 0.3,  # so that logits differ by more than rounding
}  # fmt: skip


def pieces(*special: str) -> dict[str, int]:
    """WordPiece: words, and characters in and at the start of words."""
    return {w: i for i, w in enumerate([*special, *CHARACTERS, *(f"##{c}" for c in CHARACTERS), *WORDS])}


def unigrams(*special: str) -> list[tuple[str, float]]:
    """SentencePiece: words with the mark of their start, and characters."""
    known = ["▁", *CHARACTERS, *(f"▁{word}" for word in WORDS)]
    return [*((word, 0.0) for word in special), *((piece, -1 - len(known) / (1 + len(piece))) for piece in known)]


def letters(*special: str) -> dict[str, int]:
    """Byte-level BPE without merges."""
    return {w: i for i, w in enumerate([*special, *sorted(ByteLevel.alphabet())])}


def modern() -> Any:
    words = pieces("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    backend = transformers.BertTokenizer(vocab=words).backend_tokenizer
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def bert(**settings: Any) -> Any:
    return transformers.BertTokenizer(vocab=pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), **settings)


def gpt2(**settings: Any) -> Any:
    return transformers.GPT2Tokenizer(vocab=letters("<|endoftext|>", "<pad>"), merges=[], **settings)


ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
TOKENIZERS: dict[str, Callable[[], Any]] = {
    "albert": lambda: transformers.AlbertTokenizer(vocab=unigrams("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")),
    "bert": bert,
    "big_bird": lambda: transformers.BigBirdTokenizer(
        vocab=unigrams("<pad>", "<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    ),
    "deberta": lambda: transformers.DebertaTokenizer(
        vocab=letters("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"), merges=[]
    ),
    "deberta-v2": lambda: transformers.DebertaV2Tokenizer(vocab=unigrams("[PAD]", "[CLS]", "[SEP]", "[UNK]")),
    "distilbert": lambda: transformers.DistilBertTokenizer(vocab=pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")),
    "electra": bert,
    "gpt2": lambda: gpt2(pad_token="<pad>"),
    "modernbert": modern,
    "mpnet": lambda: transformers.MPNetTokenizer(vocab=pieces("<s>", "<pad>", "</s>", "[UNK]", "<mask>")),
    "roberta": lambda: transformers.RobertaTokenizer(vocab=letters(*ROBERTA), merges=[]),
    "xlm-roberta": lambda: transformers.XLMRobertaTokenizer(vocab=unigrams(*ROBERTA)),
    "xlnet": lambda: transformers.XLNetTokenizer(
        vocab=unigrams("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>")
    ),
}
TOKENIZERS["deberta-v3"] = TOKENIZERS["deberta-v2"]
# as published: version 3 has no convolution and no token types
DEBERTA = {
    "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": "p2c|c2p", "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "deberta-v2": {**DEBERTA, "conv_kernel_size": 3, "conv_act": "gelu"},
    "deberta-v3": DEBERTA,
    "gpt2": {"bos_token_id": 0, "eos_token_id": 0},
    "xlnet": {"d_head": 16, "d_inner": 64},
}
MODEL_TYPES = {"deberta-v3": "deberta-v2"}  # where Hugging Face has another name


def save(folder: Path, kind: str, tokenizer: Any = None, **settings: Any) -> Path:
    """Write a network of random weights and its tokenizer.

    Args:
        kind: the architecture, one of TOKENIZERS.
        tokenizer: instead of the kind's own.
        settings: of the configuration, beyond a small size and the tokenizer's padding token.
    """
    tokenizer = tokenizer or TOKENIZERS[kind]()
    config = transformers.CONFIG_MAPPING[MODEL_TYPES.get(kind, kind)]
    known = {
        **SIZE,
        **OWN_SETTINGS.get(kind, {}),
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        **settings,
    }
    torch.manual_seed(1)
    network = transformers.AutoModelForSequenceClassification.from_config(config(**known))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
