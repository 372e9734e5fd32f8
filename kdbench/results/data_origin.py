"""Tell real from synthetic data, and pre-trained networks from random ones."""

from __future__ import annotations

from kdbench.core.spec import ModelRef, RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.models import reference
from kdbench.models.display_names import display_name
from kdbench.results.study import StudyResults


def generated_tasks(study: StudyResults) -> list[str]:
    """Return the tasks whose examples are synthetic, in table order, as their runs tell."""
    data = {cell.cell.task: cell.run.spec.data for cell in study.cells}
    return [task for task in study.tasks if TASKS.get(task).is_generated(data[task].location)]


def data_source(spec: RunSpec) -> str:
    """Return the source of a run's examples; `own` where a task in Python reads its own, whatever the study's."""
    task = TASKS.of(spec)
    is_own = spec.data.source == "generated" and task is not None and not task.is_generated(spec.data.location)
    return "own" if is_own else spec.data.source


def describe_data(study: StudyResults) -> str:
    """Name the source of the examples: a folder, `hub`, `generated`, or the tasks themselves."""
    specs = {cell.cell.task: cell.run.spec for cell in study.cells}
    sources = {task: data_source(specs[task]) for task in study.tasks}
    own = [task for task, source in sources.items() if source in ("files", "own")]
    asked = {"glue-dir": str(study.study["glue_dir"] or "glue-dir")}
    places = dict.fromkeys(asked.get(source, source) for task, source in sources.items() if task not in own)
    titles = ", ".join(TASKS.get(task).title for task in own)
    return ", ".join([*places, *([f"the task's own ({titles})"] if own else [])]) or "not known"


def describe_train_rows(study: StudyResults) -> str:
    """Return how many rows of train are used where some are drawn, such as `at most 500 (SST-2)`; "" where all are."""
    drawn, of_tasks = dict[int, list[str]](), study.train_rows
    for task in study.tasks:
        drawn.setdefault(of_tasks[task], []).append(TASKS.get(task).title)
    parts = {rows: "" if len(drawn) == 1 else f" ({', '.join(titles)})" for rows, titles in drawn.items() if rows}
    return ", ".join(f"at most {rows:,}{where}" for rows, where in parts.items())


def random_networks(study: StudyResults) -> list[str]:
    """Return the names of the networks that start from random weights."""
    known = {role: study.models.get(role, "") for role in ("teacher", "student")}
    drawn = {role: fingerprint for role, fingerprint in known.items() if reference.is_random(fingerprint)}
    refs = (ModelRef(name=str(study.study[role]), fingerprint=fingerprint) for role, fingerprint in drawn.items())
    return list(dict.fromkeys(map(display_name, refs)))
