"""Training without the embedding rows of tokens that occur in no text gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from kdbench.core.errors import Stopped
from kdbench.core.settings import Execution
from kdbench.core.spec import RunSpec
from kdbench.data.batches import Batch
from kdbench.distill.method_registry import METHODS
from kdbench.methods.finetune import Finetune
from kdbench.models.trimmed_embedding import KEPT, UnknownTokensError, trim, trimmed_embedding, whole_embedding
from kdbench.planning.make_plan import select_methods
from kdbench.results.store import Store
from kdbench.training.conformance.small_run import SmallRun, first_batches, make_steps, networks
from kdbench.training.runner import execute
from kdbench.training.setup import _may_trim, prepare
from tests.conftest import one_fast
from tests.kdbench.small_networks import a_batch, learner
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run, train

WHOLE = CPU.model_copy(update={"trim_embedding": False})
slow = pytest.mark.slow
TABLE = "bert.embeddings.word_embeddings.weight"


def is_trimmed(folder: Path, spec: RunSpec, execution: Execution = CPU) -> set[bool]:
    context = prepare(spec, Store(folder / "results"), execution, FEW).context
    return {trimmed_embedding(learner.module) is not None for learner in context.learners.values()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose teachers are shared by the methods."""
    return tmp_path_factory.mktemp("trimmed")


@pytest.mark.parametrize(
    ("method", "sets"),
    [
        *(pytest.param(*method.values, (), marks=method.marks) for method in one_fast(METHODS.all(), "kd")),
        pytest.param("lgtm", ("max_grad_norm=0.5", "lgtm.influence=fda", "lgtm.lookahead=adam"), marks=slow),
        pytest.param("lgtm", ("lgtm.influence_coef=match_aux:0.1",), marks=slow),
        pytest.param("meta_distill", ("precision=bf16", "max_grad_norm=0.5"), marks=slow),
        pytest.param("lgtm", ("lgtm.influence=weighted", "lgtm.teacher_start=finetuned"), marks=slow),
    ],
)  # fmt: skip
def test_every_method_leaves_the_same_bytes(method: str, sets: tuple[str, ...], folder: Path) -> None:
    made = plan(folder, "epochs=1", *sets, methods=method)
    stores = [Store(folder / name) for name in ("results", "whole")]
    for store, execution in zip(stores, (CPU, WHOLE), strict=True):
        train(made, store, execution)
    for spec in made.runs.values():
        assert contents(stores[0], spec.id) == contents(stores[1], spec.id)
    assert True in is_trimmed(folder, the_run(made))


def float64_steps(run: SmallRun, execution: Execution, count: int = 3) -> dict[str, Tensor]:
    """Make a run's first steps in float64; return every logged number, and weights and predictions of its networks."""
    setup = prepare(run.spec, run.store, execution, FEW)
    modules = {name: learner.module for name, learner in setup.context.learners.items()}
    for module in networks(setup).values():
        module.double()
    batches = first_batches(setup, count)
    seen = make_steps(setup, batches)
    found = {f"step {i}: {key}": value for i, logs in enumerate(seen.logs) for key, value in logs.items()}
    for name, module in modules.items():
        if hasattr(module, "config"):  # not an adapter, which reads no tokens
            assert (trimmed_embedding(module) is not None) == execution.trim_embedding
            found[f"{name}'s predictions"] = module.eval()(**batches[0].inputs).logits
        with whole_embedding(module):
            found |= {f"{name}: {key}": value.clone() for key, value in module.state_dict().items()}
    return found


@pytest.mark.parametrize("method", one_fast(select_methods("all"), "kd", "lgtm"))
def test_steps_in_float64_are_exactly_the_same(method: str, tmp_path: Path) -> None:
    """So it is the update that leaves the other rows alone, not a difference that float32 rounds away."""
    run = SmallRun(tmp_path, method, {})
    run.train_needs(run.store)
    trimmed, whole = (float64_steps(run, execution) for execution in (CPU, WHOLE))
    assert trimmed.keys() == whole.keys()
    assert {value.dtype for key, value in whole.items() if "student: " in key} == {torch.float64}
    assert [key for key, value in trimmed.items() if not torch.equal(value, whole[key])] == []


