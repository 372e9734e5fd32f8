"""Several runs at once: the same bytes as one after the other, whatever happens to the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.core.settings import Execution
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.executors import local, process_pool
from kdbench.training.executors.scheduler import Outcome
from kdbench.training.executors.sweep_record import build_request
from tests.kdbench.small_runs import CPU, FEW, SMALL, contents, fork, interrupt, plan, refusal, train

LONG = [part for pair in [*SMALL, "epochs=2000"] for part in ("--set", pair)]  # is stopped before it ends


class Notes:
    """A board that remembers."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []
        self.latest: dict[str, tuple[int, float | None, float | None]] = {}
        self.running: set[str] = set()
        self.at_once = 0

    def started(self, run_id: str, step: int, total: int) -> None:
        self.said.append(("started", run_id, str(step)))
        self.running.add(run_id)
        self.at_once = max(self.at_once, len(self.running))

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        self.said.append(("stepped", run_id))
        self.latest[run_id] = (step, loss, score)

    def skipped(self, run_id: str, why: str) -> None:
        self.said.append(("skipped", run_id, why))

    def paused(self, run_id: str, why: str) -> None:
        self.said.append(("paused", run_id, why))
        self.running.discard(run_id)

    def finished(self, run_id: str, problem: str) -> None:
        self.said.append(("finished", run_id, problem))
        self.running.discard(run_id)


def at_once(made: Plan, store: Store, notes: Notes, jobs: int = 2) -> Outcome:
    return process_pool.run_pool(made, store, [CPU] * jobs, FEW, notes)


def test_it_leaves_the_bytes_of_one_after_the_other(tmp_path: Path) -> None:
    """So do workers that are started as for users, see tests/kdbench/test_safe_path.py."""
    made = plan(tmp_path, methods="kd,dml")
    calm, store, notes = Store(tmp_path / "calm"), Store(tmp_path / "r"), Notes()
    train(made, calm)
    outcome = at_once(made, store, notes)
    assert sorted(outcome.trained) == sorted(made.runs)
    assert outcome == Outcome(trained=outcome.trained)
    assert notes.at_once == 2
    for run in made.runs:
        assert contents(store, run) == contents(calm, run)
        state = store.run(run).state()
        assert notes.latest[run] == (state.step, state.loss, state.score)  # which a console shows at the end
    again = at_once(made, store, Notes())
    assert again.done == list(made.runs)


@pytest.mark.slow
def test_a_run_waits_for_what_it_needs(tmp_path: Path) -> None:
    made, notes = plan(tmp_path, "epochs=1", methods="takd,kd"), Notes()
    at_once(made, Store(tmp_path / "r"), notes, jobs=3)
    order = [(kind, run) for kind, run, *_ in notes.said if kind in ("started", "finished")]
    for run, spec in made.runs.items():
        for parent in spec.needs.values():
            assert order.index(("finished", parent)) < order.index(("started", run))


