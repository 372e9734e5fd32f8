"""Write a trained network into a folder that needs no kdbench, and load it from there again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kdbench.core.errors import UserError
from kdbench.models.inference import all_logits
from kdbench.results.study import Run
from kdbench.training.deployment import forms
from kdbench.training.deployment.measure import CPU, example_batch
from kdbench.training.saved_network import load_data, load_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

HF = "hf"
FORMATS = (HF, forms.ONNX, forms.INT8)
WEIGHTS = "model.onnx"
CHECKED = 64  # rows
CLOSE = 1e-3  # largest difference of a logit, relative to the largest logit


@dataclass(frozen=True)
class ExportCheck:
    """Compare how the written network answers, loaded by other libraries than kdbench.

    Attributes:
        rows: number of reported rows that were asked.
        difference: the largest difference of a logit.
        agreement: share of rows with the same class; None in a regression.
    """

    rows: int
    difference: float
    agreement: float | None

    @property
    def class_words(self) -> str:
        """Say in how many rows the class is the same; "" in a regression."""
        return "" if self.agreement is None else f", and the same class to {100 * self.agreement:.1f} %"


def export_network(run: Run, form: str, folder: Path) -> ExportCheck:
    """Write the student of a run into an empty folder, load it again and compare its answers.

    Args:
        form: one of `FORMATS`.

    Raises:
        UserError: the run has no network, ONNX is not installed, or the written network answers otherwise.
    """
    network, data = load_network(run, CPU), load_data(run)
    examples = data.splits[network.task.report_splits[0]]
    tokens = network.tokens(examples)
    rows = np.arange(min(CHECKED, len(tokens)))
    expected = all_logits(network.module, tokens, rows, CPU).numpy()
    if form == HF:
        shutil.copytree(run.folder.model, folder, dirs_exist_ok=True)
    else:
        shutil.copytree(run.folder.model, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
        target = folder / WEIGHTS
        forms.write_onnx(network, example_batch(tokens), target)
        if form == forms.INT8:
            whole = target.rename(folder / "float.onnx")
            forms.write_int8(whole, target)
            whole.unlink()
    second = None if examples.text_b is None else list(examples.text_b[: len(rows)])
    found = exported_logits(folder, form, list(examples.text_a[: len(rows)]), second, run.spec.training.max_length)
    difference = float(np.abs(found - expected).max())
    if not np.isfinite(found).all() or (form != forms.INT8 and difference > CLOSE * max(1.0, np.abs(expected).max())):
        raise UserError(
            f"The network written as {form} answers otherwise than the student of {run.id} (logits differ by up to "
            f"{difference:.2g}), so it was not kept; choose another of {', '.join(FORMATS)}."
        )
    agreement = None if expected.shape[1] == 1 else float((found.argmax(1) == expected.argmax(1)).mean())
    return ExportCheck(len(rows), difference, agreement)


def exported_logits(
    folder: Path, form: str, first: Sequence[str], second: Sequence[str] | None, max_length: int
) -> NDArray[np.float32]:  # fmt: skip
    """Return logits [n, C] of texts as transformers, and onnxruntime for ONNX, compute them from the folder alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    coded = tokenizer(first, second, truncation=True, max_length=max_length, padding=True, return_tensors="np")
    out: Any
    if form == HF:
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.no_grad():
            out = model(**{name: torch.from_numpy(values) for name, values in coded.items()}).logits.numpy()
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / WEIGHTS), providers=["CPUExecutionProvider"])
        out = session.run(None, dict(coded))[0]
    return np.asarray(out, np.float32)
