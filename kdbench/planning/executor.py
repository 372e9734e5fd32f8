"""The interface of executors, which train a plan's runs on this machine or through a cluster's queue."""

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
    """The options of executors without settings."""


@dataclass(frozen=True)
class ExecutionRequest:
    """A plan to execute, and the settings for it.

    Attributes:
        sweep: the name under which the results folder stores the plan.
        devices: the devices of --devices, if any.
        runs_per_job: number of runs in a job of a queue.
        tables: names of the tables to print when all runs are done.
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
    """A job of a queue that trains, or trained, a run.

    Attributes:
        standing: `unknown` if the queue no longer has the job.
        detail: the queue's own words: why the job waits, or how it ended.
        hopeless: the job waits for something that will not happen without help.
        cancelled: somebody took the job out of the queue.
    """

    id: str
    standing: Literal["queued", "running", "ended", "unknown"]
    detail: str = ""
    place: str = ""
    hopeless: bool = False
    cancelled: bool = False

    @property
    def is_live(self) -> bool:
        """Return whether the job waits or runs."""
        return self.standing in ("queued", "running")


class Executor:
    """A way to execute a plan. All executors train a run by the same function.

    Class attributes:
        title: what messages call the place of training.
        options_type: the class of the settings, which stand in the section of the executor's name in kdbench.toml.
    """

    name: ClassVar[str] = ""  # set by the registry
    title: ClassVar[str]
    options_type: ClassVar[type[Options]] = NoSettings

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, request: ExecutionRequest) -> list[str]:
        """Check that the request can be executed, and return remarks for the user.

        Raises:
            UserError: it cannot.
        """
        raise NotImplementedError

    def preview(self, request: ExecutionRequest) -> None:
        """Print what an execution would do beyond the plan itself; start nothing."""

    def execute(self, request: ExecutionRequest, show_tables: ShowTables) -> int:
        """Train the unfinished runs, or submit them; print what happened and return the exit code.

        Args:
            show_tables: prints the tables of a request; for executors that wait until all runs are done.
        """
        raise NotImplementedError

    @classmethod
    def jobs(cls, store: Store) -> tuple[Mapping[str, Job], str]:
        """Return the newest job of every run that was ever queued, and why the queue could not be asked, or ""."""
        return {}, ""

    @classmethod
    def cancel(cls, store: Store, runs: Iterable[str]) -> list[str]:
        """Cancel the jobs of these runs, and of others only where one job trains both; return messages about it."""
        return []

    @classmethod
    def logs(cls, store: Store, run_id: str) -> list[Path]:
        """Return the files with the output of the processes that trained a run, newest last."""
        return []


EXECUTORS: Registry[Executor] = Registry("executor", "kdbench.executors", Executor)
