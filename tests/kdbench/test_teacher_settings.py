"""A teacher has settings of its own, or is taken as it is."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from kdbench.core.errors import UserError
from kdbench.core.settings import Training
from kdbench.core.spec import RunSpec
from kdbench.models.finetuned_networks import build_finetuned
from kdbench.planning import reproduce
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.reporting.provenance import run_facts
from kdbench.reporting.tables import TABLES
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.training.executors.sweep_record import build_request, store_sweep
from kdbench.training.preflight import check
from tests.kdbench.small_runs import CPU, SMALL, plan, train
from tests.kdbench.test_bad_input import save_bert

LABELS = ("entailment", "not_entailment")


def teacher(made: Plan, row: str) -> RunSpec:
    """The run that fine-tunes the teacher of a row's first run."""
    spec = made.runs[next(cell.run for cell in made.cells if cell.row == row)]
    while spec.needs:
        spec = made.runs[next(iter(spec.needs.values()))]
    return spec


@pytest.mark.parametrize("method", ["kd", "pkd", "takd", "rco", "pesf_kd", "meta_distill"])
def test_they_are_those_of_the_run_that_fine_tunes_it(method: str, tmp_path: Path) -> None:
    sets = ["teacher.epochs=3", "teacher.lr=1e-4", "teacher.batch_size=8"]
    made = plan(tmp_path, *sets, methods=method)
    alone = plan(tmp_path, "student=tiny-3x32", "epochs=3", "student_lr=1e-4", "batch_size=8", methods="finetune")
    assert teacher(made, method).id == alone.cells[0].run
    assert made.runs[made.cells[0].run].training.epochs == 2
    assert facts_of(made, method)["teacher.epochs"] == 3


def test_those_of_the_preset_give_way_to_what_the_user_says_for_all(tmp_path: Path) -> None:
    def epochs(*sets: str, **given: str) -> tuple[int, int]:
        made = make_plan(assemble_config({"methods": "kd", "tasks": "rte", **parse_sets(sets), **given}, tmp_path))
        return teacher(made, "kd").training.epochs, made.runs[made.cells[0].run].training.epochs

    assert epochs() == (8, 6)
    assert epochs("epochs=2") == (2, 2)
    assert epochs("epochs=2", "teacher.epochs=5") == (5, 2)
    assert epochs("teacher.epochs=5") == (5, 6)
    assert epochs("batch_size=8") == (8, 6)
    (tmp_path / "kdbench.toml").write_text("epochs = 4\n")
    assert epochs() == (4, 4)
    assert epochs("epochs=3") == (3, 3)


def test_those_of_the_preset_do_not_forbid_a_finished_teacher(tmp_path: Path) -> None:
    done = save_bert(tmp_path / "done", layers=2)
    asked = {"methods": "kd", "tasks": "rte", "teacher": str(done), "teacher_is_finetuned": True}
    made = make_plan(assemble_config(asked, tmp_path))
    assert teacher(made, "kd").training.epochs == 0


def facts_of(made: Plan, row: str) -> dict[str, object]:
    from kdbench.results.read_studies import read

    spec = made.runs[next(cell.run for cell in made.cells if cell.row == row)]
    return run_facts(read(Store(Path("nowhere"), create=False).run(spec.id), spec))["Settings"]


def test_without_them_runs_are_what_they_were(tmp_path: Path) -> None:
    """Also with one that says what is so anyway."""
    plain, same = plan(tmp_path, methods="kd"), plan(tmp_path, "teacher.epochs=2", methods="kd")
    assert plain.runs.keys() == same.runs.keys()
    for made in (plain, same):
        assert "teacher_training" not in made.runs[made.cells[0].run].model_dump_json()


def test_a_method_that_fine_tunes_none_is_what_it_was(tmp_path: Path) -> None:
    for method in ("finetune", "dml"):
        assert plan(tmp_path, methods=method).runs == plan(tmp_path, "teacher.epochs=1", methods=method).runs


