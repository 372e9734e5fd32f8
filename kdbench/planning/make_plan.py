"""Turn a configuration into a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kdbench.core.atomic_files import user_path
from kdbench.core.errors import UserError
from kdbench.core.plugin_rows import in_table_order
from kdbench.core.settings import Invocation, Study
from kdbench.core.spec import Cell, DataLocation, DataRef, ModelRef, RunSpec
from kdbench.core.toml_files import Layer
from kdbench.data.splits import held_out_share
from kdbench.data.task import Task
from kdbench.data.task_registry import TASKS
from kdbench.distill.method import Method
from kdbench.distill.method_files import row_of
from kdbench.distill.method_registry import METHODS, has_enough_classes, method_groups, methods_of_group
from kdbench.models import reference
from kdbench.planning.config import Config, method_of_row
from kdbench.planning.config_check import check_keys, check_no_unread
from kdbench.planning.plan import Plan

MOST_SEEDS = 10_000


def parse_seeds(value: str | int | list[int]) -> list[int]:
    """Parse `0,1,2`, `0-4`, or a mixture.

    Raises:
        UserError: anything else, or more than `MOST_SEEDS` seeds.
    """
    out: list[int] = []
    try:
        for part in str(value).strip("[]").split(","):
            first, dash, last = part.strip().partition("-")
            some = range(int(first), int(last) + 1) if dash else [int(first)]
            if not some:
                raise ValueError
            if len(out) + len(some) > MOST_SEEDS:
                raise UserError(f"--seeds {value} asks for more than {MOST_SEEDS:,} seeds; write 0,1,2 or 0-4.")
            out += some
    except (ValueError, OverflowError):  # also of numbers with thousands of digits
        out = []
    if not out:
        raise UserError(f"--seeds {value} is not valid; write 0,1,2 or 0-4.")
    return list(dict.fromkeys(out))


def _names(value: str | list[str]) -> list[str]:
    """Split comma-separated names, without repetitions."""
    parts = value.split(",") if isinstance(value, str) else value
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def select_methods(value: str | list[str]) -> dict[str, type[Method]]:
    """Return rows by name, in table order: methods, variants (`lgtm_released`), files, or groups (`all`, `logits`).

    Raises:
        UserError: a name is not known, or there is none.
    """
    rows: dict[str, type[Method]] = {}
    for name in _names(value):
        rows |= methods_of_group(name) or {(row := row_of(name)): method_of_row(row)}
    if not rows:
        raise UserError(f"--methods is empty; give all, or some of {', '.join([*method_groups(), *METHODS.all()])}.")
    return in_table_order(rows)


def select_tasks(
    value: str | list[str], is_meant: Callable[[type[Task]], bool] = lambda task: True
) -> list[str]:  # fmt: skip
    """Return tasks by name, group (`glue`) or `all`, in table order.

    Args:
        is_meant: tells which tasks `all` are.

    Raises:
        UserError: a name is not known, or there is none.
    """
    tasks, chosen = TASKS.all(), set[str]()
    for name in _names(value):
        group = {n for n, task in tasks.items() if name == task.group or (name == "all" and is_meant(task))}
        if not group and name not in tasks and name not in TASKS.broken:
            raise TASKS.unknown(name, {*tasks, *(t.group for t in tasks.values() if t.group)})
        chosen |= group or {TASKS.get(name).name}
    if not chosen:
        raise UserError(f"--tasks is empty; give glue, or some of {', '.join(tasks)}.")
    return sorted(chosen, key=lambda n: (tasks[n].position, n))


@lru_cache(maxsize=64)
def data_ref(task: type[Task], asked: DataLocation, data_dir: Path | None) -> DataRef:
    """Identify a task's data by a fingerprint of their content; see `Task.locate` for the arguments."""
    location = task.locate(asked, data_dir)
    path = str(location.path.resolve()) if location.path else None
    return DataRef(source=location.source, path=path, fingerprint=task().fingerprint(location))


@lru_cache(maxsize=64)
def model_ref(name: str) -> ModelRef:
    """Identify a network by a fingerprint of its weights and configuration."""
    return reference.resolve(name)


def make_plan(config: Config, varies: Mapping[str, Any] = MappingProxyType({})) -> Plan:
    """Make the plan for a configuration.

    Args:
        varies: stored with each cell; see `Cell`.

    Raises:
        UserError: any mistake of the user, before work starts.
    """
    METHODS.refresh()
    TASKS.refresh()
    asked: Invocation = config.group(Invocation)
    rows, seeds = select_methods(asked.methods), parse_seeds(asked.seeds)
    check_keys(config, rows)
    study: Study = config.group(Study)
    data_dir = user_path(study.data_dir) if study.data_dir else None
    tasks = select_tasks(asked.tasks, lambda task: task.is_here(data_dir))
    for role in ("feedback", "selection"):
        held_out_share(getattr(study, role), role)
    # a validation split of the tasks' own selects, where the user leaves that open
    if all(TASKS.get(task).validation_split for task in tasks) and not config.says("selection"):
        study = study.model_copy(update={"selection": "validation"})
    # a folder under the path that leads to it from anywhere
    study = study.model_copy(update={role: model_ref(getattr(study, role)).name for role in ("student", "teacher")})
    if model_ref(study.teacher).is_outputs:
        _check_outputs_teacher(study, rows, tasks)
    plan = Plan(asked.preset, study)
    named = {row_of(name) for name in _names(asked.methods) if not methods_of_group(name)}
    for task in tasks:
        for row, method in rows.items():
            if row not in named and not has_enough_classes(row, len(TASKS.get(task).labels)):
                plan.remarks.append(
                    f"{method.title} is left out on {TASKS.get(task).title}, which has too few classes."
                )
                continue
            for spec, choice in _specs(config, study, row, method, task, seeds):
                plan.cells.append(Cell(row, task, spec.seed, choice, plan.add(spec), dict(varies)))
    if not plan.cells:
        raise UserError(" ".join([*plan.remarks, "Nothing is left to train; choose other methods or tasks."]))
    if study.teacher_is_finetuned:
        _check_given_teacher(plan, config)
    return plan


