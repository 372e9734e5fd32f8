"""A last layer for the first token alone gives what the whole layer gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.data.batches import Batch
from kdbench.hidden import View
from kdbench.models.build import load
from kdbench.plugins import METHODS
from kdbench.store import Store
from kdbench.training.first_token import install
from kdbench.training.learner import Learner
from kdbench.training.lookahead import forward_derivative, gradient
from kdbench.training.runner import execute
from tests.kdbench.bench import CPU, FEW, plan, refusal, the_run, train
from tests.kdbench.test_bad_input import save_bert
from tests.kdbench.test_pieces import CLOSE, CLOSE_32, a_batch, assert_close, derivatives, learner


def shortened(**given: Any) -> Learner:
    made = learner(0, **given)
    install(made.module)
    return made


def seen(made: Learner, batch: Batch) -> dict[str, Any]:
    """Logits, first tokens' states, gradients and forward-mode derivatives, without dropout."""
    view = View((1, 2))
    with made.mode(False):
        direction = {name: p.detach().cos() for name, p in made.named_params().items()}
        z = made.logits(batch)
        return {
            "logits": z, "view": view(made.outputs(batch, **view.asks)),
            "gradient": gradient(z.square().sum(), made.named_params()),
            "tangent": forward_derivative(made, direction, batch, view),
        }  # fmt: skip


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_it_gives_what_the_whole_layer_gives(attention: str) -> None:
    batch = a_batch()
    assert_close(seen(shortened(attention=attention), batch), seen(learner(0, attention=attention), batch), CLOSE)


def test_only_the_first_token_goes_through_the_last_layer() -> None:
    made, shapes = shortened(), []
    for layer in made.module.get_submodule("bert.encoder").layer:
        layer.output.dense.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape[1]))
    made.logits(a_batch(20))
    assert shapes == [20, 1]


@pytest.mark.parametrize("rows", [1, 5])
def test_a_batch_in_pieces_drops_the_same(rows: int) -> None:
    def made(rows: int) -> Learner:
        found = learner(rows)
        install(found.module)
        return found

    assert_close(derivatives(made(rows), a_batch()), derivatives(made(0), a_batch()), CLOSE)


def test_with_dropout_the_logits_have_the_same_distribution() -> None:
    """Means over draws agree within five standard errors, and so do the variances."""

    def drawn(made: Learner) -> Tensor:
        torch.manual_seed(0)
        with torch.no_grad():
            return torch.stack([made.logits(a_batch()).flatten() for _ in range(1500)])

    one, other = drawn(shortened()), drawn(learner(0))
    error = ((one.var(0) + other.var(0)) / len(one)).sqrt()
    assert ((one.mean(0) - other.mean(0)).abs() < 5 * error).all()
    assert torch.allclose(one.var(0), other.var(0), rtol=0.25)


@pytest.mark.parametrize("method", METHODS.all())
def test_every_method_trains_with_it_and_saves_a_plain_student(method: str, tmp_path: Path) -> None:
    made, store = plan(tmp_path, "last_layer=first", "epochs=1", methods=method), Store(tmp_path / "results")
    train(made, store)
    run = store.run(the_run(made).id)
    assert run.is_done()
    whole = load(run.model, attention="eager")
    assert whole.bert.encoder.layer[-1].forward.__func__ is type(whole.bert.encoder.layer[-1]).forward


def test_the_saved_student_gives_the_stored_predictions_in_plain_code(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from kdbench.training import workbench
    from kdbench.training.evaluate import all_logits

    made, store = plan(tmp_path, "last_layer=first", methods="finetune"), Store(tmp_path / "results")
    spec = the_run(made)
    execute(spec, store, CPU, FEW)
    tokens = workbench.tokens(store.cache, spec, "validation")
    module = load(store.run(spec.id).model, attention="eager")
    stored = load_file(store.run(spec.id).predictions)["best/validation/logits"]
    rows = torch.arange(len(tokens)).numpy()
    assert_close(all_logits(module, tokens, rows, torch.device("cpu")), stored, CLOSE_32)


def test_it_is_part_of_a_runs_identity(tmp_path: Path) -> None:
    ids = {the_run(plan(tmp_path, *sets, methods="kd")).id for sets in ([], ["last_layer=whole"], ["last_layer=first"])}
    assert len(ids) == 2


def test_another_architecture_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save_bert(tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "electra"}))
    asked = [
        "run",
        "--methods",
        "finetune",
        "--tasks",
        "rte",
        "--set",
        f"student={folder}",
        "--set",
        "last_layer=first",
    ]
    said = refusal(*asked)
    assert "last_layer=first is for BERTs" in said
    assert "electra" in said
    assert not (tmp_path / "results" / "runs").exists()
