"""The commands that show things, as a person calls them: output, exit codes, and one sentence for each mistake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kdbench.cli.app import main
from kdbench.planning.config import engine_keys
from tests.analysis.made import Made, full, spec, states
from tests.kdbench.small_runs import fork

COMMANDS = ("audit", "list", "report", "run", "show", "status", "table")


def call(folder: Path, *arguments: str, code: int = 0) -> str:
    """Output of `kdbench ...` in a folder; of stderr where it is to fail."""
    with TemporaryDirectory() as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        process = fork(folder, out, *arguments, errors=err)
        process.join(60)
        said = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
    assert process.exitcode == code, said
    return said[bool(code)]


def call_process(folder: Path, *arguments: str, code: int = 0) -> str:
    """The same in a fresh `python -m kdbench`."""
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "kdbench", *arguments], cwd=folder, capture_output=True, text=True, timeout=60,
        env=environment | {"PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


def test_every_setting_is_listed_with_its_default(tmp_path: Path) -> None:
    text = call(tmp_path, "list", "settings")
    lines = {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}
    assert lines.keys() >= set(engine_keys())
    assert [lines[key][0] for key in ("epochs", "weight_decay", "precision", "preset")] == ["6", "0", "fp32", "tiny"]
    # what a command without --preset trains with stands beside
    assert [lines[key][1] for key in ("student_lr", "batch_size", "max_length")] == ["0.003", "16", "64"]
    assert "tiny is the preset where none is named" in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished sweep in `results`."""
    path = tmp_path_factory.mktemp("finished")
    full(path / "results", seeds=(0, 1))
    return path


