"""A sweep that is disturbed in every way at random moments, again and again, until it is done all the same.

`python -m tests.chaos.storm FOLDER` (or `make chaos`) trains all methods on all tasks, kills its processes 50 times or
more, and compares every result with that of an undisturbed sweep. Prints what it did.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.results.store import RunFolder, Store
from kdbench.training.executors import process_pool
from tests.kdbench.small_runs import CPU, FEW, SMALL, contents
from tests.kdbench.test_pool import Notes

SETS = [*SMALL, *(f"{key}={value}" for key, value in FEW.model_dump().items()), "threads=1", "device=cpu", "epochs=6",
        "eval_every=3", "jobs=2", "checkpoint_seconds=0.2"]  # fmt: skip
FAKETIME = [Path(f"/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1") for machine in ("x86_64", "aarch64")]
DISK = "48m"
DROPPED = "-dac_override,-dac_read_search"  # what lets root read every file
OBEDIENT = (
    ["setpriv", f"--bounding-set={DROPPED}", f"--inh-caps={DROPPED}"]
    if shutil.which("setpriv") and not os.geteuid()
    else []
)


class Storm:
    """One sweep, and what is done to it.

    Args:
        root: a folder of its own.
        wanted: how often each disturbance is to happen at least, by name.
    """

    def __init__(self, root: Path, methods: str, tasks: str, wanted: Counter[str], seed: int) -> None:
        self.root, self.wanted, self.done = root, wanted, Counter[str]()
        self.disk = root / "disk"
        self.disk.mkdir(parents=True)
        self.clock = root / "clock"
        self.clock.write_text("+0")
        self.random = random.Random(seed)
        self.plan = make_plan(assemble_config({**parse_sets(SETS), "methods": methods, "tasks": tasks}, root))
        self.args = ["run", "--methods", methods, "--tasks", tasks]
        self.args += [part for pair in SETS for part in ("--set", pair)]
        self.calm = Store(root / "calm")
        process_pool.run_pool(self.plan, self.calm, [CPU, CPU], FEW, Notes())

    def store(self) -> Store:
        return Store(self.disk / "results", create=False)

    def rage(self) -> None:
        """Sweep after sweep, until everything has happened often enough; compares each in the end."""
        while not self.is_over():
            self._sweep()
            self.done["sweeps"] += 1
            for run in self.plan.runs:
                assert contents(self.store(), run) == contents(self.calm, run), f"{run} differs"
                self.done["results compared"] += 1
            shutil.rmtree(self.disk / "results")

    def is_over(self) -> bool:
        return all(self.done[name] >= number for name, number in self.wanted.items())

    def _sweep(self) -> None:
        """The same command until it says that all is done."""
        code = 1
        while code:
            process = self._start()
            while process.poll() is None:
                self._wait_for_work(process)
                if not self.is_over() and process.poll() is None:
                    self._strike(process)
            code = process.returncode
            said = (self.root / "said.txt").read_text()
            assert "Traceback" not in said, said
            self.done["commands"] += 1

    def _wait_for_work(self, process: subprocess.Popen[bytes]) -> None:
        """Until something has been trained since the last strike, and a moment more."""
        since = time.time()  # of this process, whose clock does not jump
        while process.poll() is None and not any(
            file.stat().st_mtime > since for file in self.disk.glob("results/runs/*/series.jsonl")
        ):
            time.sleep(0.05)
        time.sleep(self.random.uniform(0.0, 1.0))

    def _start(self) -> subprocess.Popen[bytes]:
        library = next((path for path in FAKETIME if path.exists()), None)
        fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1"} if library else {}  # fmt: skip
        command = [*OBEDIENT, sys.executable, "-m", "kdbench", *self.args]
        with (self.root / "said.txt").open("w") as said:
            return subprocess.Popen(
                command, cwd=self.disk, stdout=said, stderr=said, env={**os.environ, **fake}, start_new_session=True
            )

    def _strike(self, process: subprocess.Popen[bytes]) -> None:
        """Whatever is most in arrears is the likeliest."""
        left = {name: number - self.done[name] for name, number in self.wanted.items() if number > self.done[name]}
        name = self.random.choices(list(left), list(left.values()))[0]
        strike: Callable[[subprocess.Popen[bytes]], bool] = getattr(self, name)
        self.done[name] += strike(process)

    def kills(self, process: subprocess.Popen[bytes]) -> bool:
        """SIGKILL for one of the processes that train, or for all of them."""
        if self.random.random() < 0.3:
            return self._kill_all(process)
        workers = [pid for pid in children(process.pid) if "spawn_main" in command_of(pid)]
        if not workers:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.random.choice(workers), signal.SIGKILL)
        return True

    def _kill_all(self, process: subprocess.Popen[bytes]) -> bool:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True

    def cut_checkpoints(self, process: subprocess.Popen[bytes]) -> bool:
        """A checkpoint, or the best student so far, ends in the middle."""
        files = self._files_at_rest(process, self._checkpoints)
        for file in files:
            os.truncate(file, self.random.randrange(file.stat().st_size))
        return bool(files)

    def damaged_series(self, process: subprocess.Popen[bytes]) -> bool:
        """Some bytes in the middle of the metrics are something else."""
        files = self._files_at_rest(process, self._long_series)
        for file in files:
            with file.open("r+b") as handle:
                handle.seek(self.random.randrange(file.stat().st_size))
                handle.write(b'\x00{"st')
        return bool(files)

    def changed_models(self, process: subprocess.Popen[bytes]) -> bool:
        """Four bytes of a finished network are others, and somebody still has to learn from it."""
        files = self._files_at_rest(process, self._needed_models)
        for file in files[:1]:
            with file.open("r+b") as handle:
                handle.seek(-64, os.SEEK_END)
                changed = bytes(255 - byte for byte in handle.read(4))
                handle.seek(-64, os.SEEK_END)
                handle.write(changed)
        return bool(files)

    def _files_at_rest(self, process: subprocess.Popen[bytes], find: Callable[[], list[Path]]) -> list[Path]:
        """Kill the sweep and return the files to damage; leave it alone while there are none.

        A sweep that is killed for nothing, before its first checkpoint, would never get any further.
        """
        if not find():
            return []
        self._kill_all(process)
        return find()  # what is there now that nobody writes any more

    def _checkpoints(self) -> list[Path]:
        """Return the files from which unfinished runs would be resumed."""
        return [file for run in self._unfinished() for file in (run.checkpoint, run.best) if file.exists()]

    def _long_series(self) -> list[Path]:
        """Return the metrics of unfinished runs that have more than a few."""
        return [run.series for run in self._unfinished() if run.series.exists() and run.series.stat().st_size > 100]

    def _needed_models(self) -> list[Path]:
        """Return the weights of finished runs that an unfinished run needs."""
        store = self.store()
        done = {run for run in self.plan.runs if store.run(run).is_done()}
        needed = {parent for run in self.plan.runs if run not in done for parent in self.plan.runs[run].needs.values()}
        return [store.run(run).model / "model.safetensors" for run in sorted(needed & done)]

    def _unfinished(self) -> Iterator[RunFolder]:
        return (run for run in self.store().runs() if not run.is_done())

    def lost_permissions(self, process: subprocess.Popen[bytes]) -> bool:
        """What a finished run left may not be read for a while."""
        files = sorted(self.disk.glob("results/runs/*/result.json"))
        if not files or not OBEDIENT:
            return False
        file = self.random.choice(files)
        file.chmod(0o000)
        self._kill_all(process)
        meanwhile = self._start()
        self._wait_for_work(meanwhile)
        self._kill_all(meanwhile)  # else it would train all the rest, and no other disturbance would meet it
        file.chmod(0o644)
        return True

    def rivals(self, process: subprocess.Popen[bytes]) -> bool:
        """The same command once more, at the same time, for a while."""
        rival = self._start()
        time.sleep(self.random.uniform(1.0, 8.0))
        self._kill_all(rival)
        return True

    def full_disks(self, process: subprocess.Popen[bytes]) -> bool:
        """Not a byte is free for a while."""
        filler = self.disk / "filler"
        with suppress(OSError), filler.open("wb") as handle:
            while True:
                handle.write(bytes(65536))
                handle.flush()
        time.sleep(self.random.uniform(0.5, 2.0))
        filler.unlink()
        return True

    def clock_jumps(self, process: subprocess.Popen[bytes]) -> bool:
        """Hours ahead, or back."""
        self.clock.write_text(f"{self.random.randint(-90_000, 90_000):+d}")
        return True


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own, so that it can be filled; whether there is one (only root may make it)."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "kdbench-test", str(folder)]
    made = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield made
    finally:
        if made:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def can_fake_time() -> bool:
    return any(path.exists() for path in FAKETIME)


def storm(root: Path, methods: str, tasks: str, wanted: Counter[str], seed: int) -> Counter[str]:
    """Run one; returns what happened. What this machine cannot do is left out of `wanted`."""
    made = Storm(root, methods, tasks, wanted, seed)
    if not can_fake_time():
        del wanted["clock_jumps"]
    if not OBEDIENT:
        del wanted["lost_permissions"]
    with small_disk(made.disk) as filled:
        if not filled:
            del wanted["full_disks"]
        made.rage()
    return made.done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", default="all")
    parser.add_argument("--tasks", default="glue")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--others", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kinds = ("cut_checkpoints", "damaged_series", "full_disks", "clock_jumps",
             "changed_models", "lost_permissions", "rivals")  # fmt: skip
    others = dict.fromkeys(kinds, given.others)
    wanted = Counter({"kills": given.kills, **others})
    counts = storm(given.folder, given.methods, given.tasks, wanted, given.seed)
    print(", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items()))
    print("Every result equals that of the undisturbed sweep.")


if __name__ == "__main__":
    main()
