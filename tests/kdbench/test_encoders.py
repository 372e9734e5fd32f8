"""Every method with every encoder as teacher and student: it trains, or is refused before anything is trained.

A column is one pair of encoders. Its methods share a results folder, and so the fine-tuned teacher.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from kdbench.core.errors import UserError
from kdbench.core.spec import RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.distill.bilevel import jvp
from kdbench.distill.hidden_states import FeatureView
from kdbench.planning import inputs
from kdbench.planning.make_plan import select_methods
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.tasks.rte import Rte
from kdbench.training import preflight
from kdbench.training.conformance import suite
from kdbench.training.runner import execute
from kdbench.training.setup import prepare
from tests.kdbench.architectures import save
from tests.kdbench.small_runs import CPU, FEW, added_plugins, contents, plan, stop_and_resume, the_run, train

ENCODERS = (
    "bert", "roberta", "distilbert", "electra", "albert", "deberta-v2", "deberta-v3", "modernbert", "mpnet",
    "xlm-roberta",
)  # fmt: skip
# teacher and student
MIXED = (
    ("roberta", "bert"), ("bert", "distilbert"), ("albert", "bert"), ("deberta-v3", "xlm-roberta"),
    ("modernbert", "albert"), ("mpnet", "electra"),
)  # fmt: skip
# methods that look into a network: at its states, its layers, or derivatives of its passes
READING = ("dml", "lgtm", "meta_distill", "pesf_kd", "pkd", "takd")
# what is refused, by teacher and method; all else trains
REFUSED = {("albert", "takd"): "a network of type albert has one set of weights for them all; name a whole model"}
# methods by encoder: each encoder has one, and each method an encoder other than BERT
SAMPLE = {
    "roberta": ("dist",), "distilbert": ("pkd",), "electra": ("takd", "kd"), "albert": ("takd", "dml"),
    "deberta-v2": ("meta_distill",), "deberta-v3": ("lgtm",), "modernbert": ("pesf_kd",), "mpnet": ("prokt",),
    "xlm-roberta": ("rco", "skd"),
}  # fmt: skip
ELSEWHERE = {"bert": "most tests", "finetune": "tests/kdbench/test_architectures.py"}  # later methods: tests/models
CELLS = sorted((encoder, method) for encoder, methods in SAMPLE.items() for method in methods)
FAST = {("roberta", "dist"), ("albert", "dml"), ("mpnet", "prokt"), ("modernbert", "pesf_kd")}
SETS = ("train_rows=32", "batch_size=8", "epochs=1", "eval_every=4", "max_length=48", "student_lr=1e-3")
slow = pytest.mark.slow


class Brief(Rte):
    """A few synthetic rows of RTE."""

    title = "Brief"
    recipe = replace(Rte.recipe, train_rows=48, report_rows=8)
    official_rows: Any = {}

    def score(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        right = [a == b for a, b in zip(predictions, references, strict=True)]
        return {"accuracy": sum(right) / len(right)}


@pytest.fixture(autouse=True)
def brief() -> Iterator[None]:
    with added_plugins(TASKS, brief=Brief):
        yield
    inputs.load_data.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the networks and results of all tests."""
    return tmp_path_factory.mktemp("encoders")


def column(folder: Path, teacher: str, student: str, methods: Iterable[str]) -> Plan:
    """Plan a student of two layers and a teacher of three."""
    large, small = folder / f"{teacher}-3", folder / f"{student}-2"
    for path, kind, layers in ((large, teacher, 3), (small, student, 2)):
        if not path.exists():
            save(path, kind, num_hidden_layers=layers)
    asked = ",".join(methods)
    return plan(folder, *SETS, f"student={small}", f"teacher={large}", methods=asked, tasks="brief")


def check_column(folder: Path, teacher: str, student: str, methods: Iterable[str]) -> None:
    """Train the methods that fit; see the others refused in the expected words, without a run."""
    words = {method: REFUSED.get((teacher, method)) for method in methods}
    store = Store(folder / f"{teacher}-{student}")
    before = len(list(store.runs()))
    for method, expected in words.items():
        if expected:
            with pytest.raises(UserError, match=expected):
                preflight.check(column(folder, teacher, student, [method]), [CPU], store)
            assert len(list(store.runs())) == before
    if fit := [method for method, expected in words.items() if not expected]:
        made = column(folder, teacher, student, fit)
        preflight.check(made, [CPU], store)
        train(made, store)
        for cell in made.cells:
            check_student(made.runs[cell.run], store)


