"""A real SLURM cluster on one machine, for tests: start it, stop it, break it.

Needs root and Debian's packages, but no systemd, no cgroups and no database. All that belongs to a cluster is in its
folder, and it listens on 127.0.0.1 only. Any number of clusters can run at once.

    python -m tests.slurm.cluster install
    eval "$(python -m tests.slurm.cluster start DIR)"
    python -m tests.slurm.cluster stop DIR --purge
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")
BLOCK = 200  # ports of one cluster: the controller's, the nodes', and the last 150 for every srun to listen on
BLOCKS = range(17000, 32000, BLOCK)  # below the ports that Linux gives to outgoing connections
LONGEST_FOLDER = 64  # a socket's path has at most 107 characters, and SLURM's are up to 43 longer than the folder

# Each word is a line of slurm.conf. cred_expire > KillWait + what a process needs to die: after cred_expire a requeued
# job may start again, and a node that still had the old process would refuse the duplicate and drain itself, and the
# job be held for ever. ReturnToService=1, not 2, for the same reason: a node that was set down must not come back while
# its old steps die. config_overrides lets the nodes claim CPUs and memory that do not exist.
SETTINGS = """
ClusterName=kdbench SlurmUser=root SlurmctldHost=localhost(127.0.0.1) SlurmctldPort={port} SrunPortRange={srun}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny AuthInfo=socket={folder}/run/munge.sock,cred_expire=8 KillWait=5
StateSaveLocation={folder}/state SlurmctldPidFile={folder}/run/slurmctld.pid SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdSpoolDir={folder}/spool/%n SlurmdPidFile={folder}/run/slurmd-%n.pid SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmdTimeout=20 ReturnToService=1 SlurmdParameters=config_overrides ProctrackType=proctrack/linuxproc GresTypes=gpu
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=100000
SelectType=select/cons_tres SelectTypeParameters=CR_Core_Memory PreemptType=preempt/partition_prio PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/linux JobAcctGatherFrequency=task=2 JobAcctGatherParams=OverMemoryKill
FirstJobId={first_job} JobRequeue=1 OverTimeLimit=0 MinJobAge=600 MaxJobCount=100000 MaxArraySize={max_array_size}
"""
NODES = """
NodeName=kd[1-{nodes}] Port=[{ports}] NodeHostname=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} {gres}
PartitionName=main Nodes=ALL Default=YES PriorityTier=10 PreemptMode=OFF MaxTime=60 DefaultTime=5 DefMemPerCPU=200
PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 MaxTime=60 DefaultTime=5 DefMemPerCPU=200
"""


class ClusterError(RuntimeError):
    """What does not work, in a sentence."""


def until(condition: Callable[[], object], seconds: float, failure: str) -> None:
    """Wait for a condition; `failure` is the error's text when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"{failure} (waited {seconds:g} s)")
        time.sleep(0.05)