@pytest.mark.parametrize("setting", ["weight_decay=0.01", "compile=true"])
def test_all_rows_stay_where_they_may_be_needed(setting: str, tmp_path: Path) -> None:
    plain, spec = (the_run(plan(tmp_path, *sets, methods="finetune")) for sets in ((), (setting,)))
    assert is_trimmed(tmp_path, plain) == {True}
    assert not _may_trim(spec, CPU, torch.device("cpu"))
    assert not _may_trim(plain, CPU, torch.device("cuda"))


def test_a_table_that_something_else_reads_stays_whole() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
            self.head.weight = self.table.weight

        def get_input_embeddings(self) -> nn.Module:
            return self.table

    hooked = learner(0).module
    hooked.get_submodule("bert.embeddings.word_embeddings").register_forward_hook(lambda *_: None)
    for module in (Tied(), hooked, nn.Linear(2, 2)):
        trim(module, np.arange(3))
        assert trimmed_embedding(module) is None


def test_every_token_has_its_row_and_others_are_refused() -> None:
    made, whole, batch = learner(0), learner(0), a_batch()
    some = replace(batch, input_ids=batch.input_ids // 2 * 2)
    trim(made.module, np.arange(2, 50, 2))  # without the padding token, whose row stays
    with made.mode(False), whole.mode(False):
        assert torch.equal(made.logits(some), whole.logits(some))
        with pytest.raises(UnknownTokensError):
            made.logits(batch)
    assert made.module.get_parameter(TABLE).shape == (25, 32)


def test_the_whole_table_has_the_trained_rows() -> None:
    module, before = learner(0).module, learner(0).module.state_dict()
    trim(module, np.array([3, 7]))
    with torch.no_grad():
        module.get_parameter(TABLE)[1:] += 1  # row 0 is padding
    with whole_embedding(module):
        found = module.state_dict()
    assert list(found) == list(before)
    before[TABLE][[3, 7]] += 1
    assert torch.equal(found[TABLE], before[TABLE])


def interrupted(spec: RunSpec, store: Store, execution: Execution) -> set[str]:
    """Stop a run in its middle, and return the keys of its checkpoint."""
    asked = count(1)
    with pytest.raises(Stopped):
        execute(spec, store, execution, FEW, should_stop=lambda: next(asked) == 7)
    with safe_open(store.run(spec.id).checkpoint, "pt") as file:
        return set(file.keys())


@slow
@pytest.mark.parametrize(("first", "then"), [(CPU, CPU), (CPU, WHOLE), (WHOLE, CPU)])
def test_a_checkpoint_of_either_kind_is_resumed(first: Execution, then: Execution, tmp_path: Path) -> None:
    """Among them those of versions that kept all rows."""
    spec = the_run(plan(tmp_path, methods="finetune"))
    stores = [Store(tmp_path / name) for name in ("whole", "halves")]
    execute(spec, stores[0], WHOLE, FEW)
    keys = interrupted(spec, stores[1], first)
    assert (f"learner/student/module/{TABLE}{KEPT}" in keys) == first.trim_embedding
    execute(spec, stores[1], then, FEW)
    assert contents(stores[0], spec.id) == contents(stores[1], spec.id)


@slow
def test_a_method_that_makes_tokens_goes_on_with_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, spec = Finetune.loss, the_run(plan(tmp_path, methods="finetune"))

    def masked(method: Finetune, batch: Batch) -> Tensor:
        ids = batch.input_ids.clone()
        ids[:, 1] = 4  # [MASK], from the fourth step on
        return loss(method, replace(batch, input_ids=ids) if method.context.step > 2 else batch)

    monkeypatch.setattr(Finetune, "loss", masked)
    stores = [Store(tmp_path / name) for name in ("whole", "trimmed")]
    execute(spec, stores[0], WHOLE, FEW)
    execute(spec, stores[1], CPU.model_copy(update={"checkpoint_seconds": 0.0}), FEW)
    assert contents(stores[0], spec.id) == contents(stores[1], spec.id)
    assert "it goes on with all rows of the embeddings" in (stores[1].run(spec.id).path / "log.txt").read_text()
