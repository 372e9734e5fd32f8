"""Where and how a plan is carried out: on this machine, or in a cluster's queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kdbench.core.options import Options
from kdbench.core.registry import Registry
from kdbench.results.store import Store

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.core.settings import Execution, Recording
    from kdbench.planning.plan import Plan

EXIT_STOPPED = 130  # the exit code when somebody asked to stop


class NoSettings(Options):
    """For executors without settings of their own."""


@dataclass(frozen=True)
class ExecutionRequest:
    """What is to be carried out, and with what settings.

    Attributes:
        sweep: the name under which the plan is remembered in the results folder.
        devices: the devices that were listed, if any.
        runs_per_job: how many runs a job of a queue carries.
        tables: which are shown when all is done.
    """

    plan: Plan
    sweep: str
    store: Store
    execution: Execution
    recording: Recording
    devices: tuple[str, ...]
    runs_per_job: int
    console: Console
    tables: tuple[str, ...] = ("1",)


ShowTables = Callable[[ExecutionRequest], None]


@dataclass(frozen=True)
class Job:
    """A job of a queue that carries, or carried, a run.

    Attributes:
        standing: `unknown` when the queue no longer has it.
        detail: the queue's own words: why it waits, or how it ended.
        hopeless: it waits for something that will not come by itself.
        cancelled: somebody took it out of the queue.
    """

    id: str
    standing: Literal["queued", "running", "ended", "unknown"]
    detail: str = ""
    place: str = ""
    hopeless: bool = False
    cancelled: bool = False

    @property
    def is_live(self) -> bool:
        return self.standing in ("queued", "running")


class Executor:
    """A way to carry out a plan. All of them train a run by the same function.

    Class attributes:
        title: how people call the place.
        options_type: the class of its settings, which stand in the section of its name in kdbench.toml.
    """

    name: ClassVar[str] = ""  # set by the registry
    title: ClassVar[str]
    options_type: ClassVar[type[Options]] = NoSettings

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, order: ExecutionRequest) -> list[str]:
        """What the user should know before it begins.

        Raises:
            UserError: it cannot work.
        """
        raise NotImplementedError

    def preview(self, order: ExecutionRequest) -> None:
        """Print what would be done beyond the plan itself; nothing is begun."""

    def execute(self, order: ExecutionRequest, show_tables: ShowTables) -> int:
        """Train what is not done, or see to it that it is trained; prints what happened and returns the exit code.

        Args:
            show_tables: prints the tables of an order, for an executor that waits until all is trained.
        """
        raise NotImplementedError

    @classmethod
    def jobs(cls, store: Store) -> tuple[Mapping[str, Job], str]:
        """The newest job of every run that it ever put into a queue; and why the queue could not be asked, or ""."""
        return {}, ""

    @classmethod
    def cancel(cls, store: Store, runs: Iterable[str]) -> list[str]:
        """Take the jobs of these runs, and of nothing else that can be helped, out of the queue; says what was done."""
        return []

    @classmethod
    def logs(cls, store: Store, run_id: str) -> list[Path]:
        """What the processes that trained a run have printed, newest last."""
        return []


EXECUTORS: Registry[Executor] = Registry("executor", "kdbench.executors", Executor)
