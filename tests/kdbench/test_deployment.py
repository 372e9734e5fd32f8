"""Trained networks measured, exported and probed: numbers by hand, and folders that other libraries load."""

from __future__ import annotations

import io
import json
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from kdbench.analysis.deploy import Deploy
from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.data.declared_rows import LabelledRow
from kdbench.data.labelled_file import match_labels, read_labelled_file
from kdbench.data.perturbations import perturb
from kdbench.data.task import Examples
from kdbench.planning.inputs import load_data
from kdbench.reporting.probe_rows import ProbeRequest, probe_tables
from kdbench.reporting.study_choice import EVERYTHING
from kdbench.results import deployment
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import read, studies
from kdbench.results.store import Store
from kdbench.results.study import Run
from kdbench.training.deployment import measure
from kdbench.training.saved_network import load_network
from tests.kdbench.small_runs import SMALL, refusal

onnxruntime = pytest.importorskip("onnxruntime")
SETS = [word for pair in [*SMALL, "epochs=1", "max_length=32"] for word in ("--set", pair)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `results`: a teacher and a student of KD on RTE."""
    path = tmp_path_factory.mktemp("deployed")
    arguments = ["run", "--methods", "kd", "--tasks", "rte", "--results", str(path / "results"), "--device", "cpu"]
    assert not app([*arguments, *SETS], standalone_mode=False)
    return path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def student(folder: Path) -> Run:
    store = Store(folder / "results")
    return next(read(one, one.spec) for one in store.runs() if "-kd-" in one.id)


def stored_logits(run: Run) -> np.ndarray:
    from safetensors.numpy import load_file

    return load_file(run.folder.predictions)["best/validation/logits"]


@pytest.fixture(scope="module")
def measured(folder: Path) -> Store:
    arguments = ["measure", "kd", "--seconds", "0", "--results", str(folder / "results")]
    assert not app(arguments, standalone_mode=False)
    return Store(folder / "results")


def test_what_is_measured_is_what_the_network_is(measured: Store, folder: Path) -> None:
    run = student(folder)
    found = deployment.read_deployment(run)
    network = load_network(run, torch.device("cpu")).module
    assert found.parameters == sum(p.numel() for p in network.parameters())
    tables = [m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.Embedding)]
    assert found.embeddings == sum(tables)
    # products of a BERT of two layers of 32: per token 4 h^2 of attention and 2 h (2 h) around it, and L h twice
    h, length = 32, round(found.length)
    layer = 2 * length * (4 * h * h + 2 * h * 2 * h) + 2 * 2 * length * length * h
    assert found.flops == 2 * layer + 2 * h * h + 2 * h * 2
    assert list(found.forms) == ["torch", "onnx", "int8"]
    right = stored_logits(run).argmax(1) == load_data("rte", run.spec.data).splits["validation"].labels
    for name in ("torch", "onnx"):
        assert found.forms[name].scores == {"validation": {"accuracy": pytest.approx(right.mean())}}
        assert found.forms[name].agreement[0] == 1.0
        assert found.forms[name].change == (0.0, 0.0, 0.0)
    int8 = found.forms["int8"]
    assert int8.bytes < 0.7 * found.forms["onnx"].bytes
    change = 100 * (int8.scores["validation"]["accuracy"] - right.mean())
    assert int8.change[0] == pytest.approx(change)
    assert int8.change[1] <= change <= int8.change[2]
    for form in found.forms.values():
        assert list(form.latency) == [1, 32]
        assert all(0 < one.p50 <= one.p95 and one.batches >= measure.FEWEST for one in form.latency.values())
        assert form.throughput > 0


def test_the_table_has_the_teacher_beside_the_student(measured: Store, tmp_path: Path) -> None:
    (sheet,) = Deploy().sheets(studies(measured))
    assert [row[0].text for row in sheet.rows] == [
        "Teacher", "  ONNX", "  ONNX int8", "KD", "  ONNX", "  ONNX int8",
    ]  # fmt: skip
    assert sheet.rules == {3}
    assert any(note.startswith("Measured on: ") and note.endswith("1 thread.") for note in sheet.notes)
    kept = collect_study("kept", [measured], tmp_path / "kept", None)
    (again,) = Deploy().sheets(studies(kept))
    assert again.records == sheet.records


def test_networks_are_measured_once(measured: Store, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = deployment.read_deployment(student(folder))
    app(["measure", "all", "--results", str(folder / "results")], standalone_mode=False)
    assert capsys.readouterr().out.count("measured before") == 2
    assert deployment.read_deployment(student(folder)) == before


def test_the_figure_has_a_point_for_each_form(measured: Store) -> None:
    from kdbench.analysis.figure_pareto import FigurePareto

    picture = FigurePareto().build_panels(studies(measured)[0], ["rte"])
    assert [panel.x_label for panel in picture.panels] == ["1 row, p50 (ms)", "Size (MB)"]
    assert [len(curve.steps) for panel in picture.panels for curve in panel.curves] == [3, 3, 3, 3]


@pytest.mark.parametrize("form", ["onnx", "int8", "hf"])
def test_an_exported_folder_answers_without_kdbench(here: Path, form: str) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    run = student(here)
    app(["export", run.id, "--format", form, "--out", f"out-{form}"], standalone_mode=False)
    folder = here / f"out-{form}"
    examples = load_data("rte", run.spec.data).splits["validation"]
    coded = AutoTokenizer.from_pretrained(folder)(
        list(examples.text_a[:20]), list(examples.text_b[:20]), truncation=True, max_length=32, padding=True,
        return_tensors="np",
    )  # fmt: skip
    if form == "hf":
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        logits = model(**{key: torch.from_numpy(some) for key, some in coded.items()}).logits.detach().numpy()
    else:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        logits = session.run(None, dict(coded))[0]
    np.testing.assert_allclose(logits, stored_logits(run)[:20], atol=0.1 if form == "int8" else 1e-5)
    card = (folder / "README.md").read_text()
    right = 100 * np.mean(
        stored_logits(run).argmax(1) == load_data("rte", run.spec.data).splits["validation"].labels
    )  # fmt: skip
    for words in ("# KD on RTE", f"| accuracy, validation | {right:.1f} % |", "95 % interval", run.id, "## Licences",
                  "pipeline_tag: text-classification", "Made data"):  # fmt: skip
        assert words in card
    assert ("before the weights were rounded" in card) == (form == "int8")
    assert "is there already" in refusal("export", run.id, "--format", form, "--out", f"out-{form}")


def test_without_the_packages_a_sentence_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.training.deployment import forms

    monkeypatch.setattr(forms, "PACKAGES", ("onnx", "no_such_package"))
    said = refusal("export", student(here).id, "--out", "never")
    assert said == "ONNX needs packages that are not installed: pip install -c constraints.txt -e '.[deploy]'"
    assert not Path("never").exists()
    assert "Unknown format 'tflite'" in refusal("export", student(here).id, "--format", "tflite")


def probed(folder: Path, file: str = "", labels: str = "", names: str = "kd", perturb: tuple[str, ...] = ()) -> list:
    rows: list[LabelledRow] = read_labelled_file(file) if file else []
    request = ProbeRequest(names, file, rows, labels, perturb, 0, 0.5, "cpu")
    (sheet,) = probe_tables(Store(folder / "results"), EVERYTHING, request)
    console = Console(file=io.StringIO())
    console.print(sheet.notes)
    return sheet.records


def test_the_reported_rows_as_another_file_lose_nothing(here: Path) -> None:
    """HANS-like: two labels, one of them of several classes, is accuracy over these."""
    run = student(here)
    examples = load_data("rte", run.spec.data).splits["validation"]
    names = ("entailment", "not entailment")
    lines = [
        {"premise": a, "hypothesis": b, "label": names[label]}
        for a, b, label in zip(examples.text_a, examples.text_b, examples.labels, strict=True)
    ]
    Path("other.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    right = 100 * float(np.mean(stored_logits(run).argmax(1) == examples.labels))
    own, other = probed(here, "other.jsonl")
    assert own["score"] == pytest.approx(right)
    assert (other["part"], other["score"], other["drop"]) == ("file", pytest.approx(right), pytest.approx(0))
    assert other["drop_low"] < 0 < other["drop_high"]  # other items, as far as anybody knows
    # labels exchanged by a mapping: every right answer is wrong
    train = load_data("rte", run.spec.data).splits["train"]
    seen = {"premise": train.text_a[0], "hypothesis": (train.text_b or [""])[0], "label": "entailment"}
    Path("seen.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*lines, seen)))
    request = ProbeRequest("kd", "seen.jsonl", read_labelled_file("seen.jsonl"), "", (), 0, 0.5, "cpu")
    (sheet,) = probe_tables(Store(here / "results"), EVERYTHING, request)
    assert f"seen.jsonl: {len(lines) + 1:,} rows, of which 1 have a text that is in train." in sheet.notes
    # labels that are numbers are those of the classes, which is said
    numbered = [line | {"label": names.index(str(line["label"]))} for line in lines]
    Path("numbers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in numbered))
    request = ProbeRequest("kd", "numbers.jsonl", read_labelled_file("numbers.jsonl"), "", (), 0, 0.5, "cpu")
    (sheet,) = probe_tables(Store(here / "results"), EVERYTHING, request)
    assert sheet.records[1]["score"] == pytest.approx(right)
    assert "Labels of numbers.jsonl are the numbers of classes: 0 = entailment, 1 = not_entailment." in sheet.notes
    _, turned = probed(here, "other.jsonl", "entailment=not_entailment,not entailment=entailment")
    assert turned["score"] == pytest.approx(100 - right)


def test_changed_texts_are_paired_with_their_originals(here: Path) -> None:
    own, case, typos = probed(here, perturb=("case", "typos"))
    assert case["drop"] == case["drop_low"] == case["drop_high"] == 0  # the tokenizer writes everything small
    assert typos["drop"] == pytest.approx(own["score"] - typos["score"])
    same = probed(here, names=student(here).id, perturb=("typos",))
    assert (same[1]["score"], same[1]["drop_low"]) == (typos["score"], typos["drop_low"])


def test_tasks_of_numbers_are_named_where_they_are_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--methods", "finetune", "--tasks", "rte,stsb", "--results", "numbers", "--device", "cpu"]
    assert not app([*arguments, *SETS], standalone_mode=False)
    capsys.readouterr()
    assert not app(["measure", "all", "--seconds", "0", "--results", "numbers"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "Left out, for it has numbers and no classes: STS-B." in said
    assert "[1/1] rte-finetune" in said
    request = ProbeRequest("all", "", (), "", ("case",), 0, 0.5, "cpu")
    (sheet,) = probe_tables(Store(here / "numbers"), EVERYTHING, request)
    assert "Left out, for it has numbers and no classes: STS-B." in sheet.notes
    (run,) = [one.id for one in Store(here / "numbers").runs() if "stsb" in one.id]
    with pytest.raises(UserError, match="predicts numbers, and a probe is about classes"):
        probe_tables(Store(here / "numbers"), EVERYTHING, replace(request, names=run))


def test_labels_of_a_file_are_matched() -> None:
    classes = ("entailment", "neutral", "contradiction")
    view = match_labels(classes, ["contradiction", "Entailment"])
    assert (view.is_whole, view.of_label) == (True, {"contradiction": 2, "Entailment": 0})
    assert match_labels(("no", "yes"), ["0", "1"]).of_label == {"0": 0, "1": 1}
    # classes that are numbers or differ in punctuation alone are not mistaken for others
    signs = ("-1", "0", "1")
    assert match_labels(signs, ["0", "1"]).of_label == {"0": 1, "1": 2}
    assert match_labels(("c++", "c"), ["c", "c++"]).of_label == {"c": 1, "c++": 0}
    with pytest.raises(UserError, match="such as --labels 0=CLASS,1=1,2=2"):
        match_labels(("1", "2", "3"), ["0", "1", "2"])
    with pytest.raises(UserError, match="such as --labels 1=CLASS,2=CLASS"):  # perhaps counted from 1
        match_labels(classes, ["1", "2"])
    hans = ["entailment", "non-entailment"]
    joined = match_labels(classes, hans, "entailment=entailment,non-entailment=neutral+contradiction")
    assert (joined.names, joined.of_class, joined.is_whole) == (tuple(hans), (0, 1, 1), False)
    for labels, mapping, sentence in (
        (hans, "", "say which classes count as which label, such as --labels entailment=entailment,non-"),
        (hans, "entailment=entailment", "says nothing of the label 'non-entailment'"),
        (["neutral", "pos"], "", "such as --labels neutral=neutral,pos=CLASS"),
        (["x"], "x=other", "'other', which is no class of the task"),
        (["x"], "x=neutral", "must name each class of the task once"),
    ):
        with pytest.raises(UserError, match=sentence):
            match_labels(classes, labels, mapping)


def test_perturbations_are_small_and_repeatable() -> None:
    text = "Nobody, it seems, understood the question!"
    examples = Examples([text, "ab cde"], [text, "..."], [0, 1])
    typos = perturb(examples, "typos", 1, 1.0)
    assert typos.text_a[0] == typos.text_b[0] != text
    assert [sorted(word) for word in typos.text_a[0].split()] == [sorted(word) for word in text.split()]
    assert all(a[0] == b[0] and a[-1] == b[-1] for a, b in zip(typos.text_a[0].split(), text.split(), strict=True))
    assert typos.text_a[1] == "ab cde"  # words of three letters at most
    assert perturb(examples, "typos", 1, 1.0) == typos != perturb(examples, "typos", 2, 1.0)
    assert perturb(examples, "typos", 1, 0.0) == examples
    assert perturb(examples, "case", 0, 0.1).text_a == [text.upper(), "AB CDE"]
    bare = perturb(examples, "punctuation", 0, 0.1)
    assert bare.text_a[0] == "Nobody it seems understood the question"
    assert not set(bare.text_a[0]) & set(string.punctuation)
    assert bare.text_b[1] == "..."  # else nothing would be left
    with pytest.raises(UserError, match="Unknown perturbation 'typo'"):
        perturb(examples, "typo", 0, 0.1)