@contextmanager
def alone() -> Iterator[None]:
    """One start at a time on this machine: a port that another has chosen, but not bound yet, still looks free."""
    with Path("/tmp/kdbench-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def taken() -> set[int]:
    """The ports that somebody listens on; found out without connecting, which tests may not."""
    lines = [line.split() for table in Path("/proc/net").glob("tcp*") for line in table.read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """A reader finds the old text or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode)
    fresh.write_text(text)
    fresh.replace(path)


def process_file(pid: int, name: str) -> str:
    """What /proc says about a process; empty when it is gone, as are a zombie's command line and environment."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    return ""


def missing() -> list[str]:
    """The packages whose programs are not installed."""
    return [package for program, package in PACKAGES.items() if not shutil.which(program, path=SEARCH)]


def apt(*arguments: str) -> str:
    """Run apt-get; its last words if it failed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-y", "-o", "DPkg::Lock::Timeout=120", *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"it failed\n{done.stdout}\n{done.stderr}".strip().splitlines()[-1]


def install() -> None:
    """Install what is missing, without starting any service."""
    if not (wanted := missing()):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterError(f"installing {', '.join(wanted)} needs root, and apt-get")
    with alone(), ExitStack() as undo:
        if not POLICY.exists():
            write_whole(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
            undo.callback(POLICY.unlink)
        command = ["install", "--no-install-recommends", *wanted]
        if apt(*command):
            apt("update")  # helps if the package lists are old or not there
            if problem := apt(*command):
                raise ClusterError(f"apt-get could not install {', '.join(wanted)}: {problem}")


@dataclass
class Cluster:
    """A controller and some nodes, kd1, kd2, ..., with the partitions `main` and, which `main` preempts, `low`.

    In a folder where one runs already it is that one, with its settings. CPUs, memory (in MB) and GPUs are what a node
    claims to have. `first_port` is of 200; by default it is one where nobody listens, which the folder remembers.
    """

    folder: Path
    nodes: int = 2
    cpus: int = 2
    memory: int = 4000
    first_port: int | None = None
    gpus: int = 0
    max_array_size: int = 1001

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.conf = self.folder / "etc" / "slurm.conf"

    @staticmethod
    def available() -> str:
        """Why a cluster cannot be started here; empty when it can."""
        if missing():
            return f"not installed: {', '.join(missing())} (python -m tests.slurm.cluster install)"
        return "" if os.geteuid() == 0 else "a SLURM cluster can be started by root only"

    def environment(self) -> dict[str, str]:
        """What makes SLURM's programs turn to this cluster."""
        return {"SLURM_CONF": str(self.conf)}

    def start(self) -> None:
        """Start what does not run, and wait until all nodes can take jobs, also those that were set down."""
        if reason := self.available():
            raise ClusterError(reason)
        with alone():
            self._configure()
            self._start_munge()
            self.start_controller()
            for number in range(1, self._setting(r"NodeName=kd(?:\[1-)?") + 1):
                self.start_node(f"kd{number}")

    def stop(self, purge: bool = False) -> None:
        """Cancel all jobs, end every process, and with `purge` remove the folder. No cluster there is no error."""
        if not self.conf.exists():
            return
        if self._pid("slurmctld"):
            self.run("scancel", "--user=root", check=False)
        for path in self.folder.glob("run/slurmd-*.pid"):
            self._end(path.stem, signal.SIGKILL)  # asked to end, it would first wait for its steps
        self._end_steps()
        self._end("slurmctld", signal.SIGTERM, signal.SIGKILL)
        self._end("munged", signal.SIGTERM, signal.SIGKILL)
        if purge:
            shutil.rmtree(self.folder)

    def start_controller(self) -> None:
        """Start the controller, and wait until it answers; jobs that wait may start some 5 s later."""
        self._launch("slurmctld", self._setting("SlurmctldPort="), "-f", str(self.conf))
        until(lambda: "is UP" in self.run("scontrol", "ping", check=False), 60, "slurmctld does not answer")

    def start_node(self, name: str) -> None:
        """Start a node, which ends what it still has of jobs that went elsewhere, and wait until it can take jobs."""
        port = self._setting("SlurmctldPort=") + int(name.removeprefix("kd"))
        self._launch(f"slurmd-{name}", port, "-f", str(self.conf), "-N", name)
        if self._pid("slurmctld"):
            until(lambda: self._is_up(name), 90, f"{name} does not come up, see {self.folder}/log")

    def kill_controller(self) -> None:
        """Kill the controller; jobs go on. It forgets those of the last 5 s, and gives their ids again."""
        self._end("slurmctld", signal.SIGKILL)

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon; its steps go on."""
        self._end(f"slurmd-{name}", signal.SIGKILL)

    def node_of(self, job_id: str | int) -> str:
        """Where the job runs or ran last; empty while it waits."""
        return next(iter(self.squeue("%N", "--jobs", str(job_id))), "")

    def scontrol(self, *arguments: str) -> str:
        """What scontrol prints."""
        return self.run("scontrol", *arguments)

    def squeue(self, fmt: str, *arguments: str) -> list[str]:
        """A line for each job, also finished ones."""
        return self.run("squeue", "--noheader", "--all", "--states=all", f"--format={fmt}", *arguments).splitlines()

    def run(self, *command: str, check: bool = True) -> str:
        """What a program of SLURM prints; without `check`, also of one that fails."""
        environment, null = {**os.environ, **self.environment()}, subprocess.DEVNULL
        done = subprocess.run(command, env=environment, stdin=null, capture_output=True, text=True, timeout=90)
        if check and done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def _configure(self) -> None:
        """Write the configuration, unless a controller or a node runs by it."""
        if any(self._pid(path.stem) for path in self.folder.glob("run/slurm*.pid")):
            return
        if len(str(self.folder)) > LONGEST_FOLDER or not re.fullmatch(r"[\w./+-]+", str(self.folder)):
            raise ClusterError(f"SLURM needs a plain path of at most {LONGEST_FOLDER} characters, not {self.folder}")
        port = self._choose_port()
        for name in ("etc", "run", "log", "state", "dev", *(f"spool/kd{i + 1}" for i in range(self.nodes))):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        devices = [self.folder / "dev" / f"gpu{i}" for i in range(self.gpus)]
        for device in devices:
            if not device.exists():
                os.mknod(device, 0o020666, os.makedev(1, 3))  # SLURM takes any device for a GPU; this is like /dev/null
        write_whole(self.conf.with_name("gres.conf"), "".join(f"Name=gpu File={device}\n" for device in devices))
        ports = {"port": port, "ports": f"{port + 1}-{port + self.nodes}", "srun": f"{port + 50}-{port + BLOCK - 1}"}
        # From the clock, ten a second, so that a later cluster in this folder does not repeat an earlier one's ids.
        first_job = int(time.time() * 10) % 60_000_000 + 1
        values = {**vars(self), **ports, "first_job": first_job, "gres": f"Gres=gpu:{self.gpus}" if self.gpus else ""}
        write_whole(self.conf, "\n".join(SETTINGS.format(**values).split()) + NODES.format(**values))

    def _choose_port(self) -> int:
        """The first port of the block: the one asked for, or the one before, or one of any block that is free."""
        start = os.getpid() % len(BLOCKS)  # not always the same: a stopped cluster may want its ports back
        before, busy = [self._setting("SlurmctldPort=")] if self.conf.exists() else [], taken()
        for first in [self.first_port] if self.first_port else [*before, *BLOCKS[start:], *BLOCKS[:start]]:
            if busy.isdisjoint(range(first, first + 50)):
                return first
        raise ClusterError(f"no free ports from {self.first_port or BLOCKS[0]} on")

    def _setting(self, before: str) -> int:
        """The number that follows in slurm.conf."""
        return int(re.findall(rf"{before}(\d+)", self.conf.read_text())[-1])

    def _start_munge(self) -> None:
        """Start what the others prove their identity with."""
        key, run = self.folder / "etc" / "munge.key", self.folder / "run"
        if not key.exists():
            write_whole(key, os.urandom(64).hex(), 0o600)
        files = [f"--key-file={key}", f"--socket={run}/munge.sock", f"--pid-file={run}/munged.pid"]
        files += [f"--log-file={self.folder}/log/munged.log", f"--seed-file={self.folder}/state/munge.seed"]
        # By force: munged wants folders that everybody can enter, but pytest's are root's own. So are all users here.
        self._launch("munged", 0, "--force", "--num-threads=2", *files)

    def _launch(self, daemon: str, port: int, *arguments: str) -> None:
        """Start a daemon that does not run, and wait until it listens. It leaves our session by itself."""
        if self._pid(daemon):
            return
        log = self.folder / "log" / f"{daemon}.out"
        until(lambda: port not in taken(), 10, f"port {port} of {daemon} is taken")
        # An environment of its own: of the tests', jobs get what sbatch hands on, and nothing else. PATH comes first
        # because a step's title overwrites the start of its environment, and `_end_steps` looks for the rest.
        environment, null = {"PATH": SEARCH, **self.environment()}, subprocess.DEVNULL
        with log.open("ab") as out:
            command = [daemon.partition("-")[0], *arguments]
            done = subprocess.run(command, env=environment, stdin=null, stdout=out, stderr=out)
        if done.returncode != 0:
            raise ClusterError(f"{daemon} does not start: {log.read_text().strip()[-300:]}")
        until(lambda: self._pid(daemon) and port in {0, *taken()}, 60, f"{daemon} does not come up, see {log.parent}")

    def _is_up(self, node: str) -> bool:
        """Whether a node can take jobs. One out of service is brought back, unless a star says: no answer yet."""
        state = self.run("sinfo", "-hN", "-pmain", f"-n{node}", "-o%T", check=False).strip()
        if re.fullmatch(r"(down|drain|fail|inval)[^*]*", state):
            self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        return state in {"idle", "mixed", "allocated", "completing"}

    def _pid(self, daemon: str) -> int:
        """The daemon's process; 0 when it does not run. The recorded number may have become another process's."""
        program, _, node = daemon.partition("-")
        with suppress(OSError, ValueError):
            pid = int((self.folder / "run" / f"{daemon}.pid").read_text())
            name, *arguments = process_file(pid, "cmdline").split("\0")
            ours = f"{self.folder}/" in " ".join(arguments) and (not node or node in arguments)
            return pid if ours and Path(name).name == program else 0
        return 0

    def _end(self, daemon: str, *signals: signal.Signals) -> None:
        """End a daemon, if it runs, by the second signal when the first does not help."""
        pid = self._pid(daemon)  # asked once: on its way out, a daemon first removes the file with its number
        command = process_file(pid, "cmdline")
        with suppress(ProcessLookupError):
            for number in signals if pid else ():
                os.kill(pid, number)
                with suppress(ClusterError):
                    until(lambda: process_file(pid, "cmdline") != command, 15, "")
                    break

    def _end_steps(self) -> None:
        """Kill the jobs' processes, which outlive the nodes' daemons, and may have lost their parents."""
        entries = [process_file(int(path.name), "stat") for path in Path("/proc").glob("[0-9]*")]
        stats = re.findall(r"^(\d+) \((.*)\) \S (\d+) ", "\n".join(entries), re.MULTILINE)
        doomed = [int(pid) for pid, name, _ in stats if self._is_in_job(int(pid), name)]
        for pid in doomed:  # grows while it is read: children, their children, ...
            doomed += [int(child) for child, _, parent in stats if int(parent) == pid and int(child) not in doomed]
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(process_file(pid, "cmdline") for pid in doomed), 15, "the jobs' processes do not end")

    def _is_in_job(self, pid: int, name: str) -> bool:
        """Whether a process minds a step of this cluster, or has the environment of one."""
        environ = process_file(pid, "environ")
        return f"SLURM_CONF={self.conf}\0" in environ and (name == "slurmstepd" or "SLURMD_NODENAME=kd" in environ)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.slurm.cluster", description="A SLURM cluster for tests.")
    parser.add_argument("command", choices=("install", "start", "stop"))
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default="/tmp/kdbench-slurm", help="%(default)s")
    parser.add_argument("--purge", action="store_true", help="after stopping, remove the folder")
    options = parser.parse_args()
    cluster = Cluster(options.folder)
    if options.command == "install":
        install()
    elif options.command == "stop":
        cluster.stop(options.purge)
    else:
        cluster.start()
        print(f"export SLURM_CONF={cluster.conf}")


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        raise SystemExit(f"error: {error}") from None
