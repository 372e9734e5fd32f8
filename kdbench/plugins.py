"""The kinds of plugin: methods, tasks, and executors."""

from __future__ import annotations

from kdbench.executor import Executor
from kdbench.method import Method
from kdbench.registry import Registry
from kdbench.task import Task

METHODS: Registry[Method] = Registry("method", "kdbench.methods", Method)
TASKS: Registry[Task] = Registry("task", "kdbench.tasks", Task)  # type: ignore[type-abstract]
EXECUTORS: Registry[Executor] = Registry("executor", "kdbench.executors", Executor)
