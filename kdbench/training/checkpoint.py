"""Save and load the state of an unfinished run, in one safetensors file that is written atomically."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdbench.core.atomic_files import replacing
from kdbench.results.series import SeriesMark

if TYPE_CHECKING:
    from kdbench.distill.context import MethodContext
    from kdbench.distill.method import Method


@dataclass
class Progress:
    """Numbers of an unfinished run: position, best score, counts."""

    step: int = 0  # finished steps
    best_step: int = 0
    best_score: float | None = None
    loss: float | None = None  # of the last step that was looked at
    score: float | None = None  # the last one on the selection split, in per cent
    feedback_used: int = 0
    seconds: float = 0.0  # of training, over all processes that took part
    learners: dict[str, dict[str, int]] = field(default_factory=dict)
    series_size: int = 0  # bytes of the series file at this state
    series_digest: str = SeriesMark.digest
    cost: dict[str, Any] = field(default_factory=dict)  # of `CostMeter.state`


def save(path: Path, progress: Progress, context: MethodContext, method: Method) -> None:
    """Write all networks, optimisers and the method's own state. Every step seeds the generators, so none is saved."""
    tensors = {f"method/{k}": v for k, v in method.state().items()}
    progress.feedback_used, progress.cost = context.feedback_used, context.meter.state()
    for name, learner in context.learners.items():
        part, progress.learners[name] = learner.state()
        tensors |= {f"learner/{name}/{k}": v for k, v in part.items()}
    store(path, tensors, asdict(progress))


def load(path: Path, context: MethodContext, method: Method) -> Progress:
    """Restore what `save` wrote; return a new `Progress` if the file is absent or damaged."""
    try:
        tensors, numbers = read(path)
        progress = Progress(**numbers)
    except MemoryError:  # nothing is wrong with the file
        raise
    except Exception:  # absent, cut short or foreign: the run starts over, which costs only time
        return Progress()
    for name, learner in context.learners.items():
        start = f"learner/{name}/"
        part = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
        learner.load_state(part, progress.learners[name])
    method.load_state({k.removeprefix("method/"): v for k, v in tensors.items() if k.startswith("method/")})
    context.feedback_used = progress.feedback_used
    context.meter.load_state(progress.cost)
    return progress


def store(path: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write a safetensors file with numbers in its header."""
    with replacing(path) as temporary:
        save_file(
            {k: v.detach().clone().contiguous() for k, v in tensors.items()},
            temporary,
            {"numbers": json.dumps(numbers)},
        )


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and numbers that `store` wrote."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["numbers"])


def numbers_of(path: Path) -> dict[str, Any]:
    """Read the numbers that `store` wrote; {} if the file is absent, cut short or foreign."""
    try:
        with safe_open(path, "pt") as file:
            numbers: dict[str, Any] = json.loads(file.metadata()["numbers"])
            return numbers
    except Exception:
        return {}


def free(device: torch.device) -> None:
    """Release cached GPU memory between two runs of one process."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
