"""Results folders that several people share: files follow the umask, who looks writes nothing, nobody's run is lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.results.run_lock import RunLock
from kdbench.results.store import Store
from tests.analysis.made import full
from tests.kdbench.small_runs import SMALL, fork

SETS = [part for pair in SMALL for part in ("--set", pair)]
TRAIN = ["run", "--methods", "finetune", "--tasks", "rte", "--device", "cpu", *SETS, "--set", "epochs=1"]
DROP = "-dac_override,-dac_read_search"  # what lets root read and write everything


def obeying_permissions() -> list[str]:
    """A prefix under which a process of root obeys the permissions of files."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("permissions mean nothing to root, and there is no setpriv to run as if they did")
    return ["setpriv", f"--bounding-set={DROP}", f"--inh-caps={DROP}"]


def kdbench(folder: Path, *words: str) -> tuple[int, str]:
    said = folder / "said.txt"
    process = fork(folder, said, *words)
    process.join(300)
    assert process.exitcode is not None
    return process.exitcode, said.read_text()


def as_another_user(folder: Path, *words: str) -> tuple[int, str]:
    """Call kdbench in a process that obeys the permissions of files, also where the tests are run by root."""
    command = [*obeying_permissions(), sys.executable, "-m", "kdbench", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one student was trained for a group that shares it."""
    folder = tmp_path_factory.mktemp("group")
    command = [sys.executable, "-m", "kdbench", *TRAIN]  # a fresh process, because the umask is read at its start
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, umask=0o002)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "copied")
    return tmp_path / "copied"


def the_run(folder: Path) -> Path:
    (run,) = (folder / "results" / "runs").iterdir()
    return run


@pytest.mark.slow
def test_files_follow_the_umask(trained: Path) -> None:
    modes = {
        path.relative_to(trained).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in sorted((trained / "results").rglob("*"))
        if path.is_file()
    }
    assert "model.safetensors" in {Path(name).name for name in modes}
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o664} == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("status",), ("table", "1"), ("list", "runs"), ("verify",), ("show", "finetune", "rte")]
)
def test_who_looks_needs_no_write_permission(copied: Path, words: tuple[str, ...]) -> None:
    """A run that was killed, and one that is held by nobody any more, in folders that only their owner may write to."""
    run = the_run(copied)
    text = (run / "state.json").read_text(encoding="utf-8")
    (run / "state.json").write_text(text.replace('"done"', '"running"'), encoding="utf-8")
    for path in (*copied.rglob("*"), copied):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(path.name for path in run.iterdir())
    code, out = as_another_user(copied, *words)
    assert (code, "Permission" in out) == (0, False), out
    assert sorted(path.name for path in run.iterdir()) == before
    if words == ("status",):
        assert "1 interrupted" in out


@pytest.mark.slow
def test_a_folder_that_nothing_can_be_written_to_is_refused_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    for folder in ("theirs", "theirs/new/results"):
        code, out = as_another_user(tmp_path, *TRAIN, "--results", folder)
        assert code == 2, out
        assert "theirs is not writable (permissions, or a read-only disk); give another folder" in out
        assert "Traceback" not in out


@pytest.mark.slow
def test_what_may_not_be_read_is_said_and_never_replaced(copied: Path) -> None:
    run = the_run(copied)
    (run / "result.json").chmod(0o000)
    before = (run / "result.json").stat()
    for words in (("status",), ("table", "1"), ("verify",)):
        _, out = as_another_user(copied, *words)
        assert "Traceback" not in out
        assert ("You may not read" in out and "chmod -R g+rX" in out) or words == ("table", "1"), out
    code, out = as_another_user(copied, *TRAIN)
    assert code == 1
    assert "permission: You may not read" in out
    assert "delete" not in out
    assert (run / "result.json").stat() == before


@pytest.mark.slow
def test_a_lock_that_is_a_link_costs_its_run_only(copied: Path) -> None:
    run = the_run(copied)
    state = (run / "state.json").read_text(encoding="utf-8")
    (run / "state.json").write_text(state.replace('"done"', '"running"'), encoding="utf-8")
    (run / "lock").unlink()
    (run / "lock").symlink_to(run / "lock")
    code, out = kdbench(copied, "status")
    assert (code, "1 interrupted" in out) == (0, True), out
    code, out = kdbench(copied, *TRAIN)
    assert code == 1
    assert f"{run.name}: disk: {run}/lock is no file" in out.replace("results/runs", str(run.parent)), out


@pytest.mark.slow
def test_a_killed_save_leaves_nothing_for_good(copied: Path) -> None:
    """Safetensors writes to a file of its own naming first."""
    run = the_run(copied)
    left = [run / ".tmpAb3dE9", run / ".model.0123456789ab.tmp"]
    left[0].write_bytes(b"half")
    left[1].mkdir()
    (run / "state.json").unlink()
    code, out = kdbench(copied, *TRAIN)
    assert (code, [path for path in left if path.exists()]) == (0, []), out


def test_looking_at_a_lock_makes_nothing(tmp_path: Path) -> None:
    assert not RunLock(tmp_path / "absent").is_held()
    assert not (tmp_path / "absent").exists()
    with RunLock(tmp_path / "here").held():
        assert RunLock(tmp_path / "here").is_held()
    assert not RunLock(tmp_path / "here").is_held()


def test_views_of_made_results_leave_the_folder_as_it_was(tmp_path: Path) -> None:
    root = tmp_path / "results"
    full(root, seeds=(0,))
    before = sorted(path.as_posix() for path in root.rglob("*"))
    for run in Store(root, create=False).runs():
        run.state()
        run.lock().owner()
    assert sorted(path.as_posix() for path in root.rglob("*")) == before
