"""What is asked of the queue, and how its answers are read; no cluster is needed."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.core.errors import UserError
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.slurm import submit, worker
from kdbench.slurm.arrays import JobArray, make_arrays
from kdbench.slurm.ledger import Ledger
from kdbench.slurm.options import SlurmOptions, parse_minutes
from kdbench.slurm.queue import Queue, parse_queue
from tests.kdbench.small_runs import plan, refusal


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan(tmp_path_factory.mktemp("plan"), methods="all", tasks="rte,mrpc,qqp", seeds="0-2")


@given(longest=st.integers(1, 40), runs_per_job=st.integers(1, 9), together=st.booleans(), data=st.data())
def test_arrays_carry_every_run_once_after_all_it_needs(
    made: Plan, longest: int, runs_per_job: int, together: bool, data: st.DataObject
) -> None:
    chosen = data.draw(st.sets(st.sampled_from(list(made.runs))))
    found = make_arrays(made.runs, chosen, longest=longest, runs_per_job=runs_per_job, together=together)
    assert sorted(run for array in found for run in array.runs) == sorted(chosen)
    before: set[str] = set()
    for array in found:
        assert 0 < len(array.tasks) <= longest
        assert all(0 < len(task) <= runs_per_job for task in array.tasks)
        needs = {parent for run in array.runs for parent in made.runs[run].needs.values()}
        assert needs <= array.after
        assert needs & chosen <= before  # nothing waits for what is submitted later, or in the same array
        before |= set(array.runs)


def test_runs_start_as_soon_as_their_own_needs_are_there(made: Plan) -> None:
    for array in make_arrays(made.runs, made.runs, longest=1000):
        assert len({frozenset(made.runs[run].needs.values()) for run in array.runs}) == 1


def test_with_a_limit_on_jobs_no_two_arrays_run_at_once(made: Plan) -> None:
    found = make_arrays(made.runs, made.runs, longest=7, together=True)
    for earlier, later in itertools.pairwise(found):
        assert set(earlier.runs) <= later.after


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("90", 90), ("90m", 90), ("4h", 240), ("2d", 2880), ("10:30", 10.5), ("4:00:00", 240), ("1-0", 1440),
     ("1-2:30", 1590), ("2-00:00:30", 2880.5)],
)  # fmt: skip
def test_time_limits(text: str, expected: float) -> None:
    assert parse_minutes(text) == expected


def test_bad_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    start = ("run", "--methods", "finetune", "--tasks", "rte", "--executor")
    assert "Did you mean 'slurm'?" in refusal(*start, "slrum")
    assert "this machine has no squeue; go to one of its login nodes" in refusal(*start, "slurm")
    assert "--device foo is not valid" in refusal(*start, "slurm", "--device", "foo")
    assert "should be a time such as 4:00:00" in refusal(*start, "slurm", "--set", "slurm.time=soon")
    assert "Did you mean 'partition'?" in refusal(*start, "slurm", "--set", "slurm.partitoin=gpu")
    assert "runs_per_job='0' is not valid" in refusal(*start, "slurm", "--runs-per-job", "0")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [("extra = {dependency = '5'}", "kdbench needs it for itself"), ("extra = {time = '5'}", "use slurm.time"),
     ("extra = {job_name = 'x'}", "kdbench needs it for itself"), ("runs_per_job = 3", "key of executor 'slurm'"),
     ("gpus = -1", "gpus=-1 is not valid"), ('memory = "lots"', "such as 16G")],
)  # fmt: skip
def test_settings_that_cannot_be(settings: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kdbench.toml").write_text(f"[slurm]\n{settings}\n")
    assert sentence in refusal("run", "--methods", "finetune", "--tasks", "rte", "--executor", "slurm", "--dry-run")


def test_commas_of_a_setting_are_its_own(tmp_path: Path) -> None:
    layer = parse_sets(["slurm.partition=gpu,long", "slurm.setup=export A=1,2", "student_lr=1,2"])
    options = assemble_config(layer, tmp_path).section("slurm", SlurmOptions)
    assert options.partition == "gpu,long"
    assert options.setup == ["export A=1,2"]
    assert SlurmOptions.parse({"partition": [1, 2]}, "").partition == "1,2"


@pytest.mark.parametrize(
    ("said", "meant"), [("16 G", "16G"), ("16GB", "16G"), ("512m", "512M"), ("4000", "4000"), ("", "")]
)
def test_memory_as_people_write_it(said: str, meant: str) -> None:
    assert SlurmOptions.parse({"memory": said}, "").memory == meant


def test_a_job_with_our_id_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    ledger = Ledger(Store(tmp_path))
    record = ledger.open("sweep", (("a",),))
    ledger.write(record.model_copy(update={"job": "56"}))
    assert ledger.jobs(parse_queue(f"56|RUNNING|None|n1|{record.name}\n")) == {"a": "56"}
    assert ledger.jobs(parse_queue("56|RUNNING|None|n1|somebody-else\n")) == {}


def test_cancel_says_when_the_queue_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.slurm.executor import Slurm

    monkeypatch.setenv("PATH", str(tmp_path))
    assert Slurm.cancel(Store(tmp_path), ["a"]) == []  # nothing was ever submitted
    Ledger(Store(tmp_path)).open("sweep", (("a",),))
    with pytest.raises(UserError, match="The cluster does not answer: this machine has no squeue"):
        Slurm.cancel(Store(tmp_path), ["a"])


def test_settings_of_somebody_elses_sweep_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from kdbench.training.executors import sweep_record

    config = assemble_config({"methods": "finetune", "tasks": "rte"}, tmp_path)
    made = make_plan(config)
    store = Store(tmp_path / "r")
    sweep_record.store_sweep(*sweep_record.build_request(config, made, store, Console()))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="was written by another user"):
        sweep_record.retry(store, set(made.runs), Console(), lambda order: None)


def test_a_limit_must_leave_time_to_train() -> None:
    assert "leaves nothing before the checkpoint" in SlurmOptions(time="2m").too_short()
    assert SlurmOptions(time="10m").too_short() == ""


@pytest.mark.parametrize(
    ("gpus", "runs", "expected"),
    [("", 4, [("auto", 2)] * 4), ("1", 4, [("cuda:0", 2)] * 4), ("2", 3, [("cuda:0", 2), ("cuda:1", 2), ("cuda:0", 2)]),
     ("4", 2, [("cuda:0", 4), ("cuda:1", 4)]), ("1", 1, [("auto", 8)])],
)  # fmt: skip
def test_runs_of_a_job_share_its_gpus_and_cores(
    gpus: str, runs: int, expected: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", gpus or "0")
    shares = worker._shares({"jobs": 4}, runs)
    assert [(share.device, share.threads) for share in shares] == expected


def script(**options: object) -> list[str]:
    made = SlurmOptions.parse(options, "executor 'slurm'")
    request = submit.sbatch_parameters(made, JobArray((("a",), ("b",)), frozenset()), "name", ["7", "6_1"])
    return submit.sbatch_script(request, 2, "/shared/results").splitlines()


def test_the_request_holds_what_was_set_and_nothing_else() -> None:
    given = script(partition=["gpu", "long"], account="nlp", qos="high", constraint="a100|h100", time="1-0",
                   memory="16G", gpus=1, cpus=4, setup=["module load cuda"], max_parallel=1,
                   extra={"exclusive": True, "nodelist": "n[1-2]"})  # fmt: skip
    for line in ("partition=gpu,long", "account=nlp", "qos=high", "constraint='a100|h100'", "time=1440", "mem=16G",
                 "gpus-per-node=1", "cpus-per-task=4", "exclusive", "nodelist='n[1-2]'", "array=0-1%1", "requeue",
                 "dependency=afterany:6_1:7", "signal=USR2@120"):  # fmt: skip
        assert f"#SBATCH --{line}" in given
    assert given.index("set -e") < given.index("module load cuda")
    assert any(line.startswith("srun") and "--cpus-per-task=4" in line for line in given)
    bare = "\n".join(script())
    for word in ("partition", "account", "qos", "constraint", "--time", "mem", "gpus", "cpus", "wckey", "set -e"):
        assert word not in bare


def test_what_users_write_reaches_the_shell_quoted() -> None:
    evil = "x; touch /tmp/owned; $(touch y)"
    request = submit.sbatch_parameters(
        SlurmOptions(partition=evil, account=evil), JobArray((("a",),), frozenset()), "name", []
    )
    text = submit.sbatch_script(request, 1, f"/shared/{evil}")
    for line in text.splitlines():
        assert not line.startswith(("touch", "x;"))
    body = text.replace("#SBATCH --output", "echo").replace("#SBATCH --partition", "echo")
    echoed = [line for line in body.splitlines() if line.startswith("echo")]
    done = subprocess.run(["bash", "-c", "\n".join(f"printf %s {line[5:]}" for line in echoed)], capture_output=True)
    assert b"$(touch y)" in done.stdout  # as text


def test_squeue_is_read() -> None:
    text = (
        "17_0|RUNNING|None|kd1|a-1\n17_1|PENDING|Dependency||a-1\n18|CANCELLED|None||b|c\n19|PENDING|JobHeldAdmin||d\n"
    )
    queue = parse_queue(text)
    assert [(j.standing, j.is_live) for j in map(queue.job, ("17_0", "17_1", "18", "99"))] == [
        ("running", True), ("queued", True), ("ended", False), ("unknown", False),
    ]  # fmt: skip
    assert queue.by_comment == {"a-1": "17", "b|c": "18", "d": "19"}
    assert queue.job("19").hopeless
    assert not queue.job("17_1").hopeless


def test_a_submission_that_did_not_learn_its_id_is_found_by_its_comment(tmp_path: Path) -> None:
    ledger = Ledger(Store(tmp_path))
    record = ledger.open("sweep", (("a", "b"), ("c",)))
    assert ledger.jobs(Queue()) == {}
    assert ledger.jobs(parse_queue(f"55_1|PENDING|None||{record.name}\n")) == {"a": "55_0", "b": "55_0", "c": "55_1"}
    ledger.write(record.model_copy(update={"job": "56"}))
    assert ledger.jobs(Queue()) == {"a": "56_0", "b": "56_0", "c": "56_1"}


def test_nobody_else_may_write_what_jobs_unpickle(tmp_path: Path) -> None:
    ledger = Ledger(Store(tmp_path))
    record = ledger.open("sweep", (("a",),))
    assert ledger.folder(record).stat().st_mode & 0o077 == 0
    assert ledger.folder(record).is_relative_to(tmp_path)


def test_variables_of_the_job_that_we_are_in_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_CONF", "/etc/elsewhere.conf")
    with submit.outside_of_jobs():
        assert "SLURM_ARRAY_JOB_ID" not in os.environ
        assert os.environ["SLURM_CONF"] == "/etc/elsewhere.conf"
    assert os.environ["SLURM_ARRAY_JOB_ID"] == "5"


def test_a_percent_sign_in_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ("run", "--methods", "finetune", "--tasks", "rte", "--executor", "slurm", "--results", "100%j", "--dry-run")
    assert "takes % in 100%j for a pattern" in refusal(*args)


def test_a_job_is_requeued_until_three_restarts_make_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it was restarted before: SLURM counts all restarts."""
    again = list[str]()
    monkeypatch.setattr(worker, "_requeue", lambda job, is_ending: again.append(job))
    asked = []
    for restarts, steps in enumerate((9, 9, 9, 9, 9, 0, 0, 5, 0, 0, 0, 0)):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        again.clear()
        with pytest.raises(SystemExit):
            worker._leave(Store(tmp_path), "7_1", [worker.LIMIT], steps)
        asked.append(len(again))
    assert asked == [1] * 10 + [0, 0]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")  # another job of the same number, on a cluster that was set up anew
    with pytest.raises(SystemExit):
        worker._leave(Store(tmp_path), "7_1", [worker.LIMIT], 0)
    assert again == ["7_1"]
