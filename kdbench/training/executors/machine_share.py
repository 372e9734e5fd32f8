"""Choose how many runs are trained at once on this machine, where the user does not say."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from kdbench.core.settings import Execution
from kdbench.core.spec import RunSpec, run_depths
from kdbench.planning.cost_estimate import GPU
from kdbench.planning.plan import Plan
from kdbench.planning.run_scale import network_size

# memory of a run: the measured peaks of all methods on MiniLM (1.5 to 4.5 GB) stay below
LIBRARIES = 1.0e9
PER_BYTE = 24  # bytes of weights, gradients, moments, copies and activations for each byte of the run's networks
USABLE = 0.9  # of the machine's memory
CGROUP = Path("/sys/fs/cgroup/memory.max")


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container that this process runs in."""
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(most, int(CGROUP.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return most


def choose_jobs(plan: Plan, execution: Execution, cores: int, memory: int) -> int:
    """Return the number of runs at once that trains a plan fastest: small runs scale better than their threads do.

    On a CPU that is a run for each core, up to the number of runs that can be ready together and up to what memory
    allows. The number follows from plan and machine alone, not from what is done already, so that the same command
    gives runs the same threads whenever it is repeated. On a GPU it is 1.
    """
    on_gpu = execution.device.startswith("cuda") or (execution.device == "auto" and GPU.exists())
    if on_gpu or not plan.runs:
        return 1
    needed = max(_memory(plan, spec) for spec in plan.runs.values())
    fitting = int(USABLE * memory / needed)
    # runs that need equally long chains of other runs can be ready together
    ready = max(Counter(run_depths(plan.runs).values()).values())
    return max(1, min(cores // max(1, execution.threads), ready, fitting))


def _memory(plan: Plan, spec: RunSpec) -> float:
    """Estimate the bytes of memory of a run's process."""
    networks = [spec.student, *(plan.runs[run].student for run in spec.needs.values())]
    networks += [spec.teacher] if spec.teacher else []
    return LIBRARIES + PER_BYTE * sum(network_size(ref, 0).bytes for ref in networks)
