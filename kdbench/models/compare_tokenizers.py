"""Compare tokenizers by their behaviour on text, not by their files."""

from __future__ import annotations

import json
from typing import Any

# parts of Hugging Face's serialised tokenizer that are not compared: set at every call, used for decoding, or with
# several equivalent forms (BertProcessing, TemplateProcessing), which are compared on PROBES instead
IGNORED = ("version", "truncation", "padding", "decoder", "post_processor")
PARTS = {"model": "vocabulary", "pre_tokenizer": "splitting into words", "added_tokens": "special tokens"}
PROBES = (("a",), ("a", "a"))


def difference(one: Any, other: Any) -> str:
    """Return in a word or two why two tokenizers encode the same text differently; "" when they do not.

    Compared are vocabulary, normalisation, splitting, special tokens and their places, token types, padding, and the
    inputs of the network.
    """
    a, b = (_parts(tokenizer) for tokenizer in (one, other))
    for part in dict.fromkeys([*a, *b]):
        if a.get(part) != b.get(part):
            return _of_normalisers(one, other) if part == "normalizer" else PARTS.get(part, part)
    return ""


def _parts(tokenizer: Any) -> dict[str, Any]:
    """Return everything that determines an encoding, by name, in the order in which differences are reported."""
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    known = {part: stored[part] for part in ("model", *stored) if part not in IGNORED}
    known["model"] = {key: value for key, value in stored["model"].items() if value not in (None, False, "")}
    coded = [tokenizer(*probe, return_token_type_ids=True) for probe in PROBES]
    return known | {
        "special tokens": [one["input_ids"] for one in coded],
        "token types": [one["token_type_ids"] for one in coded],
        "padding": (tokenizer.pad_token_id, tokenizer.padding_side, tokenizer.pad_token_type_id),
        "truncation": tokenizer.truncation_side,
        "model_input_names": sorted(tokenizer.model_input_names),
    }


def _of_normalisers(one: Any, other: Any) -> str:
    """Return in a word how two normalisers differ."""
    for name, sample in (("lower-casing", "A"), ("accents", "\u00e9")):
        if _normalised(one, sample) != _normalised(other, sample):
            return name
    return "normalisation"


def _normalised(tokenizer: Any, text: str) -> str:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return text if normalizer is None else str(normalizer.normalize_str(text))
