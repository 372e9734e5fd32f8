"""What commands print, on any terminal: no encoding ends them, and nothing that others wrote commands the terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from kdbench.cli.app import main
from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.console import PlainConsole, make_console
from kdbench.core.plain_text import ERRORS, without_control
from tests.analysis.made import full

SHOWN = (
    "list methods", "list tasks", "list presets", "list settings", "list executors", "list runs", "status", "table all",
    "table cost",
    "table 1 --published", "table 1 --format markdown", "table 1 --format latex", "table 1 --format csv",
    "table 1 --format json", "audit", "status --methods kd --tasks rte", "list runs --student s-net",
    "compare kd lgtm", "compare kd lgtm --format markdown", "show kd mrpc", "show mrpc-kd-s0", "show lgtm",
    "logs mrpc-kd-s0", "figure 4 --out fig.csv", "figure all", "figure scores --out s.csv", "report",
    "figure confusion --methods kd --tasks rte",
    "table 1 --out t.md", "collect all", "table 1 --methods kd,lgtm --tasks rte --student s-net",
    "run --methods kd --tasks rte --dry-run", "--help", "run --help", "cancel", "verify", "glue export kd",
)  # fmt: skip
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\x08\r\u202eEvil±"
ESCAPE = re.compile("\x1b\\[[0-9;]*m")  # a colour


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep in `results`, whose titles, logs, environments and messages try to command the terminal."""
    path = tmp_path_factory.mktemp("finished")
    store = full(path / "results", seeds=(0, 1))
    for file in store.sweeps_folder.glob("*.json"):
        sweep = read_json(file)
        for row in sweep["rows"].values():
            row["title"] = f"{EVIL}{row['title']}"
        write_json(file, {**sweep, "command": [*sweep["command"], EVIL]})
    for run in store.runs():
        write_json(run.path / "environment.json", {**run.environment(), "cpu": EVIL, "python": EVIL})
        run.log.write_text(f"{EVIL} begun\n", encoding="utf-8")
    failed = next(run for run in store.runs() if "pkd" in run.id or "rte-kd" in run.id)
    failed.set_state("failed", kind="bug", message=EVIL)
    (failed.path / "error.txt").write_text(EVIL, encoding="utf-8")
    return path


def printed(command: str, folder: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What a command prints to stdout and stderr, which take this encoding and end the program at anything else."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["kdbench", *command.split()])
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit):
        main()
    out = []
    for stream in streams:
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        out.append(stream.buffer.getvalue().decode(encoding if "help" not in command else "utf-8"))
    return out[0], out[1]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("command", SHOWN)
def test_every_command_on_every_terminal(
    command: str, encoding: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = printed(command, folder, encoding, monkeypatch)
    for character in out + err:
        assert unicodedata.category(character) != "Cc" or character in "\n\t", repr(out + err)
        assert character != "\u202e"
    assert out or err


def test_what_stands_for_what(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words and numbers, with look-alikes for what ASCII lacks."""
    plain, _ = printed("table 1", folder, "ascii", monkeypatch)
    rich, _ = printed("table 1", folder, "utf-8", monkeypatch)
    pairs = {"±": "+-", "°": "^", "†": "+", "‡": "#", "–": "-", "─": "-"}
    for sign, lookalike in pairs.items():
        rich = rich.replace(sign, lookalike)
    assert "+-" in plain
    assert "-----" in plain
    assert plain == rich


def test_every_mark_of_a_table_has_a_lookalike_of_its_own() -> None:
    found = {mark: mark.encode("ascii", errors=ERRORS) for mark in "§°†‡"}
    assert len(set(found.values())) == 4
    assert b"?" not in found.values()


def test_files_are_utf8_whatever_the_terminal_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for encoding in ("ascii", "utf-8"):
        printed("table 1 --out table.txt", folder, encoding, monkeypatch)
        files.append((folder / "table.txt").read_bytes())
    assert files[0] == files[1]
    assert "±".encode() in files[0]


@pytest.mark.slow
def test_a_process_that_trains_and_prints(tmp_path: Path) -> None:
    """In a folder, too, whose name has no letters that ASCII knows."""
    folder = tmp_path / "Prüfstand"
    folder.mkdir()
    sets = ("student=tiny-1x32", "teacher=tiny-1x32", "epochs=1", "train_rows=64", "jobs=1")
    command = [
        "run",
        "--methods",
        "finetune",
        "--tasks",
        "rte",
        "--seeds",
        "0,1",
        *(p for s in sets for p in ("--set", s)),
    ]
    env = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    known = {key: value for key, value in os.environ.items() if key not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    done = subprocess.run([sys.executable, "-m", "kdbench", *command], cwd=folder, env=known | env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"+-" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.slow
@given(st.text())
def test_any_text_can_be_printed(text: str) -> None:
    for encoding in ("ascii", "cp1252", "utf-8", "latin-1"):
        text.encode(encoding, errors=ERRORS).decode(encoding)
    kept = without_control(text)
    assert all(unicodedata.category(c) != "Cc" or c in "\n\t" for c in kept)
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]


def test_undecodable_names_can_be_printed() -> None:
    assert os.fsdecode(b"caf\xe9").encode("utf-8", errors=ERRORS) == b"caf?"


def test_riches_own_colours_survive() -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, color_system="standard", width=60)
    console.print(Text.assemble(("red", "red"), f" {EVIL}"))
    out = file.getvalue()
    assert out.startswith("\x1b[31mred\x1b[0m")
    assert "\x1b" not in ESCAPE.sub("", out)
    assert "Evil±" in out


def test_errors_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = printed(f"table {EVIL.replace(chr(13), '')}", folder, "ascii", monkeypatch)
    assert err.startswith("kdbench: ")
    assert "\x1b" not in err


def test_the_console_is_one_of_ours() -> None:
    assert isinstance(make_console(), PlainConsole)
    assert isinstance(make_console(stderr=True), PlainConsole)
