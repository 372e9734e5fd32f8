"""A last layer for the first token alone gives what the whole layer gives."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.cli.app import app
from kdbench.core.errors import RunFailure
from kdbench.core.settings import Training
from kdbench.data.batches import Batch
from kdbench.data.splits import Part
from kdbench.distill.bilevel import gradient, jvp
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.hidden_states import FeatureView
from kdbench.distill.method_registry import METHODS
from kdbench.distill.trainable import ComputeSettings, TrainableModel
from kdbench.models import compilation
from kdbench.models.build import load
from kdbench.models.cls_only_layer import install
from kdbench.results.store import Store
from kdbench.training.runner import execute
from tests.conftest import one_fast
from tests.kdbench.architectures import save
from tests.kdbench.small_networks import CLOSE, CLOSE_32, a_batch, assert_close, derivatives, learner, no_tokens
from tests.kdbench.small_runs import CPU, FEW, plan, the_run, train


def shortened(**given: Any) -> TrainableModel:
    made = learner(0, **given)
    install(made.module)
    return made


def seen(made: TrainableModel, batch: Batch) -> dict[str, Any]:
    """Logits, first tokens' states, gradients and forward-mode derivatives, without dropout."""
    view = FeatureView((1, 2))
    with made.mode(False):
        direction = {name: p.detach().cos() for name, p in made.named_params().items()}
        z = made.logits(batch)
        return {
            "logits": z, "view": view(made.outputs(batch, **view.output_flags)),
            "gradient": gradient(z.square().sum(), made.named_params()),
            "tangent": jvp(made, direction, batch, view),
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
    def made(rows: int) -> TrainableModel:
        found = learner(rows)
        install(found.module)
        return found

    assert_close(derivatives(made(rows), a_batch()), derivatives(made(0), a_batch()), CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["attention.self.dropout", "attention.output.dropout", "output.dropout"])
def test_with_dropout_the_logits_have_the_same_distribution(place: str) -> None:
    """Of each dropout of the last layer alone: means over draws agree within five standard errors, as do variances."""
    batch, copies = a_batch(), 50
    many = batch.rows(torch.arange(len(batch)).repeat(copies))  # every row has masks of its own

    def drawn(made: TrainableModel) -> Tensor:
        for name, part in made.module.named_modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.2 if name.endswith(f"layer.1.{place}") else 0.0
        torch.manual_seed(0)
        with torch.no_grad():
            return torch.cat([made.logits(many).view(copies, -1) for _ in range(6)])

    one, other = drawn(shortened()), drawn(learner(0))
    error = ((one.var(0) + other.var(0)) / len(one)).sqrt()
    assert (error > 0).all()
    assert ((one.mean(0) - other.mean(0)).abs() < 5 * error).all()
    ratio, its_error = one.var(0) / other.var(0), (4 / len(one)) ** 0.5
    assert ((ratio - 1).abs() < 5 * its_error).all()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Results whose teachers are shared by the methods."""
    return Store(tmp_path_factory.mktemp("first") / "results")


@pytest.mark.parametrize("method", one_fast(METHODS.all(), "lgtm"))
def test_every_method_trains_with_it_and_saves_a_plain_student(method: str, store: Store, tmp_path: Path) -> None:
    made = plan(tmp_path, "last_layer=first", "epochs=1", methods=method)
    train(made, store)
    run = store.run(the_run(made).id)
    assert run.is_done()
    whole = load(run.model, attention="eager")
    assert whole.bert.encoder.layer[-1].forward.__func__ is type(whole.bert.encoder.layer[-1]).forward


def test_the_saved_student_gives_the_stored_predictions_in_plain_code(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from kdbench.models.inference import all_logits
    from kdbench.planning import inputs

    made, store = plan(tmp_path, "last_layer=first", methods="finetune"), Store(tmp_path / "results")
    spec = the_run(made)
    execute(spec, store, CPU, FEW)
    tokens = inputs.load_tokens(store.cache, spec, "validation")
    module = load(store.run(spec.id).model, attention="eager")
    stored = load_file(store.run(spec.id).predictions)["best/validation/logits"]
    rows = torch.arange(len(tokens)).numpy()
    assert_close(all_logits(module, tokens, rows, torch.device("cpu")), stored, CLOSE_32)


def test_it_is_part_of_a_runs_identity(tmp_path: Path) -> None:
    ids = {the_run(plan(tmp_path, *sets, methods="kd")).id for sets in ([], ["last_layer=whole"], ["last_layer=first"])}
    assert len(ids) == 2


@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize("asked", [{"output_attentions": True}, {"output_hidden_states": True}])
def test_a_reader_gets_all_that_it_asks_for(asked: dict[str, bool], rows: int) -> None:
    """Of every layer and token, as from the whole network, in pieces, at other parameters, and when frozen."""
    batch = a_batch()
    made, whole = learner(rows), learner(0)
    install(made.module)
    compute = ComputeSettings(torch.device("cpu"), rows)
    frozen = FrozenTeacher(shortened().module, no_tokens(), Part("train", np.arange(0)), compute)
    with made.mode(False), whole.mode(False):
        wanted = whole.outputs(batch, **asked)
        found = [
            made.outputs(batch, **asked), made.outputs_at(made.named_params(), batch, **asked),
            frozen.outputs(batch, **asked),
        ]  # fmt: skip
        for out in found:
            for name in ("logits", "attentions", "hidden_states"):
                assert (out.get(name) is None) == (wanted.get(name) is None)
                assert_close(out.get(name), wanted.get(name), CLOSE)
        states = made.outputs(batch, output_hidden_states=True, first_tokens=True).hidden_states
    assert [state.shape[1] for state in states] == [20, 20, 1]


def test_one_pass_does_not_decide_about_the_next() -> None:
    """Nor does a pass in between about a piece that is made again in the backward pass."""
    made, batch = learner(5), a_batch()
    install(made.module)
    shapes: list[int] = []
    layer = made.module.get_submodule("bert.encoder").layer[-1]
    layer.output.dense.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape[1]))
    z = made.logits(batch)
    made.outputs(batch, output_attentions=True)
    z.sum().backward()
    assert shapes == [1] * 4 + [20] * 4 + [1] * 4


@pytest.mark.slow
def test_a_compiled_pass_gives_all_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    module = learner(0).module
    install(module)
    with compilation.allow_compilation(True):
        made = TrainableModel(module, lr=1e-3, length=9, training=Training(compile=True), device=torch.device("cpu"))
        with made.mode(False), torch.no_grad():
            maps = made.outputs(a_batch(), output_attentions=True).attentions
            few = made.outputs(a_batch(), output_hidden_states=True, first_tokens=True).hidden_states
            states = made.outputs(a_batch(), output_hidden_states=True).hidden_states
    assert [found.shape[2] for found in maps] == [20, 20]
    assert [found.shape[1] for found in few] == [20, 20, 1]
    assert [found.shape[1] for found in states] == [20, 20, 20]


def test_attention_maps_of_another_kernel_are_refused_with_the_way_out() -> None:
    for made in (learner(0, attention="sdpa"), shortened(attention="sdpa")):
        for ask in (made.outputs, partial(made.outputs_at, made.named_params())):
            with pytest.raises(RunFailure, match="attention=sdpa makes no attention maps; give --set attention=eager"):
                ask(a_batch(), output_attentions=True)


def test_another_architecture_computes_its_whole_last_layer_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path / "small", "electra")
    asked = ["finetune", "--tasks", "rte", *(f"--set={key}" for key in ("epochs=1", "train_rows=32", "jobs=1"))]
    assert not app(
        ["run", "--methods", *asked, f"--set=student={folder}", "--set=last_layer=first"], standalone_mode=False
    )
    assert "last_layer=first is for BERTs" in capsys.readouterr().out
    (run,) = (tmp_path / "results" / "runs").iterdir()
    assert "a network of type electra computes all of its last layer" in (run / "log.txt").read_text()
