"""Mark networks whose tokenizer is not the student's, so that each reads its own tokens."""

from __future__ import annotations

from torch import nn

MARK = "_kdbench_tokenizer"


def set_tokenizer(module: nn.Module, tokenizer: str) -> None:
    """Mark a network with its tokenizer, a key of `Tokens.others`; "" is the student's and leaves no mark."""
    if tokenizer:
        setattr(module, MARK, tokenizer)


def tokenizer_of(module: nn.Module) -> str:
    """Return the tokenizer of a network, or of the network within a module; "" for the student's.

    A deep copy of a marked network is marked too.
    """
    return next((str(vars(part)[MARK]) for part in module.modules() if MARK in vars(part)), "")
