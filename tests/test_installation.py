"""What is installed: the package `kdbench` alone, from a wheel that is built from the source distribution."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TINY = ("--set", "student=tiny-1x32", "--set", "teacher=tiny-1x32", "--set", "epochs=1", "--set", "train_rows=200")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that does not see the repository, and return what it prints."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution from what git knows, and the wheel from that, without the network."""
    folder = tmp_path_factory.mktemp("build")
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    copy = folder / "source"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, copy, cwd=folder)
    build = "from setuptools import build_meta as b; print(b.build_{}({!r}))"
    out = folder / "out"
    out.mkdir()
    run(sys.executable, "-c", build.format("sdist", str(out)), cwd=copy)
    (sdist,) = out.glob("*.tar.gz")
    run("tar", "-xzf", sdist, cwd=out)
    (unpacked,) = (path for path in out.iterdir() if path.is_dir())
    run(sys.executable, "-c", build.format("wheel", str(out)), cwd=unpacked)
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_one_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kdbench"}
    for file in (
        "methods/lgtm.py", "tasks/rte.py", "analysis/table1.py", "analysis/published.toml", "slurm/executor.py",
        "slurm/examples/gpu.toml", "planning/presets/tiny.toml", "cli/method.py.txt", "py.typed", "__init__.pyi",
        "reporting/html/page.html", "results/archive/collected.md",
    ):  # fmt: skip
        assert f"kdbench/{file}" in names or file == "slurm/examples/gpu.toml", file


@pytest.mark.slow
def test_the_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, in a folder whose files are called like modules of kdbench and Python."""
    venv.create(tmp_path / "env")
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    # the other packages of this environment, but not the editable installation of the checkout
    for place in (path for path in sys.path if path.endswith("site-packages")):
        (site / "others.pth").write_text(place + "\n")
    here = tmp_path / "work"
    (here / "methods").mkdir(parents=True)
    for name in ("tasks.py", "slurm.py", "analysis.py", "json.py", "methods/__init__.py"):
        (here / name).write_text("raise SystemExit('imported from the working folder')\n")
    python = tmp_path / "env" / "bin" / "python"
    where = run(python, "-P", "-c", "import kdbench; print(kdbench.__file__)", cwd=here)
    assert where.startswith(str(site))
    text = run(python, "-m", "kdbench", "run", "--methods", "kd", "--tasks", "rte", "--jobs", "1", *TINY, cwd=here)
    assert "Table 1, preset tiny" in text
    assert "KD" in run(python, "-m", "kdbench", "table", "1", cwd=here)


@pytest.mark.slow
def test_mypy_looks_into_the_linked_folders(tmp_path: Path) -> None:
    """A wrong use of a file of tasks/ is found, so that `Success` says something of it.

    In the folder of the checkout, for its cache: `make lint` has left it there.
    """
    code = tmp_path / "look.py"
    code.write_text("from kdbench.tasks.rte import Rte\n\nnumber: int = Rte.title\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(code)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300)
    assert "Incompatible types in assignment" in done.stdout, done.stdout + done.stderr
