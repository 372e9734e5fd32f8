"""Check the files of a model folder without torch and transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError

LFS_POINTER = b"version https://git-lfs"
QUANTISED = ("I8", "U8", "I4", "F8_E4M3", "F8_E5M2", "F4")  # as safetensors calls the types
# Names of weights, in the order in which transformers looks for them.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# Each group suffices for a tokenizer; names in .model are SentencePiece files.
TOKENIZERS = (
    ("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"), ("spm.model",), ("sentencepiece.bpe.model",),
    ("spiece.model",), ("tokenizer.model",),
)  # fmt: skip
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
AGAIN = "copy, fetch or train the model again"


def check_files(folder: Path) -> None:
    """Check that configuration, weights and tokenizer are present and complete, by headers and sizes.

    Raises:
        UserError: a file is missing, empty, cut short, or a git-lfs pointer.
    """
    for path in (folder / "config.json", *_tokenizer_files(folder), *_weight_files(folder)):
        _check_present(path)
        if path.suffix == ".safetensors":
            _check_safetensors(path)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        UserError: it is missing, a git-lfs pointer, not JSON, or JSON of another kind.
    """
    try:
        values = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); {AGAIN}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no JSON object, but {type(values).__name__}; {AGAIN}.")
    return values


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        UserError: it is missing, a git-lfs pointer, or not UTF-8.
    """
    _check_present(path)
    try:
        return path.read_text(encoding="utf-8")
    except ValueError:
        raise UserError(f"{path} is no text in UTF-8; {AGAIN}.") from None


def has_sentencepiece_only(folder: Path) -> bool:
    """Return whether the only tokenizer is a SentencePiece file, which must be converted."""
    return all(name.endswith(".model") for name in _first_complete(folder))


def _tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of the tokenizer."""
    return [folder / name for name in (*_first_complete(folder), *TOKENIZER_SETTINGS) if (folder / name).is_file()]


def _first_complete(folder: Path) -> tuple[str, ...]:
    for names in TOKENIZERS:
        if all((folder / name).is_file() for name in names):
            return names
    known = ", ".join(" with ".join(names) for names in TOKENIZERS)
    raise UserError(f"The model folder {folder} has no tokenizer; it needs one of: {known}.")


def _weight_files(folder: Path) -> Iterator[Path]:
    """Yield the files of the weights; an index names those of a sharded model."""
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise UserError(
            f"The model folder {folder} has no weights; it needs model.safetensors or pytorch_model.bin "
            f"(save the model with save_pretrained())."
        )
    yield folder / name
    if name.endswith(".index.json"):
        places = read_object(folder / name).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise UserError(f"{folder / name} does not say where the weights are (weight_map); {AGAIN}.")
        yield from (folder / str(part) for part in dict.fromkeys(places.values()))


def _check_present(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing; {AGAIN}.")
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable, or {AGAIN}.") from None
    if not start:
        raise UserError(f"{path} is empty; {AGAIN}.")
    if start == LFS_POINTER:
        raise UserError(
            f"{path} is a git-lfs pointer and not the file itself; run 'git lfs pull' in {path.parent}, or {AGAIN}."
        )


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:  # reads the header and compares it with the file's size
            kinds = {key: file.get_slice(key).get_dtype() for key in file.keys() if key.endswith("weight")}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is cut short or damaged ({error}); {AGAIN}.") from None
    # transformers would read quantised weights as plain numbers, without their scales
    if quantised := {key: kind for key, kind in kinds.items() if kind in QUANTISED}:
        key, kind = next(iter(quantised.items()))
        raise UserError(
            f"{path} holds quantised weights ({key} is {kind}), which cannot be trained; give the model as it was "
            "before it was quantised."
        )
