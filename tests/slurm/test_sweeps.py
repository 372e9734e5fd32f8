"""Sweeps on a real cluster: the bytes of a local one, whatever happens to jobs, nodes and daemons."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.results.store import RunState, Store
from kdbench.slurm import queue
from kdbench.slurm.ledger import Ledger
from kdbench.training.executors import process_pool
from tests.kdbench.small_runs import CPU, FEW, SMALL, contents, fork, train
from tests.kdbench.test_pool import Notes
from tests.kdbench.test_teacher_outputs import outputs_of_rte
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.slurm

SETS = [*SMALL, *(f"{key}={value}" for key, value in FEW.model_dump().items()), "threads=1", "device=cpu",
        "slurm.memory=900M", "slurm.time=20m", "eval_every=3"]  # fmt: skip
LONG = ("epochs=50", "checkpoint_seconds=1")  # some 10 seconds of training
LONGER = ("epochs=450", "checkpoint_seconds=1")  # some 40: SLURM looks at limits and at nodes twice a minute
PATIENCE = 240.0  # seconds without any progress


def arguments(*sets: str, **given: str) -> list[str]:
    flags = [part for key, value in given.items() for part in (f"--{key.replace('_', '-')}", value)]
    return ["run", "--executor", "slurm", *flags, *(part for pair in [*SETS, *sets] for part in ("--set", pair))]


def kdbench(folder: Path, *args: str, code: int = 0) -> str:
    said = folder / "said.txt"
    process = fork(folder, said, *args)
    process.join(PATIENCE)
    assert process.exitcode == code, said.read_text()
    return said.read_text()


def until(
    condition: Callable[[], bool], what: str, seconds: float = PATIENCE, progress: Callable[[], object] = lambda: None
) -> None:
    """Wait until the condition holds; fail after `seconds` in which `progress` stayed what it was.

    A busy machine makes a training slow, so only one that stands still is a failure.
    """
    seen, end = progress(), time.monotonic() + seconds
    while not condition():
        if (now := progress()) != seen:
            seen, end = now, time.monotonic() + seconds
        assert time.monotonic() < end, f"{what}: no progress for {seconds:.0f} s\n{queue.ask_queue()}"
        time.sleep(0.2)


class Sweep:
    """A sweep in a folder: its plan, its results, and those of the same runs trained here without any disturbance."""

    def __init__(self, folder: Path, *sets: str, **given: str) -> None:
        self.folder, self.args = folder, arguments(*sets, **given)
        flags = {key: value for key, value in given.items() if key in ("methods", "tasks", "seeds")}
        self.plan: Plan = make_plan(assemble_config({**parse_sets([*SETS, *sets]), **flags}, folder))
        self.store = Store(folder / "results", create=False)

    def submit(self) -> str:
        return kdbench(self.folder, *self.args)

    def state(self, run: str) -> RunState:
        return self.store.run(run).state()

    def only_run(self) -> str:
        (run,) = self.plan.runs
        return run

    def job(self, run: str) -> str:
        return Ledger(self.store).jobs(queue.ask_queue())[run]

    def trains(self, run: str, step: int = 1) -> None:
        """Wait until it has come to a step."""
        until(lambda: self.state(run).status == "running" and self.state(run).step >= step, f"{run} trains")

    def ends(self) -> None:
        """Wait until all is done, by jobs alone."""
        runs = self.plan.runs
        until(lambda: all(self.store.run(run).is_done() for run in runs), "all is done", progress=self.progress)

    def progress(self) -> list[tuple[str, int]]:
        """Read how far each run is: its status and its step."""
        return [(state.status, state.step) for state in map(self.state, self.plan.runs)]

    def is_as_undisturbed(self) -> None:
        calm = Store(self.folder.parent / "calm")  # shared by all tests: what is done there is not trained again
        train(self.plan, calm)
        for run in self.plan.runs:
            assert contents(self.store, run) == contents(calm, run), run

    def log(self, run: str) -> str:
        return self.store.run(run).log.read_text()

    def says(self, run: str, words: str) -> bool:
        return words in self.log(run)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(cluster: Cluster) -> Iterator[None]:
    """No job of a test that failed is in the way of the next, and all nodes are up."""
    cluster.start()
    yield
    cluster.start()
    subprocess.run(["scancel", "-n", queue.NAME], check=True)
    until(lambda: not any(entry.job.is_live for entry in queue.ask_queue().entries.values()), "the queue is empty", 60)


@pytest.fixture
def long_run(cluster: Cluster, tmp_path: Path) -> Sweep:
    sweep = Sweep(tmp_path, *LONG, methods="finetune", tasks="rte")
    sweep.submit()
    sweep.trains(sweep.only_run(), step=20)
    return sweep


def test_a_sweep_of_all_methods_leaves_the_bytes_of_a_local_one(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, methods="all", tasks="rte", runs_per_job="6")
    said = sweep.submit()
    assert f"for {len(sweep.plan.runs)} runs" in said
    calm = Store(tmp_path / "calm")
    process_pool.run_pool(sweep.plan, calm, [CPU], FEW, Notes())
    sweep.ends()
    for run in sweep.plan.runs:
        assert contents(sweep.store, run) == contents(calm, run), run
    for run, spec in sweep.plan.runs.items():
        assert sweep.log(run).count("starting") == 1  # nothing was trained twice
        began = [sweep.store.run(r).path.joinpath("spec.json").stat().st_mtime for r in (run, *spec.needs.values())]
        assert began[0] == max(began)
    until(lambda: not any(entry.job.is_live for entry in queue.ask_queue().entries.values()), "the queue is empty")
    assert "Nothing to submit" in sweep.submit()
    assert f"{len(sweep.plan.runs)} of {len(sweep.plan.runs)} runs done" in kdbench(tmp_path, "status")


def test_a_file_of_outputs_teaches_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    file = outputs_of_rte(tmp_path, "train")
    sweep = Sweep(tmp_path, f"teacher={file}", "teacher_is_finetuned=true", methods="kd", tasks="rte")
    assert "for 2 runs" in sweep.submit()
    sweep.ends()
    sweep.is_as_undisturbed()


def test_the_time_limit_is_no_end(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, *LONGER, methods="finetune", tasks="rte")
    sweep.submit()
    run = sweep.only_run()
    sweep.trains(run)
    cluster.scontrol("update", f"jobid={sweep.job(run)}", "timelimit=1")  # so it signals, for real
    until(partial(sweep.says, run, "stopped, with a checkpoint"), "it notices", progress=sweep.progress)
    cluster.scontrol("update", f"jobid={sweep.job(run)}", "timelimit=20")  # else it would do so at every restart
    sweep.ends()
    assert "going on at step" in sweep.log(run)
    assert "goes back into the queue" in kdbench(tmp_path, "logs", run, "--lines", "100")
    sweep.is_as_undisturbed()


def test_runs_side_by_side_share_a_job_and_its_end(cluster: Cluster, tmp_path: Path) -> None:
    """They train at the same time; the warning that the queue sends to all processes is a checkpoint for each."""
    asked = (*LONG, "slurm.side_by_side=2", "slurm.memory=2000M")
    sweep = Sweep(tmp_path, *asked, methods="finetune", tasks="rte", seeds="0-1")
    assert "Submitted 1 job in 1 array for 2 runs" in sweep.submit()
    for run in sweep.plan.runs:
        sweep.trains(run, step=20)
    assert [sweep.state(run).status for run in sweep.plan.runs] == ["running"] * 2
    (job,) = {sweep.job(run) for run in sweep.plan.runs}
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    for run in sweep.plan.runs:
        until(partial(sweep.says, run, "stopped, with a checkpoint"), "it notices", progress=sweep.progress)
    sweep.ends()
    assert all(sweep.log(run).count("going on at step") == 1 for run in sweep.plan.runs)
    assert all(sweep.log(run).count("starting") == 1 for run in sweep.plan.runs)
    sweep.is_as_undisturbed()


def test_a_requeued_job_goes_on(cluster: Cluster, long_run: Sweep) -> None:
    run = long_run.only_run()
    cluster.scontrol("requeue", long_run.job(run))
    long_run.ends()
    assert "going on at step" in long_run.log(run)
    long_run.is_as_undisturbed()


def test_a_preempted_job_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, *LONG, "slurm.partition=low", methods="finetune", tasks="rte")
    sweep.submit()
    run = sweep.only_run()
    sweep.trains(run, step=20)
    subprocess.run(["sbatch", "-p", "main", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3"], check=True)
    until(lambda: sweep.state(run).status == "interrupted", "it makes room")
    sweep.ends()
    assert "going on at step" in sweep.log(run)
    sweep.is_as_undisturbed()


def test_after_scancel_the_same_command_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, *LONG, methods="kd", tasks="rte")
    sweep.submit()
    teacher, student = sweep.plan.runs
    sweep.trains(teacher, step=20)
    subprocess.run(["scancel", sweep.job(teacher)], check=True)
    until(lambda: not queue.ask_queue().job(sweep.job(student)).is_live, "the student's job gives up")
    assert sweep.state(teacher).status == "interrupted"
    assert sweep.state(student).status == "pending"  # it does not train a teacher that somebody took away
    said = kdbench(tmp_path, "status")
    assert f"its job {sweep.job(teacher)} ended CANCELLED" in said
    assert "1 interrupted, 1 waiting" in said
    sweep.submit()
    sweep.ends()
    assert "going on at step" in sweep.log(teacher)
    sweep.is_as_undisturbed()


def test_a_node_that_dies_with_its_job(cluster: Cluster, long_run: Sweep) -> None:
    run = long_run.only_run()
    node, process = cluster.node_of(long_run.job(run)), long_run.state(run).pid
    cluster.kill_node(node)
    os.kill(process, signal.SIGKILL)
    cluster.scontrol("update", f"nodename={node}", "state=down", "reason=died")
    try:
        until(lambda: long_run.state(run).status == "running" and long_run.state(run).pid != process, "it goes on")
        assert cluster.node_of(long_run.job(run)) != node
        long_run.ends()
    finally:
        cluster.start_node(node)
    assert "going on at step" in long_run.log(run)
    long_run.is_as_undisturbed()


def test_a_job_that_lives_on_behind_a_dead_node_is_not_trained_twice(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, *LONGER, methods="finetune", tasks="rte")
    sweep.submit()
    run = sweep.only_run()
    sweep.trains(run)
    node, process = cluster.node_of(sweep.job(run)), sweep.state(run).pid
    cluster.kill_node(node)
    cluster.scontrol("update", f"nodename={node}", "state=down", "reason=cut off")
    try:
        log = Ledger(sweep.store).log
        until(lambda: "another process trains it" in "".join(p.read_text() for p in log(run)), "its twin waits")
        assert sweep.state(run).pid == process
        sweep.ends()
        assert sweep.log(run).count("starting") == 1
        assert "going on" not in sweep.log(run)
    finally:
        cluster.start_node(node)
    sweep.is_as_undisturbed()


def test_a_controller_that_dies_and_comes_back(cluster: Cluster, long_run: Sweep) -> None:
    run = long_run.only_run()
    cluster.kill_controller()
    assert "could not be asked" in kdbench(long_run.folder, "status")
    refusal = kdbench(long_run.folder, *long_run.args, code=2)
    assert "The cluster does not answer" in refusal
    assert "Traceback" not in refusal
    cluster.start_controller()
    long_run.ends()
    assert long_run.log(run).count("starting") == 1
    until(lambda: not queue.ask_queue().job(long_run.job(run)).is_live, "the job is known to have ended")
    long_run.is_as_undisturbed()


def test_what_waits_is_not_submitted_twice_and_can_be_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "kdbench.toml").write_text('[slurm]\nextra = {begin = "now+1hour"}\n')
    sweep = Sweep(tmp_path, methods="kd,dml", tasks="rte")
    teacher, student, _ = sweep.plan.runs
    assert "Submitted 3 jobs in 2 arrays for 3 runs" in sweep.submit()
    assert "Nothing to submit; 3 runs in the queue" in sweep.submit()
    assert "3 queued" in kdbench(tmp_path, "status")
    assert "Cancelled 2 jobs" in kdbench(tmp_path, "cancel", teacher)
    until(lambda: not queue.ask_queue().job(sweep.job(student)).is_live, "what needs it is cancelled too")
    assert "1 queued, 2 waiting" in kdbench(tmp_path, "status")
    assert "Cancelled 1 job" in kdbench(tmp_path, "cancel")
    assert "No run is in a queue or being trained." in kdbench(tmp_path, "cancel")


def test_two_commands_at_once_submit_each_run_once(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, *LONG, methods="kd,pkd,dist,finetune", tasks="rte")
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    both = [fork(tmp_path, file, *sweep.args) for file in files]
    for process in both:
        process.join(PATIENCE)
    said = [file.read_text() for file in files]
    assert [process.exitcode for process in both] == [0, 0], said
    carried = [run for record in Ledger(sweep.store).records() for task in record.tasks for run in task]
    assert sorted(carried) == sorted(sweep.plan.runs), said


def test_a_failed_run_fails_its_job_and_holds_back_only_what_needs_it(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, "kd.teacher_lr=1e38", methods="kd,dml", tasks="rte")
    sweep.submit()
    teacher, student, other = sweep.plan.runs
    jobs = {run: sweep.job(run) for run in sweep.plan.runs}
    until(lambda: not any(queue.ask_queue().job(job).is_live for job in jobs.values()), "all jobs end")
    assert queue.ask_queue().job(jobs[teacher]).detail == "FAILED"
    assert sweep.state(teacher).kind == "non-finite"
    assert sweep.state(other).status == "done"
    assert "1 failed, 1 blocked" in kdbench(tmp_path, "status")
    assert "Submitted 2 jobs" in kdbench(tmp_path, "retry", "--failed")
    assert student


def test_a_job_that_ends_before_its_run_begins_is_not_forgotten(cluster: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, "slurm.setup=false", methods="finetune", tasks="rte")
    sweep.submit()
    run = sweep.only_run()
    until(lambda: not queue.ask_queue().job(sweep.job(run)).is_live, "the job ends")
    said = kdbench(tmp_path, "status")
    assert "0 of 1 run done, 1 lost" in said
    assert f"its job {sweep.job(run)} ended FAILED" in said
    assert "Submitted 1 job" in kdbench(tmp_path, "retry", "--failed")


def test_a_request_that_the_cluster_refuses_is_one_sentence_before_anything_is_written(
    cluster: Cluster, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, "slurm.partition=nowhere", methods="finetune", tasks="rte")
    said = kdbench(tmp_path, *sweep.args, code=2)
    assert "The cluster refuses the job" in said
    assert "invalid partition" in said
    assert not (tmp_path / "results").exists()
