"""Train a method on small networks and synthetic data, step by step, and observe its updates."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.core.errors import UserError
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import DataLocation, RunSpec
from kdbench.core.toml_files import Layer
from kdbench.data.batches import Batch
from kdbench.data.task_registry import TASKS
from kdbench.distill.context import seed_everything
from kdbench.distill.trainable import TrainableModel
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan
from kdbench.results.store import Store
from kdbench.training import preflight
from kdbench.training.runner import execute
from kdbench.training.setup import Setup, numerics, prepare

CPU = Execution(device="cpu", threads=1)
MAX_STEPS = 6  # within which the student must be updated
RECORDING = Recording(probe_size=8, influence_samples=4, influence_points=2)
SETTINGS: Layer = {
    "preset": "tiny", "student": "tiny-2x32", "teacher": "tiny-3x32", "train_rows": "80", "batch_size": "8",
    "epochs": "2", "eval_every": "4", "warmup": "0",
}  # fmt: skip
# override the user's settings, because gradients are compared
PLAIN: Layer = {"max_grad_norm": "0", "precision": "fp32", "compile": "false"}


def task_with(classes: int) -> str:
    """Return the first task with this number of classes whose examples can be generated.

    Raises:
        UserError: there is none.
    """
    made = {n: task for n, task in TASKS.all().items() if task.is_generated(DataLocation("generated"))}
    tasks = sorted((task.position, name) for name, task in made.items() if len(task.labels) == classes)
    if not tasks:
        raise UserError(f"No task has {classes} classes, which the checks need.")
    return tasks[0][1]


class NotApplicable(Exception):
    """The check does not apply to the method; the message says why."""


@dataclass
class Observed:
    """Records of a few steps: logged numbers, gradients at each update, frozen networks run with dropout."""

    logs: list[dict[str, Tensor]] = field(default_factory=list)
    gradients: dict[str, list[list[Tensor]]] = field(default_factory=dict)  # by network: of each update
    frozen_with_dropout: set[str] = field(default_factory=set)


class SmallRun:
    """A run of the method on small networks.

    Args:
        folder: the folder for its results.
        method: the name of a method or variant.
        sets: settings, as returned by `config.parse_sets`.
    """

    def __init__(self, folder: Path, method: str, sets: Mapping[str, Any], *, classes: int = 2, seed: int = 0) -> None:
        layer = {**SETTINGS, **sets, **PLAIN, "methods": method, "tasks": task_with(classes), "seeds": str(seed)}
        self.store = Store(folder / "results")
        self.plan = make_plan(assemble_config(layer, folder))
        if len(self.plan.cells) != 1:
            raise UserError("check-method looks at one setting at a time; give one value to each --set.")
        (cell,) = self.plan.cells
        self.spec: RunSpec = self.plan.runs[cell.run]

    def train_needs(self, store: Store) -> None:
        """Train the runs that the method needs; copy teachers of other methods that an earlier check has trained."""
        for spec in self.plan.runs.values():
            if spec.id == self.spec.id:
                continue
            trained, copy = self.store.run(spec.id), store.run(spec.id)
            # runs of the method under test are trained again, because they may differ from time to time
            if spec.method != self.spec.method and trained.is_done(spec.snapshots) and not copy.path.exists():
                shutil.copytree(trained.path, copy.path)
            execute(spec, store, CPU, RECORDING)

    def prepare_setup(self) -> Setup:
        """Set up the run before its first step, from its seed."""
        preflight.check_plan(self.plan, [CPU])
        self.train_needs(self.store)
        setup = prepare(self.spec, self.store, CPU, RECORDING)
        if setup.tokens["train"].others:
            raise UserError("check-method changes batches, so it needs networks with one tokenizer; give such a pair.")
        return setup

    def train_fully(self, store: Store) -> None:
        """Train the run and its needs to the end, as `kdbench run` does."""
        self.train_needs(store)
        execute(self.spec, store, CPU, RECORDING)


def amplify_differences(setup: Setup) -> Setup:
    """Switch dropout off and enlarge all linear weights, so that predictions differ between rows.

    Small networks with their initial weights predict nearly the same for every row, which would hide mixed-up rows.
    """
    for module in networks(setup).values():
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
            elif isinstance(part, nn.Linear):
                part.weight.data.mul_(8.0)
    return setup


def networks(setup: Setup) -> dict[str, nn.Module]:
    """Return all networks of the run by name, trained and frozen."""
    context = setup.context
    found = {name: learner.module for name, learner in context.learners.items()}
    found |= {f"frozen {name}": network.module for name, network in context.frozen_networks.items()}
    rest = [module for module in context.loaded if not any(module is known for known in found.values())]
    return found | {f"loaded {i}": module for i, module in enumerate(rest)}


def own_weights(setup: Setup) -> dict[str, list[Tensor]]:
    """Return the weights in the method's attributes, by attribute, that belong to no network of the run."""
    known = {id(p) for module in networks(setup).values() for p in module.parameters()}
    found: dict[str, list[Tensor]] = {}
    for name, value in vars(setup.method).items():
        for leaf in leaves(value):
            tensors = leaf.parameters() if isinstance(leaf, nn.Module) else [leaf]
            weights = [x for x in tensors if isinstance(x, Tensor) and x.is_leaf and x.requires_grad]
            found.setdefault(name, []).extend(x for x in weights if id(x) not in known)
    return found


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values within nested dictionaries, lists and tuples; of anything else, the value itself."""
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from leaves(item)
    else:
        yield value


def copy_weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def make_steps(
    setup: Setup, batches: Iterable[Batch], *, start: int = 0, draw: int = 0, numbers: Sequence[int] = ()
) -> Observed:
    """Make a step on each batch, starting with step number `start`, and observe it.

    Args:
        numbers: of the steps, in place of `start` and the following ones.
        draw: added to the seed, to draw other random numbers.
    """
    seen = Observed()
    learners = {name: learner.module for name, learner in setup.context.learners.items()}
    hooks = [_watch_updates(name, learner, seen) for name, learner in setup.context.learners.items()]
    hooks += [_watch_mode(name, module, seen) for name, module in networks(setup).items() if name not in learners]
    try:
        with numerics(setup.spec, setup.device, CPU.threads):
            for step, batch in zip(numbers, batches, strict=True) if numbers else enumerate(batches, start):
                setup.context.step = step
                seed_everything(setup.spec.seed + draw, "step", step)
                seen.logs.append(setup.method.step(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def make_outer_steps(setup: Setup, count: int) -> Observed:
    """Make the first and the last steps of a run, `count` in all, so that every stage of a method is seen."""
    first = count // 2
    numbers = [*range(first), *range(setup.total_steps - count + first, setup.total_steps)]
    return make_steps(setup, [setup.train.at(step) for step in numbers], numbers=numbers)


def _watch_updates(name: str, learner: TrainableModel, seen: Observed) -> Any:
    def note(*_: Any) -> None:
        found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in learner.params]
        seen.gradients.setdefault(name, []).append(found)

    return learner.optimizer.register_step_pre_hook(note)


def _watch_mode(name: str, module: nn.Module, seen: Observed) -> Any:
    def note(_: nn.Module, given: Any) -> None:
        if any(part.training for part in module.modules()):
            seen.frozen_with_dropout.add(name)

    return module.register_forward_pre_hook(note)


def first_batches(setup: Setup, count: int) -> list[Batch]:
    """Return the run's first training batches."""
    return [setup.train.at(step) for step in range(count)]


