"""Compute the cost of a full study by arithmetic: floating-point operations of every run of the plan.

The plan is kdbench's own for all methods and tasks. What a method does in a step is counted on runs of tiny networks,
as it does not depend on their size. Rows are those of the published training sets, lengths those of the files at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.operations import forward_operations, operations
from benchmarks.work import BATCH, EPOCHS, MAX_LENGTH, Work
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import DataLocation, RunSpec
from kdbench.data.splits import held_out_share
from kdbench.data.task import Examples
from kdbench.data.task_registry import TASKS
from kdbench.models import build, reference
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan, select_methods
from kdbench.planning.plan import Plan
from kdbench.results.store import Store

RATES, SEEDS = (1e-4, 5e-5, 3e-5), "0-4"  # LGTM, Table 5; the paper does not say how many seeds
LAYERS = {"student": 6, "assistant": 8, "teacher": 12}  # BERT's, as preset bert-6l has them
NETWORKS = {"student": "tiny-2x32", "assistant": "tiny-3x32", "teacher": "tiny-4x32"}  # that stand in for them
HIDDEN, WIDE = 768, 3072
EVAL_EVERY = 1000  # steps; preset bert-6l
SAMPLE = 4000  # rows that lengths are measured on


@dataclass(frozen=True)
class Passes:
    """Describe a pass of one training row: through which network, in which way, how often.

    Attributes:
        epoch: in every epoch.
        once: in a whole training.
    """

    epoch: Mapping[str, Mapping[str, float]]
    once: Mapping[str, Mapping[str, float]]


def measure(work: Work) -> dict[str, Any]:
    """Passes of every method, and the mean length of the inputs of every task of the study."""
    with TemporaryDirectory() as folder:
        passes = {name: asdict(_passes(name, Path(folder))) for name in select_methods("all")}
    return {
        "passes": passes,
        "lengths": {task: _length(task, work) for task in sorted({spec.task for spec in whole().runs.values()})},
    }


def _passes(method: str, folder: Path) -> Passes:
    one, two = (_counted(method, epochs, folder) for epochs in (1, 2))
    epoch = {net: {kind: two[net][kind] - one[net][kind] for kind in kinds} for net, kinds in one.items()}
    once = {net: {kind: 2 * one[net][kind] - two[net][kind] for kind in kinds} for net, kinds in one.items()}
    return Passes(epoch, once)


def _counted(method: str, epochs: int, folder: Path) -> dict[str, Counter[str]]:
    """Passes in a training of so many epochs, a training row. Runs in `folder` that are done are not repeated."""
    from kdbench.training.runner import execute

    # nine batches an epoch, and as many rows for feedback as in a batch
    layer = _layer(methods=method, tasks="mrpc", epochs=epochs, train_rows=80, batch_size=8, seeds="0")
    plan, store = make_plan(assemble_config(layer, folder)), Store(folder)
    for spec in plan.runs.values():
        execute(spec, store, Execution(device="cpu", threads=1), Recording(probe_size=0, influence_samples=0))
    (cell,) = plan.cells
    cost = store.run(cell.run).cost()
    rows = cost["rows"] / epochs
    return {net: Counter({k: n / rows for k, n in kinds.items()}) for net, kinds in cost["passes"].items()}


def _layer(**given: Any) -> dict[str, Any]:
    """Settings of preset bert-6l that matter here, on networks that stand in for its own."""
    return {
        "preset": "tiny", "student": NETWORKS["student"], "teacher": NETWORKS["teacher"], "selection": "validation",
        "epochs": EPOCHS, **given,
    }  # fmt: skip


def _length(task: str, work: Work) -> float:
    """Mean tokens of an input."""
    from kdbench.data.tokens import tokenise

    location = DataLocation("glue-dir", Path(work.glue_dir)) if work.glue_dir else DataLocation("generated")
    data = TASKS.get(task)().load(location)
    tokenizer = build.tokenizer(reference.resolve(work.student), tuple(data.vocabulary))
    return float(np.mean(tokenise(tokenizer, _head(data.splits["train"]), MAX_LENGTH).lengths))


def _head(split: Examples) -> Examples:
    second = None if split.text_b is None else split.text_b[:SAMPLE]
    return Examples(split.text_a[:SAMPLE], second, split.labels[:SAMPLE])


def whole() -> Plan:
    """All methods on all tasks, three learning rates, five seeds."""
    return make_plan(
        assemble_config(_layer(methods="all", tasks="glue", seeds=SEEDS, student_lr=list(RATES)), Path("/"))
    )


class Account:
    """Floating-point operations of a plan's runs.

    Args:
        measured: what `measure` gave.
    """

    def __init__(self, plan: Plan, measured: Mapping[str, Any]) -> None:
        self.plan = plan
        self._passes = {name: Passes(**value) for name, value in measured["passes"].items()}
        self.lengths = measured["lengths"]
        self._layers = {NETWORKS[role]: layers for role, layers in LAYERS.items()}

    def run(self, spec: RunSpec, *, looked_up: bool = True) -> float:
        """Compute the operations of one training with its evaluations, without the runs that it needs.

        Args:
            looked_up: what a frozen network says is made once; else in every epoch.
        """
        passes = self._passes[spec.method]
        rows = _training_rows(spec)
        total = self._of(spec, passes.epoch, rows * EPOCHS)
        total += self._of(spec, passes.once, rows * (1 if looked_up else EPOCHS))
        return total + self._evaluation(spec)

    def _of(self, spec: RunSpec, passes: Mapping[str, Mapping[str, float]], rows: float) -> float:
        return rows * operations(passes, {network: self._forward(spec, network) for network in passes})

    def _forward(self, spec: RunSpec, network: str) -> float:
        """Compute the operations of one row through a network."""
        if network in spec.needs:
            name = self.plan.runs[spec.needs[network]].student.name
        else:
            name = spec.teacher.name if network == "teacher" and spec.teacher else spec.student.name
        return forward_operations(self._layers[name], HIDDEN, WIDE, self.lengths[spec.task])

    def _evaluation(self, spec: RunSpec) -> float:
        """Compute the operations of evaluating the student, and a teacher that is trained along."""
        task = TASKS.get(spec.task)
        times = max(EPOCHS, _training_rows(spec) * EPOCHS // BATCH // EVAL_EVERY)
        rows = times * sum(task.official_rows[split] for split in task.report_splits)
        networks = ["student", *(["teacher"] if spec.teacher and not spec.needs else [])]
        return sum(rows * self._forward(spec, network) for network in networks)

    def alone(self, run_id: str) -> float:
        """Compute the operations of a run with all that it needs, where nothing is shared and no output looked up."""
        spec = self.plan.runs[run_id]
        return self.run(spec, looked_up=False) + sum(self.alone(need) for need in spec.needs.values())

    def chain(self, run_id: str) -> float:
        """Compute the operations of a run and the longest chain of those that it needs."""
        needs = self.plan.runs[run_id].needs.values()
        return self.run(self.plan.runs[run_id]) + max(map(self.chain, needs), default=0.0)


def _training_rows(spec: RunSpec) -> float:
    rows = TASKS.get(spec.task).official_rows["train"]
    return rows * (1 - (held_out_share(spec.feedback, "feedback") if spec.feedback else 0.0))
