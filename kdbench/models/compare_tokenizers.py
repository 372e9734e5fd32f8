"""Compare tokenizers by what they do to text, however their files are written."""

from __future__ import annotations

import json
from typing import Any

# of Hugging Face's serialised tokenizer: what is set anew at every call, what turns ids back into text, and what has
# several forms that do the same (BertProcessing, TemplateProcessing) and is told by what it does to the probes
IGNORED = ("version", "truncation", "padding", "decoder", "post_processor")
PARTS = {"model": "vocabulary", "pre_tokenizer": "splitting into words", "added_tokens": "special tokens"}
PROBES = (("a",), ("a", "a"))


def difference(one: Any, other: Any) -> str:
    """Name what makes two tokenizers turn the same text into other inputs, in a word or two; "" when nothing does.

    Compared are vocabulary, normalisation, splitting, special tokens, where these and token types are put, padding, and
    the inputs that the network is given.
    """
    a, b = (_parts(tokenizer) for tokenizer in (one, other))
    for part in dict.fromkeys([*a, *b]):
        if a.get(part) != b.get(part):
            return _of_normalisers(one, other) if part == "normalizer" else PARTS.get(part, part)
    return ""


def _parts(tokenizer: Any) -> dict[str, Any]:
    """All that decides, by name, in the order in which differences are told."""
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
    """What differs in the text before it is split."""
    for name, sample in (("lower-casing", "A"), ("accents", "\u00e9")):
        if _normalised(one, sample) != _normalised(other, sample):
            return name
    return "normalisation"


def _normalised(tokenizer: Any, text: str) -> str:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return text if normalizer is None else str(normalizer.normalize_str(text))
