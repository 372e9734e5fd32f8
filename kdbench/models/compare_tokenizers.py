"""Compare tokenizers by what they do to text, however their files are written."""

from __future__ import annotations

import json
from typing import Any

# of Hugging Face's serialised tokenizer: what is set anew at every call, and what turns ids back into text
IGNORED = ("version", "truncation", "padding", "decoder")
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
    if hasattr(tokenizer, "backend_tokenizer"):
        stored = json.loads(tokenizer.backend_tokenizer.to_str())
        known = {part: value for part, value in stored.items() if part not in IGNORED}
        known["model"] = _with_defaults(known["model"])
        # forms of one post-processor differ in text (BertProcessing, TemplateProcessing); what they do does not
        del known["post_processor"]
        known = {part: known[part] for part in ("model", *known)}
    else:  # one in plain Python has no parts that could be compared one by one
        settings = {k: str(v) for k, v in tokenizer.init_kwargs.items() if k not in ("name_or_path", "vocab_file")}
        known = {"model": tokenizer.get_vocab(), "settings": (type(tokenizer).__name__, settings)}
    coded = [tokenizer(*probe, return_token_type_ids=True) for probe in PROBES]
    return known | {
        "special tokens": [(one["input_ids"], tokenizer.pad_token_id) for one in coded],
        "token types": [one["token_type_ids"] for one in coded],
        "padding": (tokenizer.padding_side, tokenizer.pad_token_type_id),
        "truncation": tokenizer.truncation_side,
        "inputs": sorted(tokenizer.model_input_names),
    }


def _with_defaults(model: dict[str, Any]) -> dict[str, Any]:
    """A model without the entries that are as good as absent."""
    return {key: value for key, value in model.items() if value not in (None, False, "")}


def _of_normalisers(one: Any, other: Any) -> str:
    """What differs in the text before it is split."""
    for name, sample in (("lower-casing", "A"), ("accents", "\u00e9")):
        if _normalised(one, sample) != _normalised(other, sample):
            return name
    return "normalisation"


def _normalised(tokenizer: Any, text: str) -> str:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return text if normalizer is None else str(normalizer.normalize_str(text))
