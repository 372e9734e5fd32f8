"""One process trains a run: locks, leases, and several commands on one results folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import Timeout

from kdbench.core.settings import Execution
from kdbench.results import run_lock as locking
from kdbench.results.run_lock import RunLock, Superseded
from kdbench.results.store import Store
from kdbench.training.executors.serial import train_run
from tests.kdbench.small_runs import CPU, FEW, SMALL, contents, fork, plan, the_run, train
from tests.kdbench.test_pool import Notes

HOLD = "import sys, time; from pathlib import Path; from kdbench.results.run_lock import RunLock\n"
HOLD += "with RunLock(Path(sys.argv[1])).held():\n    print('held', flush=True)\n    time.sleep(600)\n"


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(locking, "LEASE_SECONDS", 2.0)
    return 2.0


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    process = holder(tmp_path)
    assert RunLock(tmp_path).is_held()
    with pytest.raises(Timeout), RunLock(tmp_path).held():
        pass
    process.kill()
    process.wait()
    assert not RunLock(tmp_path).is_held()
    with RunLock(tmp_path).held() as lock:
        lock.check()
    assert not (tmp_path / "lease").exists()


def test_a_lease_that_a_full_disk_left_empty_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file lock alone takes it for a holder for ever."""
    (tmp_path / "lease").touch()
    monkeypatch.setattr(locking, "EMPTY_SECONDS", 0.05)
    with RunLock(tmp_path).held() as lock:
        lock.check()
        assert (tmp_path / "lease").read_text()
    assert not (tmp_path / "lease").exists()


def elsewhere(folder: Path) -> None:
    """A lease as another machine left it: its processes cannot be looked at from here."""
    text = (folder / "lease").read_text().splitlines()
    (folder / "lease").write_text("\n".join("host=far-away" if x.startswith("host=") else x for x in text) + "\n")


def leave_lease(folder: Path) -> None:
    """What a process leaves that dies with its machine, `lock` not being passed on between machines."""
    code = HOLD.replace("time.sleep(600)", "import os; os._exit(0)").replace(
        "from kdbench.results.run_lock import RunLock",
        "from kdbench.results import run_lock; run_lock.LEASE_SECONDS = 2.0; RunLock = run_lock.RunLock",
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True)
    elsewhere(folder)


def test_a_silent_holder_on_another_machine_is_waited_out(tmp_path: Path, short_lease: float) -> None:
    leave_lease(tmp_path)
    began = time.monotonic()
    with RunLock(tmp_path).held():
        assert time.monotonic() - began >= short_lease


def test_a_holder_on_another_machine_that_gives_signs_is_left_alone(tmp_path: Path, short_lease: float) -> None:
    leave_lease(tmp_path)
    touch = f"while sleep 0.3; do touch {tmp_path}/lease; done"
    process = subprocess.Popen(["bash", "-c", touch], start_new_session=True)
    try:
        assert RunLock(tmp_path).is_held()
        with pytest.raises(Timeout), RunLock(tmp_path).held():
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_clock_that_is_far_off_does_not_make_a_live_holder_look_dead(tmp_path: Path, short_lease: float) -> None:
    leave_lease(tmp_path)
    os.utime(tmp_path / "lease", (0, 0))  # as of 1970
    touch = f"while sleep 0.3; do touch -d @$((n = n + 1)) {tmp_path}/lease; done"
    process = subprocess.Popen(["bash", "-c", touch], start_new_session=True)
    try:
        with pytest.raises(Timeout), RunLock(tmp_path).held():
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def written(folder: Path) -> dict[str, bytes]:
    """All but the log, which says that the process leaves, and the locks."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): file.read_bytes() for file in files if file.name not in ("log.txt", "lock", "lease")}


def test_a_holder_whose_lease_was_taken_writes_nothing_more(tmp_path: Path) -> None:
    made = plan(tmp_path, "epochs=200", methods="finetune")
    store, run = Store(tmp_path / "r"), the_run(made)
    folder = store.run(run.id)

    class Thief(Notes):
        """Takes the lease away as a process on another machine would, in the middle of the run."""

        def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
            if step == 3:
                (folder.path / "lease").unlink()
                (folder.path / "lease").write_text("filelock/2\npid=1\nhost=far-away\nmode=lease\ntoken=theirs\n")
                self.files = written(folder.path)

    quick = Execution(device="cpu", threads=1, checkpoint_seconds=0.0)
    thief = Thief()
    assert train_run(run, store, quick, FEW, thief, lambda: False) == ("elsewhere",)
    assert written(folder.path) == thief.files
    assert "took over" in folder.log.read_text()
    assert not folder.is_done()


def test_a_lost_lease_is_noticed_at_once(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with lock.held():
        lock.check()
        (tmp_path / "lease").unlink()
        with pytest.raises(Superseded):
            lock.check()


@pytest.mark.slow
def test_two_commands_on_one_folder_train_nothing_twice(tmp_path: Path) -> None:
    made = plan(tmp_path, methods="kd,dml")
    calm, store = Store(tmp_path / "calm"), Store(tmp_path / "results", create=False)
    train(made, calm)
    args = ["run", "--methods", "kd,dml", "--tasks", "rte"]
    sets = ["device=cpu", "threads=1", *(f"{k}={v}" for k, v in FEW.model_dump().items())]
    args += [part for pair in [*SMALL, *sets] for part in ("--set", pair)]
    said = [tmp_path / "one.txt", tmp_path / "two.txt"]
    both = [fork(tmp_path, file, *args) for file in said]
    for process in both:
        process.join(300)
    assert [process.exitcode for process in both] == [0, 0], [file.read_text() for file in said]
    for run in made.runs:
        assert contents(store, run) == contents(calm, run)
        assert store.run(run).log.read_text().count("starting") == 1
    assert any("by another process" in file.read_text() for file in said)


def hold_and_fail(folder: Path) -> None:
    store = Store(folder)
    run = next(store.runs())
    with run.lock().held():
        run.set_state("running")
        time.sleep(3)
        run.set_state("failed", kind="bug", message="planned")


def test_a_run_that_fails_in_another_process_is_not_tried_here(tmp_path: Path) -> None:
    from kdbench.training.executors.serial import run_all

    made = plan(tmp_path, methods="kd")
    store = Store(tmp_path / "r")
    teacher, student = made.runs
    store.run(teacher).begin(made.runs[teacher], {})
    process = multiprocessing.get_context("fork").Process(target=hold_and_fail, args=(tmp_path / "r",))
    process.start()
    while not store.run(teacher).lock().is_held():
        time.sleep(0.05)
    outcome = run_all(made, store, CPU, FEW, Notes(), lambda: False)
    process.join()
    assert outcome.failed == {teacher: "bug: planned (in another process)"}
    assert outcome.blocked == {student: teacher}
