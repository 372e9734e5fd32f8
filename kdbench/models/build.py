"""Build networks and tokenizers, from a configuration or from a folder in Hugging Face format."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.spec import ModelRef
from kdbench.models import classifier_head
from kdbench.models.configuration import first_line, load_config
from kdbench.models.layer_selection import keep_layers
from kdbench.models.loading_report import check_complete, check_report
from kdbench.models.model_files import AGAIN
from kdbench.models.reference import TINY, TINY_POSITIONS, available, heads, split_name, tiny_tokens
from kdbench.models.tokenizer_loading import load_tokenizer

Log = Callable[[str], None]


def _log_nothing(text: str) -> None:
    """Ignore remarks on a loaded network."""


def build(
    ref: ModelRef, labels: Sequence[str], attention: str, vocabulary: Sequence[str] = (), log: Log = _log_nothing
) -> Any:
    """Build a text classifier: BERT from a configuration with random weights, or any architecture with loaded weights.

    Random weights (a tiny model, a new classifier) come from torch's global generator, which the caller seeds.

    Args:
        labels: the task's label words, in the order of its classes; the network is saved with them.
        log: receives a sentence for each new or unused part of a loaded network.

    Raises:
        UserError: the model's files are damaged, or do not fill the network.
    """
    from transformers import AutoModelForSequenceClassification

    base, layers = split_name(ref.name)
    if tiny := TINY.fullmatch(base):
        config = _tiny_config(int(tiny["layers"]), int(tiny["hidden"]), len(tiny_tokens(vocabulary)))
        classifier_head.set_labels(config, labels)
        return AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    folder = available(ref)
    assert folder is not None
    model = load(folder, attention=attention, labels=labels, log=lambda text: log(f"{ref.name}: {text}"))
    return keep_layers(model, layers, attention, ref.name) if layers else model


def load(folder: Path, *, attention: str, labels: Sequence[str] | None = None, log: Log = _log_nothing) -> Any:
    """Load a model in Hugging Face format: an initial model, or one that kdbench saved.

    Args:
        labels: the task's label words, for an initial model: its classifier is matched to them or initialised, and its
            pooler may be new. None requires a complete network in safetensors.
        log: see `build`.

    Raises:
        UserError: the files are damaged, or do not fill the network.
    """
    quiet()
    config = load_config(folder)
    words = classifier_head.label_words(config)
    if labels is None:
        model, report = load_reported(folder, config, attention, use_safetensors=True)
        check_complete(report, str(folder))
        return model
    classifier_head.set_labels(config, labels)
    model, report = load_reported(folder, config, attention, ignore_mismatched_sizes=True)
    parts = check_report(model, report, str(folder))
    for text in (*parts.describe(), classifier_head.fit_head(model, parts.fresh, words, labels)):
        if text:
            log(text)
    return model


def load_reported(folder: Path, config: Any, attention: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """Load a network and transformers' report on missing tensors; code in the folder is never executed.

    Raises:
        UserError: no text classifier has this architecture, or it has not this attention, or the files are damaged.
    """
    import transformers

    if type(config) not in transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise UserError(f"The model in {folder} is a {config.model_type}, of which there is no text classifier.")
    kind = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    if attention == "sdpa" and not getattr(kind, "_supports_sdpa", True):
        raise UserError(
            f"The model in {folder} is of type {config.model_type}, which has no attention=sdpa; give "
            "--set attention=eager."
        )
    try:
        loaded: tuple[Any, dict[str, Any]] = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, attn_implementation=attention, dtype="float32", output_loading_info=True,
            trust_remote_code=False, weights_only=True, **more,
        )  # fmt: skip
        return loaded
    except MemoryError:
        raise
    except Exception as error:  # a damaged file shows as anything, from OSError to UnpicklingError
        if "can't allocate memory" in str(error):
            raise
        raise UserError(f"The model in {folder} cannot be loaded ({first_line(error)}); {AGAIN}.") from error


def quiet() -> None:
    """Turn off transformers' warnings and progress bars."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _tiny_config(layers: int, hidden: int, vocabulary: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads(hidden),
        intermediate_size=2 * hidden, max_position_embeddings=TINY_POSITIONS,
        initializer_range=0.02 * math.sqrt(768 / hidden),  # the gain of BERT's 0.02 at its width of 768
    )  # fmt: skip


def tokenizer(ref: ModelRef, vocabulary: Sequence[str] = ()) -> Any:
    """Return the model's fast tokenizer."""
    from transformers import PreTrainedTokenizerFast

    base, _ = split_name(ref.name)
    if not TINY.fullmatch(base):
        folder = available(ref)
        assert folder is not None
        return load_tokenizer(folder)
    from tokenizers.implementations import BertWordPieceTokenizer

    words = BertWordPieceTokenizer({w: i for i, w in enumerate(tiny_tokens(vocabulary))}, lowercase=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=TINY_POSITIONS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
