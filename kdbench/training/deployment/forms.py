"""The forms in which a trained network can be used: torch, ONNX, and ONNX with 8-bit weights."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kdbench.core.errors import UserError
from kdbench.training.saved_network import SavedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

Network = Callable[[Mapping[str, Tensor]], Tensor]  # inputs of a batch [B, L] -> logits [B, C]
TORCH, ONNX, INT8 = "torch", "onnx", "int8"
PACKAGES = ("onnx", "onnxruntime")  # the extra `deploy`
OPSET = 17


def missing_packages() -> str:
    """Return the sentence that says what to install for ONNX; "" where all is there."""
    if all(importlib.util.find_spec(name) for name in PACKAGES):
        return ""
    return "ONNX needs packages that are not installed: pip install -c constraints.txt -e '.[deploy]'"


def torch_network(network: SavedNetwork) -> Network:
    """Return the network as torch computes it."""

    def compute(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network.module(**inputs).logits.float()
        return logits.clone()

    return compute


def write_onnx(network: SavedNetwork, example: Mapping[str, Tensor], path: Path) -> None:
    """Write a network as ONNX, for batches of any size and length.

    Args:
        example: inputs of a batch of two or more rows, one of them padded.

    Raises:
        UserError: ONNX is not installed, or has no form of this architecture.
    """
    _require_packages()
    names = list(example)

    class Logits(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *values: Tensor) -> Tensor:
            logits: Tensor = self.module(**dict(zip(names, values, strict=True))).logits
            return logits

    axes = {name: {0: "batch", 1: "length"} for name in names} | {"logits": {0: "batch"}}
    try:
        with _quiet():
            # the exporter of torch.export takes half a minute a network where this takes a second
            torch.onnx.export(
                Logits(network.module).eval(), tuple(example.values()), str(path), input_names=names,
                output_names=["logits"], dynamic_axes=axes, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
    except Exception as error:  # of many types, by architecture
        reason = str(error).partition("\n")[0][:200]
        raise UserError(f"{network.run.id} cannot be written as ONNX ({type(error).__name__}: {reason}).") from error


def write_int8(onnx: Path, path: Path) -> None:
    """Write an ONNX network with weights in 8 bits; activations are quantised as they come (dynamic quantisation)."""
    _require_packages()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(str(onnx), str(path), weight_type=QuantType.QInt8)


def onnx_network(path: Path, threads: int) -> Network:
    """Return an ONNX network as onnxruntime computes it on the CPU."""
    _require_packages()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    known = {one.name for one in session.get_inputs()}  # a network may leave out some that its tokenizer makes

    def compute(inputs: Mapping[str, Tensor]) -> Tensor:
        found: Any = session.run(None, {name: value.numpy() for name, value in inputs.items() if name in known})[0]
        return torch.from_numpy(found)

    return compute


def _require_packages() -> None:
    if problem := missing_packages():
        raise UserError(problem)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of exporters, which are about their own future."""
    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)
