"""Teacher and student with different tokenizers: each network reads the texts with its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from kdbench.core.errors import RunFailure, UserError
from kdbench.core.settings import Execution
from kdbench.core.spec import RunSpec
from kdbench.data.batches import Batch, collate
from kdbench.distill.method import Distillation
from kdbench.distill.method_registry import METHODS
from kdbench.models.trimmed_embedding import whole_embedding
from kdbench.planning import inputs
from kdbench.planning.cost_estimate import estimate_cost
from kdbench.planning.plan import Plan
from kdbench.planning.run_scale import RunScale
from kdbench.results.store import Store
from kdbench.training import preflight
from kdbench.training.conformance.small_run import networks
from kdbench.training.runner import execute
from kdbench.training.setup import Setup, prepare
from tests.kdbench.architectures import TOKENIZERS, bert, save
from tests.kdbench.small_runs import CPU, FEW, added_plugins, contents, plan, refusal, stop_and_resume, the_run, train
from tests.kdbench.toys import AskingForMaps, Hidden

SMALL = ["train_rows=32", "batch_size=8", "epochs=1", "eval_every=4", "max_length=64"]
slow = pytest.mark.slow


def of(
    folder: Path, *sets: str, student: str = "roberta", teacher: str = "bert", methods: str = "kd", **more: str
) -> Plan:
    """Return a plan with a student of two layers and a teacher of three, each with the tokenizer of its kind."""
    small = save(folder / f"student-{student}", student, num_hidden_layers=2)
    large = save(folder / f"teacher-{teacher}", teacher, num_hidden_layers=3)
    return plan(folder, *SMALL, f"student={small}", f"teacher={large}", *sets, methods=methods, **more)


def prepared(folder: Path, made: Plan, execution: Execution = CPU) -> Setup:
    """Train the runs that the plan's last run needs, and set that run up."""
    store, (*needed, last) = Store(folder / "r"), made.runs.values()
    for spec in needed:
        execute(spec, store, CPU, FEW)
    return prepare(last, store, execution, FEW)


def plain_logits(
    folder: Path, spec: RunSpec, rows: Sequence[int], weights: Any = None, split: str = "train"
) -> Tensor:  # fmt: skip
    """Compute logits [n, C] of rows of a split in plain transformers, one by one, with the folder's tokenizer."""
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).eval()
    if weights is not None:
        network.load_state_dict(weights)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    for texts in texts_of(spec, split, rows):
        coded = tokenizer(*texts, truncation=True, max_length=spec.training.max_length, return_tensors="pt")
        with torch.no_grad():
            found.append(network(**coded).logits)
    return torch.cat(found)


def texts_of(spec: RunSpec, split: str, rows: Sequence[int]) -> list[tuple[str, ...]]:
    examples = inputs.load_data(spec.task, spec.data).splits[split]
    return [(examples.text_a[row], *([examples.text_b[row]] if examples.text_b else [])) for row in rows]