def test_several_values_are_a_grid(tmp_path: Path) -> None:
    made = plan(tmp_path, "teacher.lr=1e-4,1e-3", methods="kd")
    assert [cell.choice for cell in made.cells] == [{"teacher.lr": 1e-4}, {"teacher.lr": 1e-3}]
    assert len({cell.run for cell in made.cells}) == 2
    assert {s.training.student_lr for s in made.runs.values() if s.method == "finetune"} == {1e-4, 1e-3}


def test_they_stand_in_files_beside_the_network(tmp_path: Path) -> None:
    (tmp_path / "kdbench.toml").write_text('[teacher]\nnetwork = "tiny-1x32"\nepochs = 3\n')
    made = make_plan(assemble_config({"methods": "kd", "tasks": "rte"}, tmp_path))
    assert (teacher(made, "kd").student.name, teacher(made, "kd").training.epochs) == ("tiny-1x32", 3)
    stronger = parse_sets(["teacher.epochs=4"], {"teacher": "tiny-3x32"})
    made = make_plan(assemble_config({"methods": "kd", "tasks": "rte", **stronger}, tmp_path))
    assert (teacher(made, "kd").student.name, teacher(made, "kd").training.epochs) == ("tiny-3x32", 4)


def labelled(folder: Path, words: Sequence[str], name: str = "model") -> Path:
    """A small BERT whose classifier knows these labels."""
    from transformers import AutoModelForSequenceClassification

    path = save_bert(folder / name)
    model = AutoModelForSequenceClassification.from_pretrained(
        path, num_labels=len(words), ignore_mismatched_sizes=True
    )
    model.config.id2label, model.config.label2id = dict(enumerate(words)), {word: i for i, word in enumerate(words)}
    model.save_pretrained(path)
    return path


def given(folder: Path, network: Path, methods: str = "kd,takd") -> Plan:
    sets = [f"student={save_bert(folder / 'student')}", f"teacher={network}", "teacher_is_finetuned=true"]
    return plan(folder, *sets, "takd.assistants=" + str(folder / "student"), methods=methods)


@pytest.mark.slow
def test_one_that_is_fine_tuned_is_evaluated_and_kept_as_it_is(tmp_path: Path) -> None:
    network = labelled(tmp_path, LABELS)
    made, store = given(tmp_path, network), Store(tmp_path / "results")
    assert check(made, [CPU]) == []
    train(made, store)
    run = store.run(teacher(made, "kd").id)
    assert run.id == teacher(made, "takd").id
    before, after = load_file(network / "model.safetensors"), load_file(run.model / "model.safetensors")
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    result = run.result()
    assert result is not None
    assert (result["best"]["step"], result["last"]["step"], run.cost()["steps"]) == (0, 0, 0)
    assert 0 <= result["best"]["report"]["validation"]["accuracy"] <= 1
    assert run.is_done()


def test_a_table_says_that_it_was_given(tmp_path: Path) -> None:
    sets = [*SMALL, f"teacher={labelled(tmp_path, LABELS)}", f"student={save_bert(tmp_path / 'student')}"]
    merged = assemble_config(
        {**parse_sets(sets), "methods": "kd", "tasks": "rte", "teacher_is_finetuned": True}, tmp_path
    )
    made, store = make_plan(merged), Store(tmp_path / "results")
    train(made, store)
    store_sweep(*build_request(merged, made, store, None))  # type: ignore[arg-type]  # nothing is printed
    study = studies(store)[-1]
    sheet = TABLES.get("table1")().build(study)
    assert sheet is not None
    assert sheet.row_keys[0] == "teacher"
    assert "The teacher was taken as it was given; it was not fine-tuned here." in sheet.notes
    words = reproduce.cell_command(study.of("kd", "rte"), study)
    assert "--teacher-is-finetuned" in words
    assert not any(word.startswith("teacher.") for word in words)