def check_student(spec: RunSpec, store: Store) -> None:
    """Check that training moved the weights, and that plain transformers predicts what the run stored, to 1e-5."""
    run = store.run(spec.id)
    start, end = (load_file(folder / "model.safetensors") for folder in (Path(spec.student.name), run.model))
    moved = [not torch.equal(value, start[name]) for name, value in end.items()]
    assert sum(moved) > 0.9 * len(moved), spec.method
    network = transformers.AutoModelForSequenceClassification.from_pretrained(run.model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.model)
    rows = inputs.load_data(spec.task, spec.data).splits["validation"]
    given = tokenizer(rows.text_a, rows.text_b, padding=True, truncation=True, max_length=48, return_tensors="pt")
    stored = load_file(run.path / "predictions.safetensors")["best/validation/logits"]
    assert stored.std(0).min() > 1e-3, spec.method  # else anything would be equal
    with torch.no_grad():
        torch.testing.assert_close(network(**given).logits, stored, atol=1e-5, rtol=0, msg=spec.method)


@pytest.mark.parametrize(
    ("encoder", "method"), [pytest.param(*cell, marks=() if cell in FAST else slow) for cell in CELLS]
)
def test_a_sample_of_methods_and_encoders(encoder: str, method: str, folder: Path) -> None:
    check_column(folder, encoder, encoder, [method])


def test_the_sample_has_every_method_and_encoder() -> None:
    trained = {cell for cell in CELLS if cell not in REFUSED}
    assert {encoder for encoder, _ in trained} == {*ENCODERS} - ELSEWHERE.keys()
    assert {method for _, method in trained} == select_methods("all").keys() - ELSEWHERE.keys()


@slow
@pytest.mark.parametrize(("teacher", "student"), [*((name, name) for name in ENCODERS), *MIXED])
def test_all_methods(teacher: str, student: str, tmp_path: Path) -> None:
    """Train those that look into the networks; make a first step of those to which logits are logits."""
    check_column(tmp_path, teacher, student, READING)
    preflight.check(column(tmp_path, teacher, student, select_methods("all").keys() - {*READING}), [CPU])


def test_an_assistant_that_is_named_needs_no_layers(folder: Path) -> None:
    teacher = save(folder / "albert-teacher", "albert")
    sets = (f"student={teacher}", f"teacher={teacher}", f"takd.assistants={teacher}")
    preflight.check(plan(folder, *SETS, *sets, methods="takd", tasks="brief"), [CPU])


@slow
@pytest.mark.parametrize(("encoder", "method"), [cell for cell in CELLS if cell not in REFUSED])
def test_a_run_stopped_half_way_and_resumed_has_the_bytes_of_an_undisturbed_one(
    encoder: str, method: str, folder: Path
) -> None:
    made, store = column(folder, encoder, encoder, [method]), Store(folder / f"{encoder}-{encoder}")
    train(made, store)
    again, spec = Store(folder / f"{encoder}-{method}-again"), the_run(made)
    for needed in (run for run in made.runs.values() if run.id != spec.id):
        execute(needed, again, CPU, FEW)
    stop_and_resume(spec, again, 2)
    assert contents(again, spec.id) == contents(store, spec.id)


@slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_checks_of_a_method_hold(encoder: str, tmp_path: Path) -> None:
    """Those of the networks: what learns, what is frozen, what the gradient is at the method's limits."""
    sets = {"student": str(save(tmp_path / "s", encoder)), "teacher": str(save(tmp_path / "t", encoder))}
    only = ("gradient", "frozen", "modes", "labels only")
    found = list(suite.examine(tmp_path / "runs", "kd", sets=sets, only=only))
    assert {finding.check.name: finding.text for finding in found} == dict.fromkeys(only, "")
    assert {finding.verdict for finding in found} == {"passed"}


@slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_forward_mode_derivatives_are_those_of_differences(encoder: str, folder: Path) -> None:
    """Of logits and first-token states, which LGTM and Meta Distill use; in float64 where the network is."""
    setup = prepare(the_run(column(folder, encoder, encoder, ["lgtm"])), Store(folder / encoder), CPU, FEW)
    student, batch, view = setup.context.learners["student"], setup.train.at(0), FeatureView((1,))
    student.module.double()
    params = student.named_params()
    direction = {name: torch.randn_like(value) for name, value in params.items()}
    with student.mode(False), torch.no_grad():
        _, found = jvp(student, direction, batch, view)
        sides = []
        for step in (1e-4, -1e-4):
            moved = {name: value + step * direction[name] for name, value in params.items()}
            sides.append(view(student.outputs_at(moved, batch, **view.output_flags)))
    wanted = (sides[0] - sides[1]) / 2e-4
    assert float((found - wanted).norm() / wanted.norm()) < 1e-4
