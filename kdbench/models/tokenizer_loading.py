"""Load the fast tokenizer of a model folder, converting SentencePiece files if necessary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.models.configuration import first_line, load_config
from kdbench.models.model_files import AGAIN, has_sentencepiece_only


def load_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer; code in the folder is never executed.

    Raises:
        UserError: the files are damaged, or transformers cannot make a fast tokenizer of them.
    """
    from transformers import AutoTokenizer

    config = load_config(folder)
    try:
        found = AutoTokenizer.from_pretrained(folder, config=config, use_fast=True, trust_remote_code=False)
    except Exception as error:  # converters raise errors of many types
        if has_sentencepiece_only(folder):  # transformers' own message would name tiktoken
            raise UserError(
                f"The tokenizer in {folder} is a SentencePiece file that could not be converted "
                f"({first_line(error)}); pip install sentencepiece protobuf, or put a tokenizer.json beside it."
            ) from error
        raise UserError(f"The tokenizer in {folder} cannot be loaded ({first_line(error)}); {AGAIN}.") from error
    if not found.is_fast:
        raise UserError(f"The tokenizer in {folder} has no fast form in transformers; put a tokenizer.json beside it.")
    return found
