"""Check before training that a plan can be executed: devices, data, networks, tokenizers, methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.core.settings import Execution
from kdbench.core.spec import HUB, ModelRef, RunSpec
from kdbench.data.splits import division_key
from kdbench.distill.method_files import method_of
from kdbench.distill.method_registry import METHODS
from kdbench.models.finetuned_networks import build_finetuned
from kdbench.planning import inputs
from kdbench.planning.plan import Plan
from kdbench.results.store import Store

if TYPE_CHECKING:
    import torch

    from kdbench.models.reference import Shape

SmokeTest = Callable[[Plan, Sequence[RunSpec]], dict[str, str]]
PLAIN = ("auto", "cpu")  # always valid; checking them must not import torch


def check(
    plan: Plan, executions: Sequence[Execution], store: Store | None = None,
    smoke_test: SmokeTest | None = None,
) -> list[str]:  # fmt: skip
    """Check a plan: everything of `check_plan`, and a step of every method on a few rows.

    Networks are built on the CPU, whatever device trains them. Runs that are done need no step.

    Args:
        store: the results folder; None counts no run as done.
        smoke_test: makes the steps; the default is `kdbench.training.smoke_test`, in this process.

    Returns:
        remarks for the user.

    Raises:
        UserError: the first problem, in one sentence, and the rows that have none.
    """
    remarks, unfit = _look_at_plan(plan, executions)
    lost = plan.needing(unfit)
    fit = [spec for spec in plan.runs.values() if spec.id not in lost]
    todo = [spec for spec in fit if store is None or not store.run(spec.id).is_done(spec.snapshots)]
    if todo and smoke_test is None:
        from kdbench.training.smoke_test import smoke_test
    if todo and smoke_test:
        unfit |= smoke_test(plan, todo)
    _refuse(plan, unfit)
    return remarks


def check_plan(plan: Plan, executions: Sequence[Execution]) -> list[str]:
    """Check devices, fetch the models and data, and check that the networks are compatible.

    Returns:
        remarks for the user: what was seen in the data, splits shorter than the published ones, settings without effect
        on some network.

    Raises:
        UserError: the first problem, in one sentence, and the rows that have none.
    """
    remarks, unfit = _look_at_plan(plan, executions)
    _refuse(plan, unfit)
    return remarks


def _look_at_plan(plan: Plan, executions: Sequence[Execution]) -> tuple[list[str], dict[str, str]]:
    """Return what `check_plan` returns, and for each run whose networks do not fit the reason.

    Raises:
        UserError: a problem of the machine, the data or a network that is given without training.
    """
    # devices
    for name in dict.fromkeys(execution.device for execution in executions):
        _check_device(name)
        if any(spec.training.compile for spec in plan.runs.values()):
            _check_compiler(name)
    # data and networks; equal divisions of the data are checked once
    remarks: dict[str, None] = dict.fromkeys(plan.remarks)
    divided, unfit = set[Hashable](), dict[str, str]()
    for spec in plan.runs.values():
        data = inputs.load_data(spec.task, spec.data)
        for split in ("train", *inputs.load_task(spec.task).report_splits):
            if split not in data.splits or not len(data.splits[split]):
                raise UserError(f"Task '{spec.task}' has no examples in its split '{split}'; check the data source.")
        if (key := division_key(spec)) not in divided:
            divided.add(key)
            inputs.load_roles(spec)
        try:
            _check_fit(plan, spec, tuple(data.vocabulary))
        except UserError as error:
            unfit[spec.id] = str(error)
        remarks |= dict.fromkeys((*_subsets(spec), *inputs.look_at_data(spec.task, spec.data)))
        remarks |= dict.fromkeys(_other_tokenizers(plan, spec, tuple(data.vocabulary)))
        remarks |= dict.fromkeys(_whole_layers(spec, tuple(data.vocabulary)))
        remarks |= dict.fromkeys(_few_classes(spec))
    return [*remarks, *_check_given(plan), *_check_outputs(plan.runs.values())], unfit


def _refuse(plan: Plan, unfit: Mapping[str, str]) -> None:
    """Raise the first of the reasons, if there is one, and name the rows without an unfit run."""
    if unfit:
        raise UserError(f"{next(iter(unfit.values()))}{_fitting_rows(plan, unfit)}")


def _fitting_rows(plan: Plan, unfit: Collection[str]) -> str:
    """Name the rows without an unfit run, where others have one; "" where all or no rows have."""
    bad = plan.needing(unfit)
    rows = {cell.row: plan.runs[cell.run].method_file for cell in plan.cells}
    lost = {cell.row for cell in plan.cells if cell.run in bad}
    fit = [file.path if file else row for row, file in rows.items() if row not in lost]
    return f" The others fit: --methods {','.join(fit)}." if fit else ""


def _whole_layers(spec: RunSpec, vocabulary: tuple[str, ...]) -> list[str]:
    """Return remarks on networks of a run for which `last_layer=first` has no effect."""
    if spec.training.last_layer != "first":
        return []
    kinds = {ref: inputs.network_shape(ref, vocabulary).kind for ref in (spec.student, spec.teacher) if ref is not None}
    return [
        f"last_layer=first is for BERTs; {ref.title} ({kind}) computes all of its last layer."
        for ref, kind in kinds.items()
        if kind not in ("bert", "outputs")
    ]


def _few_classes(spec: RunSpec) -> list[str]:
    """Return a remark on a method that becomes another one on two classes."""
    method, task = method_of(spec), inputs.load_task(spec.task)
    return (
        [f"{task.title} has two classes: {method.two_classes}."] if method.two_classes and len(task.labels) == 2 else []
    )


def _other_tokenizers(plan: Plan, spec: RunSpec, vocabulary: tuple[str, ...]) -> list[str]:
    """Return remarks on networks that do not read the tokens of the run's student."""
    found = {
        ref: inputs.tokenizer_difference(spec.student, ref, vocabulary)
        for ref in _others(plan, spec).values()
    }  # fmt: skip
    return [
        f"The tokenizers of {spec.student.title} and {ref.title} differ ({what}); each reads the texts with its own."
        for ref, what in found.items()
        if what and not ref.is_outputs
    ]


