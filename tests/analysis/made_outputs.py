"""Results folders whose runs keep logits, for tables of single items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from kdbench.core.atomic_files import read_json, write_json
from kdbench.results.store import Store
from tests.analysis.made import Made, spec, teacher

ROWS, CLASSES = 200, 2
LABELS = np.random.default_rng(0).integers(0, CLASSES, ROWS)


def logits(skill: float, seed: int, rows: int = ROWS) -> np.ndarray:
    """Logits that know the labels the better the higher the skill is."""
    noise = np.random.default_rng([seed, int(100 * skill)]).normal(size=(rows, CLASSES))
    return (skill * np.eye(CLASSES)[LABELS[:rows]] + noise).astype(np.float32)


def keep(made: Made, run_id: str, values: np.ndarray, **more: np.ndarray) -> str:
    """A finished run with these logits on the reported split; of `selection` and `taught` where they are given."""
    right = float((values.argmax(1) == LABELS).mean())
    made.done(run_id, right)
    tensors: dict[str, Any] = {"best/validation/logits": values, "best/validation/labels": LABELS}
    if "selection" in more:
        tensors |= {"best/selection/logits": more["selection"], "best/selection/labels": LABELS[:100]}
    folder = made.store.run(run_id)
    if "taught" in more:
        tensors["teacher/validation/logits"] = more["taught"]
        result = read_json(folder.path / "result.json")
        write_json(folder.path / "result.json", {**result, "teacher": {"validation": {"accuracy": 0.5}}})
    save_file(tensors, folder.predictions)
    return run_id


def study(root: Path, seeds: tuple[int, ...] = (0, 1)) -> Made:
    """Fine-tuning, KD of a teacher, DML with one trained along, LGTM with one whose logits were not kept."""
    made = Made(Store(root))
    for seed in seeds:
        parent = keep(made, made.need(teacher("rte", seed)), logits(3, seed), selection=logits(2, 50 + seed, 100))
        keep(made, made.ask(spec("finetune", "rte", seed)), logits(1, 10 + seed), selection=logits(1, 60 + seed, 100))
        near = 0.5 * logits(3, seed) + 0.2 * logits(1, 20 + seed)
        keep(made, made.ask(spec("kd", "rte", seed, needs={"teacher": parent})), near, selection=near[:100])
        along = logits(2, 30 + seed)
        keep(made, made.ask(spec("dml", "rte", seed)), along + logits(0.5, 31 + seed), taught=along)
        old = keep(made, made.ask(spec("lgtm", "rte", seed)), logits(1, 40 + seed), taught=along)
        path = made.store.run(old).predictions
        save_file({name: v for name, v in load_file(path).items() if "teacher" not in name}, path)
    return made
