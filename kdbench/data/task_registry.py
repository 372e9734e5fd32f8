"""The registry of tasks: classes in Python, and declarations in TOML files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
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

    _here: dict[str, type[Task]]  # the tasks of this folder, also where stored runs have taken their names

    def user_files(self) -> list[Path]:
        """Return the files outside packages that may define tasks, and those of declarations; see `Registry`."""
        declared = [path for folder in {*self.packages, Path(self.folder).resolve()} for path in folder.glob("*.toml")]
        return [*super().user_files(), *declared, Path.cwd() / CONFIG_FILE]

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
        tables: Any = {}
        with suppress(UserError):  # whoever reads settings says so
            tables = read_toml(config).get(SECTION, {}) if config.is_file() else {}
        for name, values in tables.items() if isinstance(tables, Mapping) else ():
            self._add_declared(name, config, values, (here,))
        self._here = dict(self.all())

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
            specs: of those with the same task the first decides.
            replace: the stored declarations win over those of the same names, as where planned runs are trained, or
                stored ones read.
        """
        decided: set[str] = set()
        for spec in specs:
            known = self.all().get(spec.task)
            if not spec.declaration or spec.task in decided or (known and not replace):
                continue
            decided.add(spec.task)
            if stored := self.of(spec):
                self.all()[spec.task] = stored

    def of(self, spec: RunSpec) -> type[Task] | None:
        """Return a run's task as declared when the run was planned; None where no plugin defines the task any more.

        Its title and place in tables are those of today, where this folder declares a task of the name.
        """
        known = self.all().get(spec.task)
        if not spec.declaration:
            return known
        stored = Declaration.parse(spec.declaration, f"the declaration of task '{spec.task}' in run {spec.id}")
        if (here := self._here.get(spec.task)) and issubclass(here, DeclaredTask):
            stored = stored.model_copy(update={name: getattr(here, name) for name in ("title", "group", "position")})
        is_same = known is not None and issubclass(known, DeclaredTask) and known.declaration == stored
        return known if is_same else _stored_task(spec.task, stored.model_dump_json())

    def refresh(self) -> None:
        """Return to the tasks of this folder, read again where files have changed; see `Registry.refresh`."""
        super().refresh()
        self.all().update(self._here)


@lru_cache(maxsize=64)
def _stored_task(name: str, declaration: str) -> type[DeclaredTask]:
    """Make a task of a stored declaration, the same one for the same declaration."""
    task = declared_task(name, Declaration.model_validate_json(declaration), "a stored run", (Path.cwd(),))
    task.name = name
    return task


TASKS = TaskRegistry("task", "kdbench.tasks", Task, "tasks")  # type: ignore[type-abstract]