def _check_given(plan: Plan) -> list[str]:
    """Load each network that is used without training; return remarks on those without label words."""
    specs = [spec for spec in plan.runs.values() if not spec.training.epochs and not spec.student.is_outputs]
    given = {(spec.student, spec.task): spec.training.attention for spec in specs}
    remarks = (
        build_finetuned(ref, inputs.load_task(task).labels, attention)[1] for (ref, task), attention in given.items()
    )
    return [remark for remark in remarks if remark]


def _check_outputs(specs: Iterable[RunSpec]) -> list[str]:
    """Read each file of outputs, and check that it has the rows that are trained on; return how it is read."""
    remarks: dict[str, None] = {}
    for spec in (spec for spec in specs if spec.student.is_outputs):
        outputs = inputs.load_outputs(spec.student, spec.task, spec.data)
        roles = inputs.load_roles(spec)
        # a validation split that selects may be lacking: the file then has no score on it
        for part in (roles.train, roles.selection):
            if part.split == roles.train.split:
                outputs.check_rows(part.split, part.rows)
        wrong = outputs.check_classes(inputs.load_data(spec.task, spec.data), inputs.load_task(spec.task).labels)
        remarks |= dict.fromkeys(remark for remark in (outputs.remark, wrong) if remark)
    return list(remarks)


def _subsets(spec: RunSpec) -> list[str]:
    """Return remarks on splits of real data that have fewer rows than the published ones."""
    task, data = inputs.load_task(spec.task), inputs.load_data(spec.task, spec.data)
    if task.is_generated(spec.data.location):
        return []
    rows = {split: (len(data.splits[split]), official) for split, official in task.official_rows.items()}
    return [
        f"{task.title} {split}: a subset, {here:,} of {official:,} rows; scores on it are no scores on {task.title}."
        for split, (here, official) in rows.items()
        if here < official
    ]