def test_its_settings_do_not_depend_on_the_students(tmp_path: Path) -> None:
    network = labelled(tmp_path, LABELS)
    save_bert(tmp_path / "student")
    sets = [f"student={tmp_path / 'student'}", f"teacher={network}", "teacher_is_finetuned=true"]
    made = plan(tmp_path, *sets, "student_lr=1e-3,2e-3", "batch_size=8,16", "epochs=1,2", methods="kd")
    assert len(made.cells) == 8
    assert [spec.training.epochs for spec in made.runs.values() if not spec.needs] == [0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("a", "b", "c"), "knows a, b, c, and the task's labels are entailment, not_entailment"),
        (("yes", "no"), "knows yes, no"),
        (("LABEL_1", "LABEL_0"), "knows LABEL_1, LABEL_0"),
    ],
)
def test_one_with_other_labels_is_refused(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        check(given(tmp_path, labelled(tmp_path, words)), [CPU])


def test_one_whose_labels_are_in_another_order_is_put_into_the_tasks(tmp_path: Path) -> None:
    network = labelled(tmp_path, LABELS[::-1])
    made = given(tmp_path, network)
    assert check(made, [CPU]) == [
        "model: its classifier is kept, put from the order not_entailment, entailment into entailment, not_entailment."
    ]
    before = load_file(network / "model.safetensors")["classifier.weight"]
    after = build_finetuned(teacher(made, "kd").student, LABELS, "eager")[0].classifier.weight
    assert (after.detach().numpy() == before[::-1]).all()


def test_one_whose_classes_have_no_words_is_taken_and_told(tmp_path: Path) -> None:
    made = given(tmp_path, labelled(tmp_path, ("LABEL_0", "LABEL_1")))
    assert check(made, [CPU]) == [
        "The classes of model have no words; they are taken to be entailment, not_entailment, in this order."
    ]
    assert build_finetuned(teacher(made, "kd").student, LABELS, "eager")[0].config.id2label == dict(enumerate(LABELS))


def test_one_that_gives_several_labels_is_taken_and_told(tmp_path: Path) -> None:
    network = labelled(tmp_path, LABELS)
    known = json.loads((network / "config.json").read_text())
    (network / "config.json").write_text(json.dumps({**known, "problem_type": "multi_label_classification"}))
    assert check(given(tmp_path, network), [CPU]) == [
        "model was trained to give a text several labels (multi_label_classification); here its logits are those of "
        "one."
    ]


def test_one_without_a_classifier_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    path = labelled(tmp_path, LABELS)
    AutoModelForSequenceClassification.from_pretrained(path).bert.save_pretrained(path)
    with pytest.raises(UserError, match=r"it lacks classifier\.bias, classifier\.weight"):
        check(given(tmp_path, path), [CPU])


def test_what_is_only_evaluated_keeps_what_matters_to_that() -> None:
    here = Training(epochs=9, batch_size=7, max_length=40, precision="bf16", train_rows=50, split_seed=2)
    kept = Training(epochs=0, recipe=1, max_length=40, precision="bf16", train_rows=50, split_seed=2)
    assert here.as_it_is() == kept


def on_a_terminal(folder: Path, arguments: Sequence[str], answer: str) -> tuple[int, str]:
    """Exit code and output of a command with a terminal, which answers."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kdbench", *arguments], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:  # the terminal is closed by its last user
        pass
    os.close(ours)
    return process.wait(timeout=60), said.decode()


@pytest.mark.slow
def test_on_a_terminal_it_asks_before_it_begins(tmp_path: Path) -> None:
    code, said = on_a_terminal(tmp_path, ["run"], "n\n")
    assert code == 0
    assert "84 runs to train" in said
    assert said.rstrip().endswith("Nothing was begun.")
    assert not (tmp_path / "results").exists()
    small = [part for pair in SMALL for part in ("--set", pair)]
    code, said = on_a_terminal(tmp_path, ["run", "--methods", "finetune", "--tasks", "rte", *small], "")
    assert code == 0
    assert "Train them?" not in said
    assert " trained, " in said
