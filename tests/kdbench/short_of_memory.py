"""Train a run in a process that may have little more memory than it has when it begins: `FOLDER MEGABYTES`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.executors.serial import train_run
from tests.kdbench.small_runs import CPU, FEW, plan, the_run
from tests.kdbench.test_pool import Notes

SETS = ["student=tiny-4x192", "teacher=tiny-4x192", "batch_size=256", "train_rows=300", "max_length=64", "epochs=1"]
SETS += ["eval_every=0"]


class Say(Notes):
    def paused(self, run_id: str, why: str) -> None:
        print(why, flush=True)


def hungry(folder: Path) -> Plan:
    """A run whose steps need some hundred megabytes."""
    return plan(folder, *SETS, methods="finetune", tasks="mnli")


def main() -> None:
    folder, megabytes = Path(sys.argv[1]), int(sys.argv[2])
    warm = plan(folder, methods="finetune", tasks="mnli")  # so that every library is loaded
    train_run(the_run(warm), Store(folder / "warm"), CPU, FEW, Notes(), lambda: False)
    status = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
    limit = kilobytes * 1024 + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(*train_run(the_run(hungry(folder)), Store(folder / "short"), CPU, FEW, Say(), lambda: False))


if __name__ == "__main__":
    main()
