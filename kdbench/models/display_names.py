"""Names of networks for tables, figures and reports, from model references alone."""

from __future__ import annotations

import re

from kdbench.core.spec import ModelRef
from kdbench.models.reference import NAME

OWNERS = ("google-bert/", "google/", "distilbert/", "FacebookAI/")  # on the Hugging Face hub, of the networks below
# name without owner -> name in papers, number of encoder layers
KNOWN = {
    "minilm": ("MiniLM-L6", 6),
    "bert-base-uncased": ("BERT-Base", 12),
    "bert-base-cased": ("BERT-Base, cased", 12),
    "bert-large-uncased": ("BERT-Large", 24),
    "bert-large-cased": ("BERT-Large, cased", 24),
    "distilbert-base-uncased": ("DistilBERT", 6),
    "roberta-base": ("RoBERTa-Base", 12),
    "roberta-large": ("RoBERTa-Large", 24),
    "distilroberta-base": ("DistilRoBERTa", 6),
    "electra-small-discriminator": ("ELECTRA-Small", 12),
    "electra-base-discriminator": ("ELECTRA-Base", 12),
}
SELF_EXPLAINING = re.compile(r"-L\d+$")  # a name that tells its number of layers
MINIATURE = re.compile(r"bert_uncased_L-(?P<layers>\d+)_H-(?P<width>\d+)_A-\d+")


def display_name(ref: ModelRef) -> str:
    """Return a network's name as in papers: `BERT-Base (12 layers)`, `MiniLM (layers 1, 3, 5)`.

    A folder keeps its name, even if a known network has the same; so does a network that is not listed here.
    """
    base, layers = ref.title, ""
    chosen = NAME.fullmatch(ref.title)
    # a folder may be called like a choice of layers; its fingerprint tells
    if chosen and chosen["layers"] and ref.fingerprint.endswith(f":{chosen['layers']}"):
        base, layers = chosen["base"], chosen["layers"].replace("+", ", ")
    named, total = (base, "") if ref.is_local else _known(base)
    if layers:
        return f"{SELF_EXPLAINING.sub('', named)} (layer{'s' * (',' in layers)} {layers})"
    return f"{named} ({total})" if total and not SELF_EXPLAINING.search(named) else named


def _known(base: str) -> tuple[str, str]:
    """Return a network's name in papers and its size; its own name and "" if it is not listed here."""
    name, at, revision = base.partition("@")
    own = next((name.removeprefix(owner) for owner in OWNERS if name.startswith(owner)), name)
    if found := MINIATURE.fullmatch(own):
        named, size = "BERT", f"{found['layers']} layers, width {found['width']}"
    elif own in KNOWN:
        named, size = KNOWN[own][0], f"{KNOWN[own][1]} layers"
    else:
        return base, ""
    return (f"{named} at {revision}" if at else named), size
