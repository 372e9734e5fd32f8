"""Store what was measured of a run's student in use: deployment.json in its folder, written by `kdbench measure`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from kdbench.core.errors import UserError
from kdbench.core.records import read_record
from kdbench.results.study import Run

FILE = "deployment.json"


class Latency(BaseModel):
    """Seconds of a batch."""

    p50: float
    p95: float
    batches: int


class FormRecord(BaseModel):
    """A form of a network: torch, onnx or int8.

    Attributes:
        bytes: size of the weights on disk.
        latency: by number of rows in a batch.
        throughput: rows a second, in the largest batches.
        scores: as fractions, by report split and metric.
        agreement: share of reported items with the class of the torch form, and the 95 % interval.
        change: of the mean score against the torch form in per cent, and its 95 % interval over items.
    """

    bytes: int
    latency: dict[int, Latency]
    throughput: float
    scores: dict[str, dict[str, float]]
    agreement: tuple[float, float, float]
    change: tuple[float, float, float]


class Deployment(BaseModel):
    """The measurements of one student.

    Attributes:
        embeddings: parameters of the lookup tables, of all `parameters`.
        flops: of a forward pass over one row of `length` tokens, the mean; a multiplication and an addition are two.
    """

    model_config = ConfigDict(extra="ignore")

    parameters: int
    embeddings: int
    flops: int
    length: float
    threads: int
    environment: dict[str, Any]
    forms: dict[str, FormRecord]


def read_deployment(run: Run) -> Deployment | None:
    """Return what was measured of a run; None where nothing was."""
    try:
        return read_record(run.folder.path / FILE, Deployment)
    except (UserError, OSError):
        return None