def check_local(plan: Plan) -> list[str]:
    """Check what needs neither the hub nor a step of training, for a dry run.

    Returns:
        remarks for the user: methods that are left out, what was seen in a task's own files, and how files of outputs
        are read.

    Raises:
        UserError: the first problem, in one sentence.
    """
    divided: set[Hashable] = set()
    for spec in plan.runs.values():
        refs = [spec.student, *_others(plan, spec).values()]
        if spec.data.source != "hub" and (key := division_key(spec)) not in divided:
            divided.add(key)
            inputs.load_roles(spec)
        if spec.data.source != "hub" and not any(ref.fingerprint.startswith(HUB) for ref in refs):
            _check_fit(plan, spec, tuple(inputs.load_data(spec.task, spec.data).vocabulary))
    own = {spec.task: spec.data for spec in plan.runs.values() if spec.data.source == "files"}
    seen = [line for task, data in own.items() for line in inputs.look_at_data(task, data)]
    return [*plan.remarks, *seen, *_check_outputs(spec for spec in plan.runs.values() if spec.data.source != "hub")]


def _others(plan: Plan, spec: RunSpec) -> dict[str, ModelRef]:
    """Return the other networks of a run, by role."""
    others = {role: plan.runs[run].student for role, run in spec.needs.items()}
    return others if spec.teacher is None else {**others, "teacher": spec.teacher}


def _check_fit(plan: Plan, spec: RunSpec, vocabulary: tuple[str, ...]) -> None:
    """Check a run's networks: their greatest length, and the method's own conditions.

    Raises:
        UserError: they do not fit.
    """
    student, refs = inputs.network_shape(spec.student, vocabulary), _others(plan, spec)
    others = {role: inputs.network_shape(ref, vocabulary) for role, ref in refs.items()}
    for known in (student, *others.values()):
        if spec.training.max_length > known.positions:
            raise UserError(
                f"max_length={spec.training.max_length} is more than {known.name} can read; "
                f"give --set max_length={known.positions} or less."
            )
    classes = len(inputs.load_task(spec.task).labels)
    if problem := _misfit(spec, student, others, classes):
        raise UserError(f"Method '{spec.method}' cannot teach {student.name} on {spec.task}: {problem}")


def _misfit(spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
    """Return why the method does not fit the kind of task or, by `check_compatible`, the networks, or ""."""
    method = method_of(spec)
    if classes == 1 and method.no_regression:
        fit = ", ".join(name for name, other in METHODS.all().items() if not other.no_regression)
        return f"{method.no_regression}; methods that learn a regression are {fit}."
    for key, values in method.class_options.items() if classes == 1 else ():
        if key in spec.options and spec.options[key] in values:
            return f"{key}={spec.options[key]} compares probabilities of classes, and a regression has none."
    if 1 < classes < method.least_classes:
        return f"it needs {method.least_classes} classes or more, and the task has {classes}."
    return method.check_compatible(spec, student, others, classes)


def parse_device(name: str) -> torch.device:
    """Return the device that a user named.

    Raises:
        UserError: the name is not valid.
    """
    from kdbench.training.setup import choose_device

    check_device_name(name)
    return choose_device(name)


def check_device_name(name: str) -> None:
    """Check that a device name is valid, also for another machine.

    Raises:
        UserError: it is not.
    """
    if name in PLAIN:
        return
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name} is not valid; give auto, cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name} is not supported; give auto, cpu, cuda or cuda:N.")


def _check_compiler(name: str) -> None:
    from kdbench.models import compilation
    from kdbench.training.setup import choose_device

    device = choose_device(name).type
    if problem := compilation.compiler_problem(device):
        needs = "a C++ compiler such as g++" if device == "cpu" else "Triton"
        raise UserError(
            f"compile=true: torch.compile does not work on {device} ({problem}); it needs {needs}, "
            f"or give --set compile=false."
        )


def _check_device(name: str) -> None:
    check_device_name(name)
    if name in PLAIN:
        return
    import torch

    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: this machine has {count(torch.cuda.device_count(), 'GPU')}; give --device cpu or auto."
        )