def pad_rows(batch: Batch, tokens: int) -> Batch:
    """Return a batch with further padding on the right of every row."""
    fill = {"input_ids": batch.format.pad_id, "attention_mask": 0, "token_type_ids": batch.format.pad_type}
    longer: dict[str, Any] = {
        name: nn.functional.pad(getattr(batch, name), (0, tokens), value=value) for name, value in fill.items()
    }
    return replace(batch, **longer)


def student_gradient(setup: Setup, batch: Batch, *, draw: int = 0) -> tuple[Tensor, Tensor]:
    """Return the gradient of the student on `batch`, flattened, and the logged loss.

    The batch is repeated up to MAX_STEPS times, for methods that do not update the student in every step.

    Raises:
        NotApplicable: the student is never updated.
    """
    for step in range(MAX_STEPS):
        seen = make_steps(setup, [batch], start=step, draw=draw)
        if updates := seen.gradients.get("student"):
            return torch.cat([g.flatten() for update in updates for g in update]), seen.logs[0]["loss"].detach()
    raise NotApplicable(f"the student is not updated in {MAX_STEPS} steps")


def difference(a: Tensor, b: Tensor) -> float:
    """Compute |a - b| relative to the larger norm."""
    return float((a - b).norm() / torch.maximum(a.norm(), b.norm()).clamp_min(1e-12))
