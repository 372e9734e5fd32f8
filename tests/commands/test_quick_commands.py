"""Commands that train nothing import nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from kdbench.cli.app import app
from tests.analysis.made import full
from tests.commands.test_commands import call_here

LIGHT = """
import os, shlex, sys
from kdbench.cli.app import app
for line in sys.stdin:
    if os.fork():
        if os.wait()[1]:
            sys.exit(f"failed: {line}")
        continue
    arguments = shlex.split(line)
    app(arguments, standalone_mode=False)
    heavy = {"torch", "transformers", "datasets", "evaluate", "submitit"}
    heavy |= set() if arguments[0] == "figure" else {"pandas", "seaborn"}
    os._exit(bool(heavy & set(sys.modules)))
"""  # every command in a copy of a process that has imported the command line alone
KEPT = Path(__file__).parents[2] / "results" / "minilm-mrpc"  # with predictions and curves
QUICK = {
    "audit": ["audit"],
    "cancel": ["cancel"],
    "collect": ["collect kept --out kept"],
    "compare": [f"compare dist lgtm --results {KEPT}"],
    "figure": [
        f"figure all --out drawn --results {KEPT}",
        f"figure 4 --format csv --results {KEPT}",
        f"figure confusion --methods lgtm --results {KEPT}",
    ],
    "glue": ["glue --help", "glue export --help"],
    "list": ["list methods", "list tasks", "list presets", "list settings", "list runs", "list runs --methods kd"],
    "logs": ["logs rte-kd-s0"],
    "new-method": ["new-method quick --folder ."],
    "new-task": ["new-task reviews.csv"],
    "report": ["report"],
    "retry": ["retry"],
    "run": ["run --dry-run", "run --for all --dry-run"],
    "show": ["show rte-kd-s0", "show kd", "show kd rte"],
    "status": ["status", "status --tasks rte"],
    "verify": ["verify"],
    "table": [
        "table all",
        "table 5",
        "table cost",
        "table 1 --published",
        "table 1 --format json",
        "table 1 --methods kd --tasks rte",
        f"table all --results {KEPT}",
    ],
}  # by command, as it is called where nothing is trained
SLOW = {"check-method", "export", "export-outputs", "measure", "probe"}  # these train or load networks


def test_every_command_is_quick_or_trains() -> None:
    assert sorted([*QUICK, *SLOW]) == app.list_commands(click.Context(app))


@pytest.mark.slow
def test_nothing_heavy_is_imported_where_nothing_is_trained(tmp_path: Path) -> None:
    full(tmp_path / "results", seeds=(0, 1))
    rows = "".join(f"film {i} was {'good' if i % 2 else 'bad'},{i % 2}\n" for i in range(60))
    (tmp_path / "reviews.csv").write_text(f"review,stars\n{rows}")
    lines = "".join(f"{call}\n" for calls in QUICK.values() for call in calls)
    done = subprocess.run([sys.executable, "-c", LIGHT], input=lines, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_says_what_no_number_of_jobs_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_here(["run", "--help"], monkeypatch) == 0
    assert "(default: 0, one for each core of a CPU," in " ".join(capsys.readouterr().out.split())
