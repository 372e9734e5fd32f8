"""Settings of the SLURM executor, from `[slurm]` in kdbench.toml or `--set slurm.KEY=VALUE`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, field_validator

from kdbench.core.options import Options, option

PLAIN = re.compile(r"(\d+)([mhd]?)")  # 90, 90m, 4h, 2d
CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")  # M:S, H:M:S, D-H, D-H:M, D-H:M:S, as sbatch reads them
MEMORY = re.compile(r"(\d+)\s*(?:([kmgt]?)b?)", re.IGNORECASE)
UNITS = {"": 1, "m": 1, "h": 60, "d": 1440}
START_SECONDS = 60  # for Python, torch, and the signal that SLURM may send up to a minute early

Text = Annotated[str, BeforeValidator(lambda v: ",".join(map(str, v)) if isinstance(v, list) else str(v))]
Lines = Annotated[list[str], BeforeValidator(lambda v: v.splitlines() if isinstance(v, str) else v)]


RESERVED_PARAMETERS = {  # parameters of sbatch that are set here -> the setting that they have, if any
    "account": "account", "constraint": "constraint", "cpus-per-task": "cpus", "gpus-per-node": "gpus", "mem": "memory",
    "partition": "partition", "qos": "qos", "signal": "checkpoint_before", "time": "time", "array": "", "comment": "",
    "dependency": "", "error": "", "job-name": "", "no-requeue": "", "nodes": "", "ntasks": "", "ntasks-per-node": "",
    "open-mode": "", "output": "", "requeue": "", "wrap": "",
}  # fmt: skip


class SlurmOptions(Options):
    """The resources of every job, and how runs are cut into jobs. The cluster decides what is not set."""

    partition: Text = option("", "partition, or several: gpu,long")
    account: Text = option("", "account that is charged")
    qos: Text = option("", "quality of service")
    constraint: Text = option("", "features that a node must have")
    time: Text = option("", "limit of a job, such as 4:00:00, 90m or 2-00:00; what takes longer goes on in the next")
    memory: Text = option("", "memory of a job, such as 16G")
    gpus: int = option(0, "GPUs of a job; a run uses one, and several may share it (side_by_side)", ge=0)
    side_by_side: int = option(
        1, "runs that a job trains at the same time, each in a process with its share of GPUs and cores", ge=1, le=64
    )
    cpus: int = option(0, "cores of a job; 0 leaves it to the cluster", ge=0)
    setup: Lines = option([], "shell lines before Python starts, such as module load cuda; a failing one ends the job")
    extra: dict[str, Any] = option({}, "any other parameter of sbatch, such as {nodelist = 'n1', exclusive = true}")
    max_parallel: int = option(0, "jobs at once; 0 is no limit; with one, runs of one depth go together", ge=0)
    max_array: int = option(0, "longest job array; 0 asks the cluster (MaxArraySize)", ge=0)
    checkpoint_before: int = option(120, "seconds before the limit at which a job checkpoints and queues anew", ge=10)
    python: Text = option("", "what starts Python there, such as apptainer exec --nv image.sif python; else this one")

    @field_validator("time")
    @classmethod
    def _readable(cls, value: str) -> str:
        parse_minutes(value)
        return value

    @field_validator("memory")
    @classmethod
    def _compact(cls, value: str) -> str:
        """Convert `16 GB` to sbatch's form `16G`."""
        found = MEMORY.fullmatch(value.strip())
        if value and not found:
            raise ValueError("should be a number of megabytes, or one with K, M, G or T behind it, such as 16G")
        return found[1] + found[2].upper() if found else ""

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            name = key.replace("_", "-")
            if name in RESERVED_PARAMETERS:
                instead = (
                    f"use slurm.{RESERVED_PARAMETERS[name]}"
                    if RESERVED_PARAMETERS[name]
                    else "kdbench needs it for itself"
                )
                raise ValueError(f"should not hold '{key}': {instead}")
        return value

    def too_short(self) -> str:
        """Say why the time limit leaves no time to train; "" if it leaves some."""
        least = (self.checkpoint_before + START_SECONDS) / 60 + 1
        if not self.time or parse_minutes(self.time) >= least:
            return ""
        return (
            f"slurm.time={self.time} leaves nothing before the checkpoint that is written {self.checkpoint_before} s "
            f"before the limit; give {least:.0f}m or more, or a smaller slurm.checkpoint_before."
        )


def parse_minutes(text: str) -> float:
    """Parse a time limit to minutes; 0 for no limit.

    Raises:
        ValueError: it is not a time limit of SLURM.
    """
    if not text:
        return 0
    if found := PLAIN.fullmatch(text):
        return int(found[1]) * UNITS[found[2]]
    found = CLOCK.fullmatch(text)
    if not found:
        raise ValueError("should be a time such as 4:00:00, 90m or 2-00:00")
    parts = [int(part) for part in found.groups()[1:] if part is not None]
    if found[1] is None and len(parts) < 3:
        parts = [0, *parts]
    hours, clock_minutes, seconds = [*parts, 0, 0][:3]
    return int(found[1] or 0) * 1440 + hours * 60 + clock_minutes + seconds / 60
