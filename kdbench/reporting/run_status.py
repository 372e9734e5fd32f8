"""The status of runs, from the results folder and from the queues that hold their jobs."""

from __future__ import annotations

from kdbench.planning.executor import EXECUTORS, Job
from kdbench.reporting import printing
from kdbench.results.store import Store
from kdbench.results.study import Run, StudyResults

LISTED = ("running", "failed", "lost", "interrupted")  # one by one
STATES = ("done", *LISTED, "blocked", "queued", "waiting")  # every word


class RunStatuses:
    """Statuses of all runs of a results folder; every queue is asked once.

    Attributes:
        jobs: run id -> the newest job of each run that was ever put into a queue.
        problems: title of an executor -> why its queue could not be asked.
    """

    def __init__(self, store: Store) -> None:
        self.jobs: dict[str, Job] = {}
        self.problems: dict[str, str] = {}
        for executor in EXECUTORS.all().values():
            jobs, problem = executor.jobs(store)
            self.jobs |= jobs
            if problem:
                self.problems[executor.title] = problem

    def status_of(self, study: StudyResults | None, run: Run) -> str:
        """Return one of `STATES`. A run is lost if its job ended before the run could begin.

        Args:
            study: where a failed parent is looked up; None skips that.
        """
        job, status = self.jobs.get(run.id), run.state.status
        if study and study.blocker(run):
            return "blocked"
        if status in ("pending", "interrupted") and job and job.is_live:
            return "queued"
        has_died = job and job.standing == "ended" and job.detail != "COMPLETED" and not job.cancelled
        return "lost" if status == "pending" and has_died else printing.status_word(status)
