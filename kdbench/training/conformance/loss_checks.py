"""The checks of what a loss is made of: pairs of rows by mistake, and terms that do not reach the student."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.core.errors import UserError, place_in_stack
from kdbench.data.batches import Batch
from kdbench.training.conformance.check_list import check
from kdbench.training.conformance.small_run import (
    NotApplicable,
    difference,
    leaves,
    make_steps,
    networks,
)
from kdbench.training.conformance.subject import Subject
from kdbench.training.setup import Setup

ROWS = (7, 5)  # of a batch in which pairs of rows are looked for; few networks have a dimension of this size
UNCHANGED = 1e-5  # relative difference of gradients that are the same


class _PairedRows(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class is untyped
    """Notes the elementwise operations whose operands have the rows in different dimensions: [B] with [B, 1]."""

    def __init__(self, rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows = rows
        self.found: list[tuple[list[list[int]], traceback.StackSummary]] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        is_backward = torch._C._current_graph_task_id() != -1
        if isinstance(out, Tensor) and not is_backward and _is_elementwise(func) and self._count(out.shape) > 1:
            shapes = [list(x.shape) for x in leaves((args, kwargs)) if isinstance(x, Tensor)]
            if shapes and all(self._count(s) < 2 for s in shapes) and any(map(self._count, shapes)):
                self.found.append((shapes, traceback.extract_stack()))
        return out

    def _count(self, shape: Sequence[int]) -> int:
        """Return in how many dimensions a tensor has the rows of the batch."""
        return list(shape).count(self.rows)


def _is_elementwise(func: Any) -> bool:
    # a loss such as mse_loss expands its operands first
    return torch.Tag.pointwise in func.tags or func is torch.ops.aten.expand.default


@check(
    "rows apart",
    "Tensors of the shapes [B] and [B, 1] make one of [B, B], each row with each other; or set `couples_rows`.",
)
def rows_apart(subject: Subject) -> str:
    subject.require_separate_rows()
    setup = subject.deterministic_setup()
    batch = setup.train.at(0)
    number = next(size for size in ROWS if size != batch.input_ids.shape[1])
    batch = batch.rows(torch.arange(number) % len(batch))
    with _PairedRows(number) as mode:
        make_steps(setup, [batch, batch], numbers=[0, setup.total_steps - 1])  # of the first and the last stage
    if not mode.found:
        return ""
    shapes, stack = mode.found[0]
    text = " and ".join("[" + ", ".join("B" if n == number else str(n) for n in shape) + "]" for shape in shapes)
    return f"every row meets every other one in an operation on {text}{place_in_stack(stack, subject.method)}"


@check(
    "teacher used",
    "With another teacher the student must learn something else; `.detach()` and `.item()` cut a term's gradient off.",
)
def teacher_used(subject: Subject) -> str:
    setup = subject.deterministic_setup()
    if len(networks(setup)) == 1:
        raise NotApplicable("the student is the only network")
    plain = subject.method.limits.get("labels_only", {})
    if plain and plain.items() <= setup.method.options.model_dump().items():
        raise NotApplicable("its options give all weight to the labels")
    subject.require_deterministic_loss()
    others = [name for name in networks(setup) if name != "student"]
    frozen = [name for name in others if name.startswith("frozen ")]
    # of several frozen teachers, each must count
    for names in (others, *([name] for name in frozen if len(others) > 1)):
        if problem := _without_effect(subject, names):
            which = "teacher" if names == others else f"network '{names[0].removeprefix('frozen ')}'"
            return f"another {which} {problem}"
    return ""


def _without_effect(subject: Subject, names: Sequence[str]) -> str:
    """Say that other weights of these networks do not reach the student, as the rest of a sentence; else ""."""
    last = subject.deterministic_setup().total_steps - 1
    for step in (0, (last + 1) // 2, last):  # the weight of a term may grow from 0, or fall to 0
        own, other = subject.deterministic_setup(), _with_other_networks(subject.deterministic_setup(), names)
        batch = own.train.at(0)
        (a, loss_a), (b, loss_b) = (_gradients(made, batch, step, ["student"]) for made in (own, other))
        if difference(a, b) > UNCHANGED:
            return ""
    if difference(loss_a, loss_b) > UNCHANGED:
        return "changes the loss, but not the student's gradient: its term is detached"
    return "changes neither the loss nor the student's gradient"


def _with_other_networks(setup: Setup, names: Sequence[str]) -> Setup:
    """Draw the linear maps of some networks anew."""
    generator = torch.Generator().manual_seed(0)
    for module in (networks(setup)[name] for name in names):
        for part in module.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, generator=generator)
    return setup


@check("terms", "An option that weights a term of the loss must also change a gradient; its term is detached.")
def terms(subject: Subject) -> str:
    subject.require_deterministic_loss()
    fields = subject.method.options_type.model_fields
    numbers = [key for key, field in fields.items() if field.annotation is float]
    if not numbers:
        raise NotApplicable("no option of the method is a number")
    setup = subject.deterministic_setup()
    batch, options = setup.train.at(0), setup.method.options
    gradient, loss = _gradients(setup, batch)
    for key in numbers:
        try:
            other = subject.deterministic_setup(**{key: getattr(options, key) / 2 or 0.5})
        except UserError:  # a value that does not fit the others
            continue
        changed, other_loss = _gradients(other, batch)
        if difference(loss, other_loss) > UNCHANGED and difference(gradient, changed) <= UNCHANGED:
            return f"another value of option '{key}' changes the loss, but no gradient: what it weights is detached"
    return ""


def _gradients(setup: Setup, batch: Batch, step: int = 0, names: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
    """Return the gradients of some trained networks, or of all, in one step, flattened, and the logged loss.

    Raises:
        NotApplicable: none of them is updated in this step.
    """
    seen = make_steps(setup, [batch], start=step)
    chosen = [update for name, updates in seen.gradients.items() if not names or name in names for update in updates]
    if not chosen:
        raise NotApplicable("no network is updated in the step that is looked at")
    return torch.cat([g.flatten() for update in chosen for g in update]), seen.logs[0]["loss"].detach()
