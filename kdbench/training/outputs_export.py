"""Write the outputs of a finished run's student to a file, from which other students can learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.core.atomic_files import replacing
from kdbench.core.errors import UserError
from kdbench.data.outputs_rows import ROW, SPLIT
from kdbench.results.study import Run

if TYPE_CHECKING:
    import torch
    from pandas import DataFrame

Writer = Callable[["DataFrame", Path], object]


def export_outputs(run: Run, target: Path, device: torch.device) -> int:
    """Write the logits of every row of every split; return the number of rows.

    Raises:
        UserError: the run is not done, its student or data are not what they were, or the file has another suffix.
    """
    import pandas as pd

    from kdbench.models.inference import all_logits
    from kdbench.training.saved_network import load_data, load_network
    from kdbench.training.setup import numerics

    writer = _writer(target)
    student, data, frames = load_network(run, device), load_data(run), []
    with numerics(run.spec, device, 0):
        for split in data.splits:
            tokens = student.tokens(data.splits[split])
            rows = np.arange(len(tokens))
            logits = all_logits(student.module, tokens, rows, device).numpy()
            columns = {label: logits[:, i] for i, label in enumerate(student.task.labels)}
            frames.append(pd.DataFrame({SPLIT: split, ROW: rows, **columns}))
    frame = pd.concat(frames, ignore_index=True)
    with replacing(target) as temporary:
        writer(frame, temporary)
    return len(frame)


def _writer(target: Path) -> Writer:
    """Return the function that writes a table in the format of the file's suffix.

    Raises:
        UserError: there is none.
    """
    writers: dict[str, Writer] = {
        ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
        ".npz": _write_arrays,
        ".csv": lambda frame, path: frame.to_csv(path, index=False),
        ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
        ".jsonl": _write_lines,
    }
    if target.suffix not in writers:
        raise UserError(f"--out {target} must end in {', '.join(writers)}.")
    return writers[target.suffix]


def _write_arrays(frame: DataFrame, path: Path) -> None:
    with path.open("wb") as file:
        arrays = {str(name): frame[name].to_numpy() for name in frame}
        np.savez(file, **{**arrays, SPLIT: arrays[SPLIT].astype(str)})  # type: ignore[arg-type]


def _write_lines(frame: DataFrame, path: Path) -> None:
    lines = (json.dumps(record) for record in frame.to_dict("records"))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