def call_here(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The same in this process, for what would be slow to start so often; the exit code."""
    monkeypatch.setattr(sys, "argv", ["kdbench", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_here([command, "--help"], monkeypatch) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: ")
    assert "Options:" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("list runz", "Unknown list 'runz'. Did you mean 'runs'"),
        ("list tasks --status done", "--status narrows a list of runs"),
        ("list runs --status finished", "Unknown status 'finished'"),
        ("list runs --method nope", "Unknown row 'nope'"),
        ("list runs --task mrp", "Unknown task 'mrp'. Did you mean 'mrpc'"),
        ("list runs --results nowhere", "There are no runs in nowhere"),
        ("status --results nowhere", "Nothing was run in nowhere yet"),
        ("cancel --results nowhere", "Nothing was run in nowhere yet"),
        ("retry --failed --results nowhere", "Nothing was run in nowhere yet"),
        (
            "run --methods kd --tasks mrpc --methods lgtm",
            "--methods was given 2 times; give it once, with commas wher",
        ),
        ("glue export kd --task mrpc --tasks sst2", "--tasks was given 2 times; give it once, with commas wher"),
        ("table 1 --results a --results b", "--results was given 2 times; give one folder, or join them first: kdb"),
        ("compare kd dml --results=a --results=b", "kdbench collect NAME --results a --results b"),
        ("table 9", "Unknown table '9'"),
        ("table 1 --format pdf", "Unknown format 'pdf'"),
        ("table 4", "There are no results of preset bert-4l in results; give another folder"),
        ("audit --format pdf", "Unknown format 'pdf'"),
        ("run --for table8", "Unknown table or figure 'table8'. Did you mean 'table"),
        ("run --for table1 --methods kd", "--for says which methods are trained"),
        ("table 1 --preset tiney", "Unknown preset 'tiney'. Did you mean 'tiny'"),
        ("table 1 --preset minilm", "There are no results of preset minilm"),
        ("show mrpc-lgtm-s", "could be mrpc-lgtm-s0-"),
        ("show mrpc-lgtm-s7", "Unknown run 'mrpc-lgtm-s7'"),
        ("show", "Missing argument 'RUN|METHOD|ROW'; see kdbench show --help."),
        ("run --nonsense", "No such option '--nonsense'; see kdbench run --help."),
        ("run kd", "Got unexpected extra argument (kd); see kdbench run --help."),
        ("rn", "Unknown command 'rn'. Did you mean 'run'? Valid: audit, "),
        ("glue exprt", "Unknown command 'exprt'. Did you mean 'export'? Valid: check, export, "),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, arguments: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert call_here(arguments.split(), monkeypatch) == 2
    out, text = capsys.readouterr()
    assert not out
    assert text.startswith("kdbench: ")
    assert sentence in text
    assert text.count("\n") == 1
    assert "Traceback" not in text


@pytest.mark.slow
def test_a_mistake_in_a_process_of_its_own(folder: Path) -> None:
    text = call_process(folder, "run", "--preset", "x", code=2)
    assert text.startswith("kdbench: ")
    assert text.count("\n") == 1


def test_a_name_that_is_neither_run_nor_method(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert call_here(["show", "lgtn"], monkeypatch) == 2
    assert capsys.readouterr().err.startswith("kdbench: Unknown run or method 'lgtn'. Did you mean 'lgtm'?")


def test_status_of_every_state(tmp_path: Path) -> None:
    store, runs = states(tmp_path / "results")
    with store.run(runs["running"]).lock().held():
        text = call(tmp_path, "status")
    lines = text.splitlines()
    assert "2 of 8 runs done, 1 running, 1 failed, 1 interrupted, 1 blocked, 2 waiting" in lines
    (running,) = [x for x in lines if x.strip().startswith(runs["running"])]
    assert "25 % (step 40 of 160)  loss 0.500  selection accuracy 81.2  about " in running
    assert f"  {runs['failed']}  non-finite: the loss is nan at step 3" in lines
    assert any(runs["interrupted"] in x and "step 30 of 120" in x for x in lines)
    assert f"  by {runs['failed']} (failed): {runs['blocked']}" in lines
    assert [x.split() for x in lines if x.startswith("(Teacher)")] == [["(Teacher)", "1/3", "done"]]
    assert not any(x != x.rstrip() or "\x1b" in x for x in lines)


def test_a_running_run_that_nobody_holds_is_interrupted(tmp_path: Path) -> None:
    states(tmp_path / "results")
    assert "2 interrupted" in call(tmp_path, "status")


def test_list_runs_with_filters(tmp_path: Path) -> None:
    _, runs = states(tmp_path / "results")
    text = call(tmp_path, "list", "runs")
    assert all(run in text for run in runs.values())
    assert text.endswith("8 runs of 8\n")
    held = call(tmp_path, "list", "runs", "--method", "kd", "--task", "rte", "--status", "blocked")
    assert runs["blocked"] in held
    assert held.endswith("1 run of 8\n")
    assert call(tmp_path, "list", "runs", "--status", "pending").endswith("2 runs of 8\n")


def test_list_methods_and_show_a_variant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_here(["list", "methods"], monkeypatch) == 0
    text = capsys.readouterr().out
    assert "Hinton et al., 2015" in text
    assert "needs a fine-tuned teacher" in text
    assert "lgtm_released" in text
    assert call_here(["show", "lgtm_released"], monkeypatch) == 0
    text = capsys.readouterr().out
    assert text.startswith("LGTM (released code)  Ren et al., 2023")
    for word in ("influence_sign", "jvp, fda, weighted, none", "Eq. 9, 10", "a number ≥ 0, ≤ 1", "match_aux:NUMBER"):
        assert word in text


def test_show_a_method_has_what_presets_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_here(["show", "pkd"], monkeypatch) == 0
    assert "\npreset tiny: beta=10\n" in capsys.readouterr().out


def test_list_tasks_and_presets(tmp_path: Path) -> None:
    text = call(tmp_path, "list", "tasks")
    assert "not_equivalent" in text
    assert "validation_mismatched 9832" in text
    text = call(tmp_path, "list", "presets")
    assert all(name in text for name in ("bert-4l", "bert-6l", "minilm", "tiny-4x64 teaches tiny-2x64"))


@pytest.mark.slow
@pytest.mark.parametrize(("form", "start"), [("markdown", "**Table 1"), ("latex", "% Table 1"), ("csv", "preset,")])
def test_table_to_a_file(
    folder: Path, form: str, start: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert call_here(["table", "1", "--format", form, "--out", f"sub/{form}"], monkeypatch) == 0
    assert capsys.readouterr().out == f"Wrote sub/{form}.\n"
    written = (folder / "sub" / form).read_text(encoding="utf-8")
    assert written.startswith(start)
    assert written == call(folder, "table", "table1", "--format", form, "--preset", "bert-6l")


def test_all_tables_and_on_stderr_what_is_lacking(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert call_here(["table", "all", "--format", "markdown", "--published"], monkeypatch) == 0
    out, lacking = capsys.readouterr()
    assert [number for number in "1234567" if f"**Table {number}" in out] == ["1", "5", "6"]
    assert "published | 86.7/81.4 | 64.7 |" in out
    commands = [text.partition("run: ")[2].partition(" --set")[0] for text in lacking.splitlines()]
    of, seeds, every = "--preset bert-6l --tasks", "--seeds 0,1", "mrpc,rte,sst2,mnli,qnli,qqp"
    assert commands[4:] == ["", "kdbench measure", ""]  # these runs kept no predictions
    assert commands[:4] == [
        f"kdbench run --for table2 {of} {every} {seeds}",
        f"kdbench run --for table3 {of} mrpc {seeds}",
        "kdbench run --for table4",  # of another preset, of which there is nothing
        f"kdbench run --for table7 {of} mrpc,rte,sst2,mnli {seeds}",
    ]


@pytest.mark.slow
def test_audit_needs_no_results(tmp_path: Path) -> None:
    text = call(tmp_path, "audit")
    assert "BERT-Base: the same cells have different averages (84.2 in Table 1, 85.4 in Table 2" in text
    assert call(tmp_path, "audit", "--format", "csv", "--out", "audit.csv") == "Wrote audit.csv.\n"
    assert (tmp_path / "audit.csv").read_text(encoding="utf-8").startswith("table,row,title,printed,recomputed")


def test_a_dry_run_for_tables_shows_every_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["run", "--for", "table6,table7", "--tasks", "rte", "--seeds", "0,1", "--dry-run"]
    assert call_here(asked, monkeypatch) == 0
    text = capsys.readouterr().out
    # feedback of 10 % is the usual one, which the rows of Table 7 have too; one of them is the row of Table 6
    assert re.findall(r"feedback from (\S+),", text) == ["validation", "train:0.05", "train:0.1"]
    assert re.findall(r"(\d+) runs for (\d+) cells", text) == [("2", "2"), ("2", "2"), ("8", "10")]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("methods", "tasks", "said"),
    [
        ("kd", "rte", "2 runs for 1 cell: 0 done, 2 to train; 1 of them serves 1 other."),
        ("kd,pkd", "rte", "3 runs for 2 cells: 0 done, 3 to train; 1 of them serves 2 others."),
        ("kd", "rte,mrpc", "4 runs for 2 cells: 0 done, 4 to train; 2 of them serve 2 others."),
        ("finetune", "rte", "1 run for 1 cell: 0 done, 1 to train."),
    ],
)
def test_a_dry_run_counts_in_plain_english(
    methods: str, tasks: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert call_here(["run", "--methods", methods, "--tasks", tasks, "--dry-run"], monkeypatch) == 0
    assert said in capsys.readouterr().out


def test_the_folder_of_kdbench_toml(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "kdbench.toml").write_text(f'results = "{folder}/results"\n')
    assert "84 of 84 runs done" in call(tmp_path, "status")
    assert call(tmp_path, "status", "--results", "other", code=2)


def test_show_a_finished_run_and_the_teacher_that_it_needs(folder: Path) -> None:
    text = call(folder, "show", "rte-kd-s0")
    assert "  done\n" in text
    for word in ("student_lr", "best", "last", "needs, as teacher", "training", "65 s for 10 steps", "result.json"):
        assert word in text
    assert "Made by\n  kdbench run --methods kd --set 'a b=1'\n" in text
    parent = next(x.split()[3] for x in text.splitlines() if "needs, as teacher" in x)
    above = call(folder, "show", parent)
    assert "Made because other runs need it, by" in above
    assert "rte-kd-s0-" in above


def test_show_failed_and_waiting_runs(tmp_path: Path) -> None:
    store, runs = states(tmp_path / "results")
    error = store.run(runs["failed"]).path / "error.txt"
    error.write_text("".join(f"line {i}\n" for i in range(40)))
    text = call(tmp_path, "show", runs["failed"])
    assert "non-finite: the loss is nan at step 3" in text
    assert "last 15 of 40 lines" in text
    assert "line 39" in text
    assert "line 24\n" not in text
    text = call(tmp_path, "show", runs["blocked"])
    assert "blocked" in text
    assert f"It waits for {runs['failed']}, which failed." in text
    assert "waiting" in call(tmp_path, "show", runs["pending"][:-3])


def test_broken_plugins_are_listed_with_their_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_tasks.py").write_text("raise ValueError('half written')\n")
    info = tmp_path / "bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdbench.tasks]\nhalf = bad_tasks:Half\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)  # the working folder, on purpose
    text = call_process(tmp_path, "list", "tasks")
    assert "The task 'half' does not load: ValueError: half written" in text
    assert "mrpc" in text


REMEMBER = """
import sys
from pathlib import Path
from kdbench.planning import config
from kdbench.planning.make_plan import make_plan
from kdbench.training.executors import sweep_record
from kdbench.results.store import Store
from kdbench.training.executors import sweep_record
asked = {"methods": "finetune,kd,dml_lgtm", "tasks": "rte,mrpc", "seeds": "0,1", "student_lr": ["1e-3", "3e-3"]}
merged = config.assemble_config(asked, Path.cwd())
sweep_record.store_sweep(*sweep_record.build_request(merged, make_plan(merged), Store(Path("results")), None))
"""


@pytest.mark.slow
def test_what_run_writes_down_is_what_the_others_read(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", REMEMBER], cwd=tmp_path, check=True, timeout=60)
    text = call(tmp_path, "status")
    # 3 rows x 2 tasks x 2 seeds x 2 rates, and a teacher a task and seed
    assert "0 of 28 runs done, 28 waiting" in text
    assert "DML (weights of LGTM Eq. 3)   0/4 waiting   0/4 waiting" in text
    assert "(Teacher)                     0/2 waiting   0/2 waiting" in text
    table = call(tmp_path, "table", "1")
    assert "Table 1, preset tiny: tiny-4x64 teaches tiny-2x64" in table
    assert "Teacher: MRPC 2 of 2 runs (2 waiting), RTE 2 of 2 runs (2 waiting)" in table


def test_a_damaged_sweep_is_one_sentence(tmp_path: Path) -> None:
    made = Made(states(tmp_path / "results")[0])
    made.ask(spec("kd", "rte", 9))
    (made.store.sweeps_folder / "one.json").write_text("{")
    assert "is damaged" in call(tmp_path, "status", code=2)
