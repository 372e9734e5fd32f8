"""Load the fast tokenizer of a model folder, converting what only a slow tokenizer would read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.models.configuration import first_line, load_config
from kdbench.models.model_files import AGAIN, has_sentencepiece_only


def load_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer; never code that lies beside it.

    Raises:
        UserError: its files are damaged, or transformers cannot make a fast tokenizer of them.
    """
    from transformers import AutoTokenizer

    config = load_config(folder)
    try:
        found = AutoTokenizer.from_pretrained(folder, config=config, use_fast=True, trust_remote_code=False)
    except Exception as error:  # whatever a converter makes of a file
        if has_sentencepiece_only(folder):  # of which transformers itself says that it needs tiktoken
            raise UserError(
                f"The tokenizer in {folder} is a SentencePiece file that could not be converted "
                f"({first_line(error)}); pip install sentencepiece protobuf, or put a tokenizer.json beside it."
            ) from error
        raise UserError(f"The tokenizer in {folder} cannot be loaded ({first_line(error)}); {AGAIN}.") from error
    if not found.is_fast:
        raise UserError(f"The tokenizer in {folder} has no fast form in transformers; put a tokenizer.json beside it.")
    return found