def check_all_read(layer: Layer, plans: Sequence[Plan], executor: str, *, for_exhibit: bool = False) -> None:
    """Refuse settings of the command line that no run of the plans reads.

    Args:
        for_exhibit: the plans are those of tables or figures, some of which fine-tune a teacher.

    Raises:
        UserError: names the setting and where it would be read.
    """
    rows = dict.fromkeys(cell.row for plan in plans for cell in plan.cells)
    specs = [spec for plan in plans for spec in plan.runs.values()]
    has_teacher = for_exhibit or any(spec.needs for spec in specs)
    trains_teacher = has_teacher or any(spec.training.teacher_lr is not None for spec in specs)
    check_no_unread(layer, rows, executor, has_teacher=has_teacher, trains_teacher=trains_teacher)


def reads_network(method: type[Method]) -> bool:
    """Return whether a method trains its teacher or reads its hidden states, so that no file of outputs can teach."""
    return bool(method.requires & {"teacher", "teacher_network"})


def _check_outputs_teacher(study: Study, rows: Mapping[str, type[Method]], tasks: Iterable[str]) -> None:
    """Check that every method can learn from a file of outputs.

    Raises:
        UserError: a method needs the teacher's network, or there are several tasks.
    """
    if not study.teacher_is_finetuned:
        raise UserError("A file of outputs is a teacher that is not trained; give it with --teacher-outputs FILE.")
    if len(names := list(tasks)) > 1:
        raise UserError(f"A file of outputs is about one task, not {', '.join(names)}; choose one with --tasks.")
    if unfit := [row for row, method in rows.items() if reads_network(method)]:
        fit = [name for name, method in in_table_order(METHODS.all()).items() if not reads_network(method)]
        raise UserError(
            f"A file of outputs has no network, and {', '.join(unfit)} would read the teacher's hidden states or train "
            f"it; methods that learn from outputs alone are {', '.join(fit)}."
        )


def _check_given_teacher(plan: Plan, config: Config) -> None:
    """Check that every method can use a teacher that is already fine-tuned.

    Raises:
        UserError: a method trains the teacher from its start, or there are settings for a training that does not
            happen.
    """
    if own := config.teacher_section(of_user=True):
        raise UserError(f"teacher_is_finetuned leaves nothing to train; leave out teacher.{next(iter(own))}.")
    # a teacher without a run that fine-tunes it is trained from its start
    specs = ((cell.row, plan.runs[cell.run]) for cell in plan.cells)
    along = {row: spec for row, spec in specs if spec.teacher is not None and not spec.needs}
    if along:
        fine = ",".join(dict.fromkeys(cell.row for cell in plan.cells if cell.row not in along))
        ways = ["--set teacher_start=finetuned"] * any("teacher_start" in spec.options for spec in along.values())
        ways += [f"--methods {fine}"] if fine else []
        raise UserError(
            f"A teacher that is fine-tuned already cannot be taken as it is by {', '.join(along)}, where it is trained "
            f"along as one that is only pre-trained; give {' or '.join(ways) or 'other methods'}."
        )


def _specs(
    config: Config, study: Study, row: str, method: type[Method], task: str, seeds: Iterable[int]
) -> Iterator[tuple[RunSpec, Mapping[str, Any]]]:
    """Yield the spec, and the grid values, of every grid point and seed of one row on one task."""
    asked = DataLocation(study.source, user_path(study.glue_dir) if study.glue_dir else None)
    data = data_ref(TASKS.get(task), asked, user_path(study.data_dir) if study.data_dir else None)
    _, variant = method.variants.get(row, ("", {}))
    for point in config.points(row, method, variant):
        spec = RunSpec(
            method=method.name, method_version=method.version, task=task, seed=0, data=data,
            declaration=TASKS.get(task).describe(), teacher=model_ref(study.teacher),
            student=model_ref(reference.keep_layers(study.student, point.training.student_layers)),
            selection=study.selection, feedback=study.feedback, training=point.training,
            options=point.options.model_dump(mode="json"),
            teacher_training={"epochs": 0} if study.teacher_is_finetuned else dict(point.teacher),
        )  # fmt: skip
        yield from ((spec.model_copy(update={"seed": seed}), point.choice) for seed in seeds)