@pytest.mark.parametrize(
    ("method", "sets", "micro_batch"),
    [
        ("kd", (), 0),
        pytest.param("kd", ("bucket=1",), 3, marks=slow),
        pytest.param("dml", (), 3, marks=slow),
        pytest.param("meta_distill", ("bucket=1",), 0, marks=slow),
    ],
)
def test_predictions_are_those_of_the_saved_student_in_plain_transformers(
    method: str, sets: tuple[str, ...], micro_batch: int, tmp_path: Path
) -> None:
    """For every run of the plan, so also for the fine-tuned teacher."""
    made, store = of(tmp_path, *sets, methods=method), Store(tmp_path / "r")
    train(made, store, CPU.model_copy(update={"micro_batch": micro_batch}))
    for spec in made.runs.values():
        stored = load_file(store.run(spec.id).path / "predictions.safetensors")["best/validation/logits"]
        rows = range(0, len(stored), len(stored) // 6)
        wanted = plain_logits(store.run(spec.id).model, spec, rows, split="validation")
        torch.testing.assert_close(stored[list(rows)].float(), wanted, atol=1e-5, rtol=0)


@slow
@pytest.mark.parametrize(
    ("method", "micro_batch"),
    [("dml", 0), ("prokt", 3), ("lgtm", 3), ("meta_distill", 3), ("pesf_kd", 0), ("pesf_kd_released", 3), ("pkd", 0),
     ("pkd", 3)],
)  # fmt: skip
def test_in_a_step_every_network_reads_the_tokens_of_its_own_tokenizer(
    method: str, micro_batch: int, tmp_path: Path
) -> None:
    setup = prepared(tmp_path, of(tmp_path, methods=method), CPU.model_copy(update={"micro_batch": micro_batch}))
    read: dict[str, list[Tensor]] = {"student": [], "teacher": []}
    for name, module in networks(setup).items():
        role = "student" if name == "student" else "teacher"
        if name != "adapter":
            module.register_forward_pre_hook(partial(note_tokens, read[role]), with_kwargs=True)
    setup.method.step(setup.train.at(0))
    for role, kind in (("student", "roberta"), ("teacher", "bert")):
        known = own_tokens(tmp_path / f"{role}-{kind}", setup.spec)
        rows = [tuple(row.tolist()) for ids in read[role] for row in ids]
        stripped = [strip(row, setup.train.tokens.for_tokenizer(key_of(setup, role)).format.pad_id) for row in rows]
        assert stripped or role == "teacher"
        assert set(stripped) <= known


def note_tokens(found: list[Tensor], _: Any, args: Any, given: dict[str, Any]) -> None:
    found.append(given["input_ids"])


def key_of(setup: Setup, role: str) -> str:
    return "" if role == "student" else next(iter(setup.train.tokens.others))


def strip(row: tuple[int, ...], padding: int) -> tuple[int, ...]:
    while row and row[-1] == padding:
        row = row[:-1]
    return row


def own_tokens(folder: Path, spec: RunSpec) -> set[tuple[int, ...]]:
    """Return the training rows as plain transformers encodes them with the folder's tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    size = len(inputs.load_data(spec.task, spec.data).splits["train"])
    return {
        tuple(tokenizer(*texts, truncation=True, max_length=spec.training.max_length)["input_ids"])
        for texts in texts_of(spec, "train", range(size))
    }


@slow
def test_the_student_is_saved_with_its_own_tokenizer(tmp_path: Path) -> None:
    """For every method, see tests/kdbench/test_encoders.py."""
    made, store = of(tmp_path), Store(tmp_path / "r")
    preflight.check(made, [CPU])
    train(made, store)
    saved = transformers.AutoTokenizer.from_pretrained(store.run(the_run(made).id).model)
    assert saved.get_vocab() == TOKENIZERS["roberta"]().get_vocab()


@slow
@pytest.mark.parametrize(
    ("teacher", "student"), [("bert", "roberta"), ("roberta", "distilbert"), ("gpt2", "bert"), ("bert", "xlnet")]
)
def test_a_frozen_teacher_gives_what_its_folder_gives_row_by_row(teacher: str, student: str, tmp_path: Path) -> None:
    """Looked up and computed, also for feedback; to 1e-5 in plain transformers."""
    made = of(tmp_path, teacher=teacher, student=student)
    preflight.check(made, [CPU])
    setup = prepared(tmp_path, made)
    folder, batch = Store(tmp_path / "r").run(setup.spec.needs["teacher"]).model, setup.train.at(0)
    wanted = plain_logits(folder, setup.spec, batch.index.tolist())
    frozen = setup.context.frozen_networks["teacher"]
    assert wanted.std(0).min() > 1e-3
    for asked in (batch, replace(batch, role="feedback"), replace(batch, labels=1 - batch.labels)):
        torch.testing.assert_close(frozen.logits(asked), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(frozen.outputs(batch).logits, wanted, atol=1e-5, rtol=0)
    own = plain_logits(tmp_path / f"student-{student}", setup.spec, batch.index.tolist(), student_weights(setup))
    with setup.context.learners["student"].mode(False):
        torch.testing.assert_close(setup.context.learners["student"].logits(batch), own, atol=1e-5, rtol=0)


def student_weights(setup: Setup) -> Any:
    return whole_weights(setup.context.learners["student"].module)


def whole_weights(module: torch.nn.Module) -> Any:
    with whole_embedding(module):  # with the rows of tokens that occur nowhere
        return {name: value.clone() for name, value in module.state_dict().items()}


@slow
@pytest.mark.parametrize("micro_batch", [0, 3])
def test_a_teacher_in_training_reads_its_own_tokens(micro_batch: int, tmp_path: Path) -> None:
    """In one pass and in micro-batches; also those of the feedback and of the probe."""
    made = of(tmp_path, "lgtm.zero_heads=false", methods="lgtm")
    setup = prepared(tmp_path, made, CPU.model_copy(update={"micro_batch": micro_batch}))
    teacher, probe = setup.context.learners["teacher"], setup.context.probe
    assert probe is not None
    for batch in (setup.train.at(0), setup.context.feedback(), probe):
        rows = batch.index.tolist()
        wanted = plain_logits(tmp_path / "teacher-bert", setup.spec, rows, whole_weights(teacher.module))
        torch.testing.assert_close(teacher.target_logits(batch), wanted, atol=1e-5, rtol=0)
    tokens, part = setup.tokens["train"], setup.roles.selection
    assert tokens.others.keys() == setup.train.tokens.others.keys()
    assert len(tokens) == len(next(iter(tokens.others.values())))
    assert part.split == "train"


@slow
def test_a_resumed_run_has_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    made, calm, store = of(tmp_path, methods="lgtm"), Store(tmp_path / "calm"), Store(tmp_path / "r")
    spec = the_run(made)
    train(made, calm)
    stop_and_resume(spec, store, 1)
    assert contents(store, spec.id) == contents(calm, spec.id)


@slow
@pytest.mark.parametrize("method", ["kd", "dml"])
def test_a_changed_batch_is_refused_by_the_teacher_alone(method: str, tmp_path: Path) -> None:
    setup = prepared(tmp_path, of(tmp_path, methods=method))
    teacher: Any = setup.method.teacher  # type: ignore[attr-defined]
    batch = setup.train.at(0)
    teacher.logits(batch)
    for changed in (
        replace(batch, input_ids=batch.input_ids.flip(0)),
        replace(batch, index=batch.index.flip(0)),
        Batch(batch.input_ids, batch.attention_mask, batch.token_type_ids, batch.labels, batch.index),
        collate(setup.train.tokens, setup.roles.train.rows[:4], CPU_DEVICE),
    ):
        changed.input_ids[0, 1:3] = changed.input_ids[0, 1:3].flip(0)
        setup.context.learners["student"].logits(changed)
        with pytest.raises(RunFailure, match=r"changed a batch.*choose models with one tokenizer"):
            teacher.logits(changed)


CPU_DEVICE = torch.device("cpu")


@slow
def test_tokens_of_the_teacher_that_were_changed_are_refused(tmp_path: Path) -> None:
    setup = prepared(tmp_path, of(tmp_path))
    (key,) = setup.train.tokens.others
    frozen, batch = setup.context.frozen_networks["teacher"], setup.train.at(0)
    batch.for_tokenizer(key).input_ids[0, 1] = 7
    with pytest.raises(RunFailure, match="changed a batch"):
        frozen.logits(batch)
    assert frozen.logits(setup.train.at(0)).shape == (len(batch), 2)


def test_a_method_that_changes_batches_is_refused_before_any_work(tmp_path: Path) -> None:
    with added_plugins(METHODS, augmenting=Augmenting), pytest.raises(UserError) as caught:
        preflight.check(of(tmp_path, methods="augmenting"), [CPU])
    assert "Method 'augmenting' cannot teach" in str(caught.value)
    assert "give that network the batch before the change" in str(caught.value)


@slow
@pytest.mark.parametrize(("name", "what"), [("maps", "attention maps"), ("hidden", "hidden states")])
def test_states_and_maps_of_every_token_are_refused(name: str, what: str, tmp_path: Path) -> None:
    with added_plugins(METHODS, maps=AskingForMaps, hidden=Hidden), pytest.raises(UserError) as caught:
        preflight.check(of(tmp_path, methods=name), [CPU])
    for part in (f"{what} of every token cannot be compared", "different tokenizers", "first_tokens=True"):
        assert part in str(caught.value)


@slow
def test_check_method_asks_for_one_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    student, teacher = save(tmp_path / "student", "roberta"), save(tmp_path / "teacher", "bert")
    sets = ("--set", f"student={student}", "--set", f"teacher={teacher}")
    assert "needs networks with one tokenizer" in refusal("check-method", "kd", *sets)


@slow
def test_runs_of_teachers_with_different_tokenizers_have_different_ids(tmp_path: Path) -> None:
    """Also where their weights are equal, and for a teacher that is trained along."""
    student = save(tmp_path / "student", "roberta")
    cased, lower = save(tmp_path / "cased", "bert", bert(do_lower_case=False)), save(tmp_path / "lower", "bert")
    for method in ("kd", "dml"):
        made = [plan(tmp_path, f"student={student}", f"teacher={large}", methods=method) for large in (cased, lower)]
        assert len({the_run(one).id for one in made}) == 2
    remarks = preflight.check_plan(made[0], [CPU])
    assert remarks == ["The tokenizers of student and cased differ (vocabulary); each reads the texts with its own."]


@slow
def test_where_tokenizers_are_equal_nothing_is_tokenised_twice(tmp_path: Path) -> None:
    made, store = of(tmp_path, student="electra", teacher="bert"), Store(tmp_path / "r")
    for spec in made.runs.values():  # not `train`, which copies a teacher where it can, and then tokenises nothing
        execute(spec, store, CPU, FEW)
    setup = prepare(the_run(made), store, CPU, FEW)
    assert setup.tokens["train"].others == {}
    assert len(list((store.cache / "tokens").glob("*.safetensors"))) == 4  # the files differ: two splits for each


@slow
def test_the_estimate_counts_each_network_s_own_lengths(tmp_path: Path) -> None:
    """A student's rows of letters are longer than a teacher's of words."""
    made = of(tmp_path, methods="dml")
    spec, store = the_run(made), Store(tmp_path / "r")
    scale = RunScale(made.runs, {(spec.task, spec.data.fingerprint): spec.data})
    tokens = prepare(spec, store, CPU, FEW).tokens["train"]
    assert spec.teacher is not None
    for ref, counted in ((spec.student, tokens), (spec.teacher, *tokens.others.values())):
        assert scale.tokens(spec, ref) == pytest.approx(counted.lengths.mean(), rel=0.02)
    assert estimate_cost(made, store).runs == 1


class Augmenting(Distillation):
    """Hides the second token from both networks."""

    title = "augmenting"

    def loss(self, batch: Batch) -> Tensor:
        hidden = batch.input_ids.clone()
        hidden[:, 1] = 5
        batch = replace(batch, input_ids=hidden)
        return (self.teacher.logits(batch) - self.student.logits(batch)).square().mean()
