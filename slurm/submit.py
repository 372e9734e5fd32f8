"""Submit an array to sbatch through Submitit."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from shlex import quote
from typing import Any

import submitit
from submitit.core.utils import FailedJobError
from submitit.slurm.slurm import _make_sbatch_string

from kdbench.core.safe_path import Children
from kdbench.planning.executor import ExecutionRequest
from kdbench.slurm import worker
from kdbench.slurm.arrays import JobArray
from kdbench.slurm.ledger import ArrayRecord, Ledger
from kdbench.slurm.options import SlurmOptions, parse_minutes
from kdbench.slurm.queue import NAME, SlurmError

KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_")  # the user's; SLURM's other variables describe the job we may be in


def sbatch_parameters(options: SlurmOptions, array: JobArray, name: str, after: Iterable[str]) -> dict[str, Any]:
    """Return Submitit's parameters for sbatch.

    Args:
        name: of the array's record.
        after: ids of the jobs that must end first.
    """
    before = sorted(after)
    return {
        "job_name": NAME,
        "comment": name,
        "partition": options.partition or None,
        "account": options.account or None,
        "qos": options.qos or None,
        "constraint": options.constraint or None,
        "time": math.ceil(parse_minutes(options.time)) or None,
        "mem": options.memory or None,
        "gpus_per_node": options.gpus or None,
        "cpus_per_task": options.cpus or None,
        # since SLURM 22.05 srun does not take this from the job
        "srun_args": [f"--cpus-per-task={options.cpus}"] if options.cpus else None,
        "setup": ["set -e", *options.setup] if options.setup else None,
        "signal_delay_s": options.checkpoint_before,
        "array_parallelism": options.max_parallel or len(array.tasks),
        "dependency": f"afterany:{':'.join(before)}" if before else None,
        "wckey": None,  # Submitit would send one, which some sites refuse
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, **options.extra},
    }


def sbatch_script(parameters: dict[str, Any], jobs: int, folder: str) -> str:
    """Return the script for sbatch as Submitit makes it."""
    count = {"map_count": jobs} if jobs > 1 else {}
    made: str = _make_sbatch_string(command="...", folder=folder, **parameters, **count)
    return made


def submit_array(
    request: ExecutionRequest, options: SlurmOptions, ledger: Ledger, array: JobArray, after: Iterable[str]
) -> ArrayRecord:
    """Put an array into the queue, and return its record.

    Raises:
        SlurmError: sbatch refuses it.
    """
    record = ledger.open(request.sweep, array.tasks)
    executor = submitit.SlurmExecutor(ledger.folder(record), python=python_command(options))
    with outside_of_jobs(), Children():
        executor.update_parameters(**sbatch_parameters(options, array, record.name, after))
        calls = worker.job_arguments(request, array.tasks, options.side_by_side)
        try:
            jobs = executor.map_array(worker.train_runs, *zip(*calls, strict=True))
        except FailedJobError as error:
            raise SlurmError(f"sbatch: {' '.join(str(error).split())}") from None
    return ledger.write(record.model_copy(update={"job": jobs[0].job_id.partition("_")[0]}))


def python_command(options: SlurmOptions) -> str:
    """Return the command that starts Python in a job.

    `-P` keeps Python from importing files of the folder of submission, such as a `submitit.py`. Where the shell can,
    the checkpoint signal is ignored until Python has its handlers.
    """
    command = f"{options.python or quote(sys.executable)} -P"
    deaf = ["env", "--ignore-signal=USR2"]
    try:
        known = subprocess.run([*deaf, "true"], capture_output=True).returncode == 0
    except OSError:
        known = False
    return f"{' '.join(deaf)} {command}" if known else command


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide the SLURM variables of the job that this process may run in, which sbatch would apply to the new job."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    with submitit.helpers.clean_env():
        os.environ.update(kept)
        yield
