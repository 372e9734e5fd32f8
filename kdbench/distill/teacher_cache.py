"""What frozen networks say about a training set, kept on disk for every run that learns from the same network.

A table is found by content: the network's weights, the rows' tokens, what is read off the network, and the kernels that
computed it. So a run gets the same numbers whether its table was there before or not, and a network that has changed
is another network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kdbench.core.atomic_files import replacing
from kdbench.core.environment import environment
from kdbench.data.tokens import BERT_FORMAT, Tokens

WAIT = 600.0  # seconds for another process that makes the same table


def kept(folder: Path, key: Sequence[str], make: Callable[[], Tensor], fits: Callable[[Tensor], bool]) -> Tensor:
    """The table stored under `key`, made and stored when it is absent, damaged or does not fit.

    Args:
        make: computes it.
        fits: whether a table that was found agrees with what can be recomputed of it.
    """
    path = folder / f"{hashlib.sha256('|'.join(key).encode()).hexdigest()[:32]}.safetensors"
    with _one_at_a_time(path):
        found = _read(path)
        if found is not None and fits(found):
            return found
        values = make().cpu().contiguous()
        with replacing(path) as temporary:
            save_file({"values": values}, temporary, {"digest": _digest([values])})
        return values


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Of processes that want the same table one makes it; where locks do not work, each does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"), timeout=WAIT)
    try:
        lock.acquire()
    except (OSError, NotImplementedError, Timeout):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _read(path: Path) -> Tensor | None:
    """None for what is absent, cut short, foreign, or has other bytes than were written."""
    try:
        with safe_open(path, "pt") as file:
            values: Tensor = file.get_tensor("values")
            return values if file.metadata()["digest"] == _digest([values]) else None
    except Exception:  # a cache is never a reason to fail
        return None


def weights(module: nn.Module) -> str:
    """A hash of all parameters and buffers, by name."""
    state = module.state_dict()
    return hashlib.sha256("|".join([*state, _digest(state.values())]).encode()).hexdigest()


def texts(tokens: Tokens, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    """A hash of what a network gets to see of the rows, and of which they are."""
    arrays = (tokens.ids, tokens.types, tokens.starts, rows)
    known = _digest(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
    # BERT's way has no name, so that tables of before there were others stay valid
    return known if tokens.format == BERT_FORMAT else f"{known} {tokens.format}"


def kernels(device: torch.device) -> str:
    """All that decides about the last bits of a forward pass, as far as we know."""
    here = environment(str(device))
    half = str(torch.get_autocast_dtype(device.type)) if torch.is_autocast_enabled(device.type) else ""
    known = [here["gpu"] or here["cpu"], here["threads"], here["matmul_precision"], half, here["packages"]]
    return "|".join(map(str, known))


def _digest(tensors: Iterable[Tensor]) -> str:
    found = hashlib.blake2b(digest_size=32)
    for tensor in tensors:
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