class Killer(Notes):
    """Kills the process of the first run that makes a step, as often as it may."""

    def __init__(self, store: Store, times: int) -> None:
        super().__init__()
        self.store, self.left = store, times

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        super().stepped(run_id, step, loss, score)
        if self.left:
            self.left -= 1
            os.kill(self.store.run(run_id).state().pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_process_costs_its_run_nothing_but_time(tmp_path: Path) -> None:
    made = plan(tmp_path, "epochs=6", methods="finetune", tasks="rte,mnli")
    calm, store = Store(tmp_path / "calm"), Store(tmp_path / "r")
    train(made, calm)
    notes = Killer(store, 2)
    outcome = at_once(made, store, notes)
    assert sorted(outcome.trained) == sorted(made.runs)
    assert [kind for kind, *_ in notes.said].count("paused") == 2
    for run in made.runs:
        assert contents(store, run) == contents(calm, run)


def test_a_run_that_is_killed_again_and_again_fails_and_holds_back_its_own(tmp_path: Path) -> None:
    made = plan(tmp_path, "epochs=6", methods="kd")
    store = Store(tmp_path / "r")
    outcome = at_once(made, store, Killer(store, 3))
    teacher, student = made.runs
    assert "killed: its process was ended by signal 9, 3 times" in outcome.failed[teacher]
    assert outcome.blocked == {student: teacher}
    assert store.run(teacher).state().kind == "killed"


@pytest.mark.slow
def test_ctrl_c_stops_all_of_them_and_the_same_command_goes_on(tmp_path: Path) -> None:
    args = ["run", "--methods", "finetune", "--tasks", "rte,mnli", *LONG, "--jobs", "2"]
    store, said = Store(tmp_path / "results", create=False), tmp_path / "said.txt"
    process = fork(tmp_path, said, *args)
    while len([1 for run in store.runs() if run.state().step]) < 2 and process.is_alive():
        time.sleep(0.05)
    interrupt(process, said)
    assert [run.state().status for run in store.runs()] == ["interrupted"] * 2
    assert all(run.checkpoint.exists() for run in store.runs())


@pytest.mark.slow
def test_ctrl_c_twice_while_processes_start_prints_no_traceback(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the whole group: also to processes that import torch at that moment."""
    args = ["run", "--methods", "finetune", "--tasks", "rte,mnli", *LONG, "--jobs", "2"]
    command, pipe = [sys.executable, "-m", "kdbench", *args], subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert process.stdout is not None
    while "starting" not in process.stdout.readline() and process.poll() is None:
        pass
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "Exception ignored" not in output


class Warned(Notes):
    """Sends what a queue sends before its limit to a process that trains."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.warned = store, False

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        super().stepped(run_id, step, loss, score)
        if not self.warned:
            self.warned = True
            os.kill(self.store.run(run_id).state().pid, signal.SIGUSR2)


@pytest.mark.slow
def test_workers_leave_a_queues_warning_to_their_parent(tmp_path: Path) -> None:
    """It is sent to all processes of a job; by itself it would end them."""
    made = plan(tmp_path, "epochs=6", methods="finetune", tasks="rte,mnli")
    store = Store(tmp_path / "r")
    notes = Warned(store)
    assert sorted(at_once(made, store, notes).trained) == sorted(made.runs)
    assert notes.warned
    assert "paused" not in [kind for kind, *_ in notes.said]


def executions(folder: Path, *sets: str, **given: str) -> list[Execution]:
    config = assemble_config({"methods": "kd", "tasks": "rte", **parse_sets(sets), **given}, folder)
    return local.executions(build_request(config, make_plan(config), Store(folder, create=False), Console())[1])


def test_every_job_has_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "core_count", lambda: 8)
    one = executions(tmp_path, "threads=0", "jobs=1")
    assert [(e.device, e.threads) for e in one] == [("auto", 0)]
    assert [e.threads for e in executions(tmp_path, "threads=0", "jobs=3")] == [2, 2, 2]
    two = executions(tmp_path, "threads=0", "jobs=3", devices="cuda:0,cuda:1")
    assert [e.device for e in two] == ["cuda:0", "cuda:1", "cuda:0"]
    assert len(executions(tmp_path, "jobs=1", devices="cuda:0,cuda:1")) == 2


def test_several_runs_share_a_gpu(tmp_path: Path) -> None:
    for given in ({"sets": ("jobs=4",), "device": "cuda:0"}, {"sets": ("jobs=4",), "devices": "cuda:0"},
                  {"sets": ("jobs=1",), "devices": "cuda:0,cuda:0,cuda:0,cuda:0"}):  # fmt: skip
        sets = given.pop("sets")
        assert [e.device for e in executions(tmp_path, *sets, **given)] == ["cuda:0"] * 4
    mixed = executions(tmp_path, "jobs=4", devices="cuda:0,cuda:0,cuda:1")
    assert [e.device for e in mixed] == ["cuda:0", "cuda:0", "cuda:1", "cuda:0"]


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "jobs='-1' is not valid" in refusal("run", "--methods", "kd", "--jobs", "-1")
    assert "--device cuda:7" in refusal("run", "--methods", "kd", "--devices", "cpu,cuda:7")
    assert not (tmp_path / "results").exists()
