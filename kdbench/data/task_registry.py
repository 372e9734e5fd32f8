"""The registry of tasks: classes in Python, and declarations in TOML files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.registry import Registry
from kdbench.core.spec import RunSpec
from kdbench.core.toml_files import CONFIG_FILE, read_toml
from kdbench.data.declaration import Declaration
from kdbench.data.declared_task import DeclaredTask, declared_task
from kdbench.data.task import Task

SECTION = "task"  # of kdbench.toml


class TaskRegistry(Registry[Task]):
    """The tasks: plugins, the declarations in `tasks/` (of kdbench and of the working folder) and in kdbench.toml."""

    def add_more(self) -> None:
        """Add the declared tasks. A declaration that is not valid, or whose name is taken, is listed as broken."""
        here = Path.cwd()
        for folder in self.packages:
            for path in sorted(folder.glob("*.toml")):
                self._add_declared(path.stem, path, None, (path.parent, here) if folder.parent == here else ())
        own = Path(self.folder).resolve()
        for path in sorted(own.glob("*.toml")) if own not in self.packages else []:
            self._add_declared(path.stem, path, None, (own, here))
        config = here / CONFIG_FILE
        try:
            tables = read_toml(config).get(SECTION, {}) if config.is_file() else {}
        except UserError:  # whoever reads settings says so
            return
        for name, values in tables.items() if isinstance(tables, Mapping) else ():
            self._add_declared(name, config, values, (here,))

    def _add_declared(self, name: str, path: Path, values: Any, folders: tuple[Path, ...]) -> None:
        """Add a declaration from a file, or from a table `values` in one."""
        place = str(path) if values is None else f"{path}, [{SECTION}.{name}]"
        if problem := self.name_problem(name, place):
            self.broken.setdefault(name, problem)
            return
        try:
            declared = Declaration.parse(read_toml(path) if values is None else values, place)
            self.add(name, declared_task(name, declared, place, folders))
        except UserError as error:
            self.broken[name] = str(error).rstrip(".")

    def file_of(self, name: str) -> str:
        """Return the file that defines a task."""
        found = self.all()[name]
        return found.place if issubclass(found, DeclaredTask) else super().file_of(name)

    def learn(self, specs: Iterable[RunSpec], *, replace: bool = False) -> None:
        """Add the declared tasks of stored runs that are not known here.

        Args:
            replace: the stored declarations win over those of the same names, as where planned runs are trained.
        """
        for spec in specs:
            known = self.all().get(spec.task)
            if not spec.declaration or (known and not (replace and issubclass(known, DeclaredTask))):
                continue
            place = f"the declaration of task '{spec.task}' in run {spec.id}"
            declared = Declaration.parse(spec.declaration, place)
            if not (known and issubclass(known, DeclaredTask) and known.declaration == declared):
                self.all().pop(spec.task, None)
                self.add(spec.task, declared_task(spec.task, declared, place, (Path.cwd(),)))


TASKS = TaskRegistry("task", "kdbench.tasks", Task, "tasks")  # type: ignore[type-abstract]


def selection_title(task: str) -> str:
    """Return the title of a task's selection metric, such as `selection F1`; "selection" for a missing task."""
    return TASKS.get(task).selection_title() if task in TASKS.all() else "selection"
