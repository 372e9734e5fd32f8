"""Ask the cluster's queue by squeue, which needs no accounting and shows requeued jobs at once."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field

from kdbench.planning.executor import Job

NAME = "kdbench"  # of every job
FORMAT = "%i|%T|%r|%N|%k"
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"}
GIVEN_UP = {"CANCELLED", "FAILED", "OUT_OF_MEMORY", "DEADLINE"}  # somebody's wish, or it would happen again
HOPELESS_REASONS = {
    "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS", "JobHeldAdmin", "JobHeldUser",
    "JobHoldMaxRequeue", "PartitionNodeLimit", "PartitionTimeLimit", "launch_failed_requeued_held",
    "launch failed requeued held",
}  # fmt: skip
PATIENCE = 30  # seconds that a command of SLURM may take


@dataclass(frozen=True)
class QueueEntry:
    """A job that the queue knows."""

    id: str
    state: str
    reason: str
    node: str
    comment: str = ""

    @property
    def job(self) -> Job:
        """Return the job in the terms of executors."""
        if self.state in ENDED:
            return Job(self.id, "ended", self.state, self.node, cancelled=self.state == "CANCELLED")
        if self.state in RUNNING:
            return Job(self.id, "running", "" if self.state == "RUNNING" else self.state, self.node)
        reason = "" if self.reason in ("None", "Priority", "Resources") else self.reason
        return Job(self.id, "queued", reason, hopeless=reason in HOPELESS_REASONS)


@dataclass(frozen=True)
class Queue:
    """Jobs of kdbench by id, with those that ended within minutes. `problem` says why squeue could not be asked."""

    entries: dict[str, QueueEntry] = field(default_factory=dict)
    by_comment: dict[str, str] = field(default_factory=dict)  # -> id of the job or array
    problem: str = ""

    def is_of(self, job_id: str, comment: str) -> bool:
        """Return whether a job is, or could be, the one that was submitted with this comment."""
        entry = self.entries.get(job_id)
        return entry is None or entry.comment == comment

    def job(self, job_id: str) -> Job:
        entry = self.entries.get(job_id)
        return entry.job if entry else Job(job_id, "unknown")


def ask_queue() -> Queue:
    """Return all visible jobs of kdbench, other users' too."""
    if not shutil.which("squeue"):
        return Queue(problem="this machine has no squeue")
    try:
        text = call_slurm("squeue", "-h", "-a", "-r", "-t", "all", "-n", NAME, "-o", FORMAT)
    except SlurmError as error:
        return Queue(problem=str(error))
    return parse_queue(text)


def parse_queue(text: str) -> Queue:
    """Parse the output of squeue in `FORMAT`."""
    queue = Queue()
    for line in text.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5:
            job, state, reason, node, comment = parts
            queue.entries[job] = QueueEntry(job, state, reason, node, comment)
            queue.by_comment[comment] = job.partition("_")[0]
    return queue


class SlurmError(Exception):
    """Raised when a command of SLURM fails; the message is the command's own."""


def call_slurm(*command: str, stdin: str = "") -> str:
    """Run a command of SLURM, and return its output.

    Raises:
        SlurmError: it failed, or did not answer within `PATIENCE` seconds.
    """
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=PATIENCE, encoding="utf-8", errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{command[0]}: {error}") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SlurmError(f"{command[0]}: {said.removeprefix(f'{command[0]}: ').removeprefix('error: ')}")
    return done.stdout


def longest_array() -> int:
    """Return how many jobs an array of this cluster may have; its limit is on the index, which starts at 0.

    Raises:
        SlurmError: the cluster does not answer.
    """
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", call_slurm("scontrol", "show", "config"))
    return max(1, int(found[1])) if found else 1000
