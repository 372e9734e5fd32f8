"""What the six tasks declare."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.data import task_registry as registry
from kdbench.data.task import Task
from kdbench.tasks.glue import GlueTask
from kdbench.tasks.mnli import Mnli
from kdbench.tasks.mrpc import Mrpc
from kdbench.tasks.qnli import Qnli
from kdbench.tasks.qqp import Qqp
from kdbench.tasks.rte import Rte
from kdbench.tasks.sst2 import Sst2

PROJECT = Path(__file__).resolve().parents[2]
TASKS = [Mrpc, Rte, Sst2, Mnli, Qnli, Qqp]
HEAVY = {"torch", "transformers", "datasets", "evaluate", "numpy", "pandas", "sklearn"}


def test_titles_stand_in_table_order() -> None:
    assert [task.position for task in TASKS] == [1, 2, 3, 4, 5, 6]
    assert [task.title for task in TASKS] == ["MRPC", "RTE", "SST-2", "MNLI", "QNLI", "QQP"]
    assert {task.group for task in TASKS} == {"glue"}


def test_labels_are_in_the_hubs_order() -> None:
    assert Mrpc.labels == ("not_equivalent", "equivalent")
    assert Rte.labels == Qnli.labels == ("entailment", "not_entailment")
    assert Sst2.labels == ("negative", "positive")
    assert Mnli.labels == ("entailment", "neutral", "contradiction")
    assert Qqp.labels == ("not_duplicate", "duplicate")


def test_loading_twice_finds_the_same_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A declaration in a file does not clash with itself."""
    found, broken = set(registry.TASKS.all()), dict(registry.TASKS.broken)
    monkeypatch.setattr(registry.TASKS, "_found", None)
    assert set(registry.TASKS.all()) == found
    assert registry.TASKS.broken == broken


@pytest.mark.parametrize("task", TASKS)
def test_declarations_fit_together(task: type[GlueTask]) -> None:
    assert len(task.label_words) == len(task.labels)
    assert set(task.files) == {"train", *task.report_splits, *(file.split for file in task.server_files)}
    assert set(task.official_rows) == {"train", *task.report_splits}
    assert task.metrics == (("f1", "accuracy") if task in (Mrpc, Qqp) else ("accuracy",))
    assert (task.columns[1] is None) == (task.hub_columns[1] is None) == (task is Sst2)


@pytest.mark.parametrize("task", TASKS)
def test_every_file_declares_exactly_one_task(task: type[Task]) -> None:
    module = inspect.getmodule(task)
    declared = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Task) and value.__module__ == task.__module__
    ]
    assert declared == [task]
    assert not inspect.isabstract(task)
    assert {"title", "labels"} <= set(vars(task))


def test_the_base_is_no_task_of_its_own() -> None:
    assert GlueTask.title == ""
    assert "glue" not in registry.TASKS.all()
    assert "glue" not in registry.TASKS.broken


def test_importing_a_task_is_cheap() -> None:
    program = "import sys, kdbench.tasks.mrpc; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    process = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(process.stdout.split())
