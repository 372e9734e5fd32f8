"""A study whose teacher is a file of outputs, through every command that reads it: the same runs, bytes and tables."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.models.outputs_reference import outputs_arguments
from kdbench.results.store import Store
from tests.conftest import one_fast
from tests.kdbench.small_runs import FEW, SMALL, contents, fork, refusal
from tests.kdbench.test_kill import wait_for, was_interrupted
from tests.kdbench.test_teacher_outputs import outputs_of_rte

SETS = [*SMALL, "eval_every=3", *(f"{key}={value}" for key, value in FEW.model_dump().items())]
HERE = ("--device", "cpu", "--set", "threads=1")


def command(*more: str, methods: str = "kd,dist") -> list[str]:
    sets = [part for pair in SETS if not pair.startswith("teacher=") for part in ("--set", pair)]
    return ["run", "--methods", methods, "--tasks", "rte", *HERE, "--teacher-outputs", "probs.csv", *sets, *more]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of outputs and the results of two methods that learned from it."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outputs_of_rte(folder, "train", "validation")
        assert app(command(), standalone_mode=False) == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as working folder."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def said(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    """Return what a command prints."""
    capsys.readouterr()
    assert (app(list(args), standalone_mode=False) or 0) == code
    return capsys.readouterr().out


def run_of(method: str, results: str = "results") -> str:
    (run,) = (run.id for run in Store(Path(results)).runs() if run.spec.method == method)
    return run


@pytest.mark.parametrize("method", one_fast(["kd", "finetune"], "finetune"))
def test_the_command_that_show_prints_makes_the_same_run(
    method: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another working folder; the teacher's own run through a row that learned from the file."""
    first, run = Store(folder / "results"), run_of(method)
    printed = said(capsys, "show", run).split("Make it again")[1].split("Made ")[0]
    words = shlex.split(printed)
    assert words[:2] == ["kdbench", "run"]
    assert "--teacher-outputs" in words
    assert not {"--teacher-is-finetuned", "teacher_is_finetuned=true"} & set(words)
    (folder / "far").mkdir()
    monkeypatch.chdir(folder / "far")
    recording = [part for key, value in FEW.model_dump().items() for part in ("--set", f"{key}={value}")]
    assert app([*words[1:], *HERE, "--jobs", "1", *recording], standalone_mode=False) == 0
    assert contents(Store(Path("results")), run) == contents(first, run)


def test_a_file_costs_no_passes(folder: Path) -> None:
    """Its outputs are looked up; the student alone passes."""
    for method in ("kd", "dist"):
        cost = Store(folder / "results").run(run_of(method)).cost()
        assert set(cost["passes"]) == {"student"}


def test_a_suffix_of_the_file_s_name_is_an_option_again() -> None:
    assert outputs_arguments("/a/probs.csv") == ["--teacher-outputs", "/a/probs.csv"]
    assert outputs_arguments("/a/x.npz:logits") == ["--teacher-outputs", "/a/x.npz", "--teacher-outputs-are", "logits"]
    assert outputs_arguments("tiny-2x32") == outputs_arguments("minilm:0+2") == []


def test_verify_reads_the_saved_outputs_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "3 finished runs whole, 0 damaged" in said(capsys, "verify")
    weights = Store(Path("results")).run(run_of("finetune")).model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert "2 finished runs whole, 1 damaged" in said(capsys, "verify", code=1)


def test_a_collected_study_has_the_table_and_no_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = said(capsys, "table", "1")
    assert "probs.csv teaches tiny-2x32" in table
    assert re.search(r"Teacher +100\.0", table)
    assert "The teacher is a file of outputs, probs.csv; no network was asked here." in table
    run = run_of("kd")
    assert "3 runs (3 done)" in said(capsys, "collect", "kept")
    assert said(capsys, "table", "1", "--results", "results/kept") == table
    again = said(capsys, "show", run, "--results", "results/kept").split("Make it again")[1]
    assert "--teacher-outputs PATH/TO/probs.csv" in again
    for file in Path("results/kept").iterdir():
        assert str(folder).encode() not in file.read_bytes(), file.name
        assert b"/study" not in file.read_bytes(), file.name


def test_the_file_itself_is_no_network_to_export(folder: Path) -> None:
    text = refusal("export-outputs", run_of("finetune"), "--out", "again.csv")
    assert "is a teacher that is only a file of outputs, probs.csv, so there is no network to ask" in text
    assert not Path("again.csv").exists()


def test_a_cluster_s_jobs_wait_for_the_file_s_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("results")
    text = said(capsys, *command("--executor", "slurm", "--dry-run", methods="kd"))
    assert "Array 1 of 2: 1 job for 1 run, rte-finetune-s0-" in text
    assert re.search(r"--dependency='afterany:<job of rte-finetune-s0-\w+>'", text)
    assert "in probs.csv are read as probabilities, of which the logarithm is taken." in text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["table", "1"], "what is missing: kdbench run --methods kd .*--teacher-outputs .*probs.csv"),
        (["table", "2"], "what is missing, with a network as teacher: kdbench run --for table2 --preset tiny --tasks"),
        (["table", "3"], "or run: kdbench run --for table3 --preset tiny --seeds 0 --set student=tiny-2x32"),
        (["table", "7"], "or run: kdbench run --for table7 --preset tiny "),
        (["figure", "2"], "run: kdbench run --for figure2 --preset tiny "),
    ],
)
def test_commands_for_what_is_missing_can_be_carried_out(
    asked: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LGTM and other methods of tables cannot learn from a file."""
    shutil.rmtree(Store(Path("results")).run(run_of("kd")).path)
    try:
        text = said(capsys, *asked)
    except UserError as error:
        text = str(error)
    assert re.search(words, text), text
    printed = text[text.index("kdbench run") :].splitlines()[0].rstrip(".")
    assert ("--teacher-outputs" in printed) is ("--methods" in printed)
    shown = said(capsys, *shlex.split(printed)[1:], "--dry-run")
    assert ("2 runs for 1 cell: 1 done, 1 to train" if "--methods" in printed else "0 done") in shown


@pytest.mark.slow
def test_killed_and_resumed_equals_undisturbed(folder: Path) -> None:
    calm, store, run = Store(folder / "results"), Store(folder / "again"), run_of("kd")
    args = command("--set", "checkpoint_seconds=0", "--results", "again", methods="kd")
    output = folder / "said.txt"
    for point in (1, 4):
        process = fork(folder, output, *args)
        wait_for(store, run, point, process.is_alive)
        process.kill()
        process.join()
        was_interrupted(store, run)
    process = fork(folder, output, *args)
    process.join(120)
    assert process.exitcode == 0, output.read_text()
    assert "going on at step" in output.read_text()
    assert contents(store, run) == contents(calm, run)
