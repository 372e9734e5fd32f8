"""Cache the outputs of frozen teachers on disk, for all runs that have the same teacher and training set.

The key of a table covers the network's weights, the rows' tokens, the quantity, and the kernels that computed it. So a
run gets the same numbers with and without a cached table, and a changed network has another table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kdbench.core.atomic_files import replacing
from kdbench.core.environment import environment
from kdbench.data.tokens import BERT_FORMAT, Tokens
from kdbench.models import cls_only_layer
from kdbench.models.inference import describe_batches

Rows = NDArray[np.int64]

LOCK_TIMEOUT = 600.0  # seconds to wait for another process that computes the same table


def load_or_compute(
    folder: Path, key: Sequence[str], compute: Callable[[], Tensor], is_valid: Callable[[Tensor], bool]
) -> Tensor:
    """Load the table with this key, or compute and store it if it is absent, damaged or invalid.

    Args:
        is_valid: compares a stored table with a recomputed sample.
    """
    path = folder / f"{hashlib.sha256('|'.join(key).encode()).hexdigest()[:32]}.safetensors"
    with _table_lock(path):
        stored = _read_table(path)
        if stored is not None and is_valid(stored):
            return stored
        values = compute().cpu().contiguous()
        # a cache that cannot be written must not stop a run
        with suppress(OSError, SafetensorError), replacing(path) as temporary:
            save_file({"values": values}, temporary, {"digest": hash_tensors([values])})
        return values


@contextmanager
def _table_lock(path: Path) -> Iterator[None]:
    """Let one process compute a table while others wait; on file systems without locks each computes it."""
    lock = FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError, Timeout):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _read_table(path: Path) -> Tensor | None:
    """Read a table; None if the file is absent, damaged or not a table."""
    try:
        with safe_open(path, "pt") as file:
            values: Tensor = file.get_tensor("values")
            return values if file.metadata()["digest"] == hash_tensors([values]) else None
    except Exception:  # a damaged cache must not stop a run
        return None


def forward_key(module: nn.Module, tokens: Tokens, rows: Rows, quantity: str, device: torch.device) -> tuple[str, ...]:
    """Return everything that decides about a quantity of some rows in eval mode.

    That is: weights, inputs, quantity, attention, kernels, and the batches of `compute_rows`.
    """
    config: Any = getattr(module, "config", None)
    layer = ("last layer: first token",) if cls_only_layer.is_installed(module) else ()
    attention = str(getattr(config, "_attn_implementation", ""))
    how = (attention, *layer, describe_kernels(device), *describe_batches(device))
    return hash_weights(module), hash_inputs(tokens, rows), quantity, *how


def hash_weights(module: nn.Module) -> str:
    """Hash all parameters and buffers with their names."""
    state = module.state_dict()
    return hashlib.sha256("|".join([*state, hash_tensors(state.values())]).encode()).hexdigest()


def hash_inputs(tokens: Tokens, rows: Rows) -> str:
    """Hash the tokens, the row numbers and the input format."""
    arrays = (tokens.ids, tokens.types, tokens.starts, rows)
    digest = hash_tensors(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
    # BERT's format is not in the hash, so that tables older than the other formats stay valid
    return digest if tokens.format == BERT_FORMAT else f"{digest} {tokens.format}"


def describe_kernels(device: torch.device) -> str:
    """Describe what can change the last bits of a forward pass: processor, threads, precision, package versions."""
    env = environment(str(device))
    half = str(torch.get_autocast_dtype(device.type)) if torch.is_autocast_enabled(device.type) else ""
    return "|".join(
        map(str, [env["gpu"] or env["cpu"], env["threads"], env["matmul_precision"], half, env["packages"]])
    )


def hash_tensors(tensors: Iterable[Tensor]) -> str:
    """Hash types, shapes and values of tensors."""
    digest = hashlib.blake2b(digest_size=32)
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
