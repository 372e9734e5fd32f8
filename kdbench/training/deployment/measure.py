"""Measure a trained network in use: size, operations, latency, and what ONNX and 8 bits change."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.core.atomic_files import write_json
from kdbench.core.environment import environment
from kdbench.data.batches import collate
from kdbench.data.task import Task
from kdbench.data.tokens import Tokens
from kdbench.models.inference import compute_rows
from kdbench.results.comparison import MeanMetric, answers_difference
from kdbench.results.deployment import FILE, Deployment, FormRecord, Latency
from kdbench.results.item_statistics import average_over_seeds, mean_of
from kdbench.results.study import Run
from kdbench.training.deployment import forms
from kdbench.training.deployment.forms import Network
from kdbench.training.saved_network import SavedNetwork, load_data, load_network

BATCHES = (1, 32)  # rows in a batch
WARM_UP, FEWEST, MOST = 3, 20, 300  # batches
CPU = torch.device("cpu")
Logits = dict[str, Tensor]  # split -> [n, C]


def measure(run: Run, threads: int, seconds: float) -> Deployment:
    """Measure the student of a run on this CPU, and store the result in its folder.

    Args:
        threads: of every form.
        seconds: about how long each latency is measured.

    Raises:
        UserError: the run is not done, or its student or data are not what they were.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        network = load_network(run, CPU)
        data = load_data(run)
        tokens = {split: network.tokens(data.splits[split]) for split in network.task.report_splits}
        found = _measured(network, tokens, threads, seconds)
    finally:
        torch.set_num_threads(before)
    write_json(run.folder.path / FILE, found.model_dump(mode="json"))
    return found


def _measured(network: SavedNetwork, tokens: Mapping[str, Tokens], threads: int, seconds: float) -> Deployment:
    first = next(iter(tokens.values()))
    length = float(np.concatenate([part.lengths for part in tokens.values()]).mean())
    parameters, embeddings = count_parameters(network.module)
    weights = sum(f.stat().st_size for f in network.run.folder.model.glob("*.safetensors"))
    plain = forms.torch_network(network)
    base = all_rows(plain, tokens)
    found = {forms.TORCH: _form(network.task, plain, weights, tokens, base, base, seconds)}
    if not forms.missing_packages():
        with tempfile.TemporaryDirectory(prefix="kdbench-") as folder:
            paths = {name: Path(folder) / f"{name}.onnx" for name in (forms.ONNX, forms.INT8)}
            forms.write_onnx(network, example_batch(first), paths[forms.ONNX])
            forms.write_int8(paths[forms.ONNX], paths[forms.INT8])
            for name, path in paths.items():
                other = forms.onnx_network(path, threads)
                logits = all_rows(other, tokens)
                size = path.stat().st_size
                found[name] = _form(network.task, other, size, tokens, base, logits, seconds)
    known = environment("cpu")
    return Deployment(
        parameters=parameters, embeddings=embeddings, flops=count_flops(network, round(length)), length=length,
        threads=threads, environment={key: known[key] for key in ("cpu", "cores", "packages")}, forms=found,
    )  # fmt: skip


def example_batch(tokens: Tokens) -> dict[str, Tensor]:
    """Return the inputs of the shortest and the longest row together, so that one is padded."""
    order = np.argsort(tokens.lengths, kind="stable")
    return collate(tokens, order[[0, -1]], CPU).inputs


def all_rows(network: Network, tokens: Mapping[str, Tokens]) -> Logits:
    """Compute the logits of all rows of each split, in order."""
    return {split: compute_rows(network, part, np.arange(len(part)), CPU) for split, part in tokens.items()}


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Return the number of parameters, and how many of them are lookup tables; shared ones count once."""
    tables = {id(layer.weight): layer.weight for layer in module.modules() if isinstance(layer, nn.Embedding)}
    every = sum(value.numel() for value in module.parameters())
    return every, sum(value.numel() for value in tables.values())


def count_flops(network: SavedNetwork, length: int) -> int:
    """Count the operations of a forward pass over one row, by torch's counter: products of matrices and attention."""
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.full((1, length), int(network.tokenizer.unk_token_id or 0))
    names = network.tokenizer.model_input_names
    inputs = {name: torch.zeros_like(ids) if name == "token_type_ids" else torch.ones_like(ids) for name in names}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.module(**{**inputs, "input_ids": ids})
    return int(counter.get_total_flops())


def _form(
    task: Task, network: Network, size: int, tokens: Mapping[str, Tokens], base: Logits, logits: Logits, seconds: float
) -> FormRecord:  # fmt: skip
    """Time a form, and compare its answers with those of the torch form."""
    first = next(iter(tokens.values()))
    times = {rows: batch_seconds(network, first, rows, seconds) for rows in BATCHES}
    latency = {
        rows: Latency(p50=float(np.percentile(some, 50)), p95=float(np.percentile(some, 95)), batches=len(some))
        for rows, some in times.items()
    }
    labels = {split: part.labels for split, part in tokens.items()}
    scores = {s: task.score_checked(logits[s].argmax(1).tolist(), labels[s].tolist()) for s in tokens}
    same = [mean_of((logits[s].argmax(1) == base[s].argmax(1)).numpy()) for s in tokens]
    agreement = average_over_seeds([same])
    low, high = agreement.interval()
    largest = BATCHES[-1]
    return FormRecord(
        bytes=size, latency=latency, throughput=largest / float(np.mean(times[largest])), scores=scores,
        agreement=(agreement.value, max(0.0, low), min(1.0, high)), change=score_change(task, labels, base, logits),
    )  # fmt: skip


def score_change(
    task: Task, labels: Mapping[str, np.ndarray], base: Logits, logits: Logits
) -> tuple[float, float, float]:  # fmt: skip
    """Return the change of the mean score in per cent, with its 95 % interval over items."""

    classes = ((found[split].argmax(1).numpy()[None] for found in (logits, base)) for split in labels)
    splits = [(labels[split], new, old) for split, (new, old) in zip(labels, classes, strict=True)]
    found = answers_difference(MeanMetric(task), splits, len(task.labels))
    return (found.value, *found.interval())


def batch_seconds(network: Network, tokens: Tokens, rows: int, seconds: float) -> Sequence[float]:
    """Time batches of random rows of a split, each padded to its longest row.

    Args:
        rows: in a batch; a smaller split gives smaller batches.
        seconds: about how long to measure, at least `FEWEST` batches and at most `MOST`.
    """
    rng, times = np.random.default_rng(0), list[float]()
    size = min(rows, len(tokens))
    batches = [collate(tokens, rng.choice(len(tokens), size, replace=False), CPU).inputs for _ in range(FEWEST)]
    for inputs in batches[:WARM_UP]:
        network(inputs)
    while len(times) < FEWEST or (sum(times) < seconds and len(times) < MOST):
        start = time.perf_counter()
        network(batches[len(times) % FEWEST])
        times.append(time.perf_counter() - start)
    return times
