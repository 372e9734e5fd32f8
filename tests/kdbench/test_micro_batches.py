"""Micro-batches: a batch in pieces gives what it gives whole, in less memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from kdbench.core.spec import RunSpec
from kdbench.data.batches import Batch
from kdbench.data.splits import Part
from kdbench.distill.bilevel import gradient, jvp
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.method_registry import METHODS
from kdbench.distill.trainable import ComputeSettings, TrainableModel
from kdbench.models.inference import EVAL_BATCH
from kdbench.models.micro_batches import run_in_micro_batches
from kdbench.results.store import Store
from kdbench.training.conformance.small_run import first_batches, make_steps, networks
from kdbench.training.runner import execute
from kdbench.training.setup import Setup, prepare
from tests.kdbench.small_networks import CLOSE, CLOSE_32, ROWS, a_batch, assert_close, derivatives, learner, no_tokens
from tests.kdbench.small_runs import CPU, FEW, plan, the_run, train

DIVIDED = (1, 5)  # 5 leaves a last piece of one row
CLOSE_16 = {"rtol": 0.05, "atol": 0.02}  # bfloat16 has 2 to 3
NOTHING = FEW.model_copy(update={"influence_samples": 0})  # following samples is a pass more; a whole run has it
FORMS = [name for method, kind in METHODS.all().items() for name in (method, *kind.variants)]


def settings(rows: int) -> Any:
    return CPU.model_copy(update={"micro_batch": rows})


def rows_of_passes(module: nn.Module) -> list[int]:
    """A list that grows by one number with every pass."""
    sizes: list[int] = []
    module.register_forward_pre_hook(lambda _, __, given: sizes.append(len(given["input_ids"])), with_kwargs=True)
    return sizes


# Every method


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("trained") / "results")


def ready(form: str, store: Store) -> RunSpec:
    """A run of one form of a method, with what it needs trained."""
    sets = ("lgtm.zero_heads=false", "prokt.zero_heads=false", "epochs=1", "train_rows=80")
    made = plan(store.root.parent, *sets, methods=form)
    spec = the_run(made)
    for needed in made.runs.values():
        if needed.id != spec.id:
            execute(needed, store, CPU, FEW)
    return spec


def one_step(setup: Setup) -> dict[str, Any]:
    """What is logged, all gradients, all weights after it, and where the generator stands."""
    for module in networks(setup).values():
        module.double()
    seen = make_steps(setup, first_batches(setup, 1))
    weights = {name: made.module.state_dict() for name, made in setup.context.learners.items()}
    return {"logs": seen.logs, "gradients": seen.gradients, "weights": weights, "random": torch.get_rng_state()}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_method_makes_the_same_step(form: str, store: Store) -> None:
    spec = ready(form, store)
    whole = one_step(prepare(spec, store, CPU, NOTHING))
    assert len(whole["gradients"]["student"][0]) > 20
    assert_close(one_step(prepare(spec, store, settings(5), NOTHING)), whole, CLOSE)


@pytest.mark.parametrize("rows", [0, 4])
def test_the_setting_reaches_every_network(rows: int, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student that is trained, and a frozen teacher that is looked into in every step."""
    monkeypatch.setattr("kdbench.distill.frozen_teacher.MAX_TABLE_BYTES", 0)
    setup = prepare(ready("pesf_kd", store), store, settings(rows), FEW)
    seen = {name: rows_of_passes(networks(setup)[name]) for name in ("student", "frozen teacher")}
    setup.method.step(setup.train.at(0))
    once = [4, 4, 4, 4] if rows else [ROWS]
    tried = [EVAL_BATCH]  # to see how large a table of all rows would be
    assert seen == {
        "student": once + (once if rows else []),
        "frozen teacher": tried + once,
    }  # the student's again, backward


@pytest.mark.slow
def test_a_whole_run_ends_the_same(tmp_path: Path) -> None:
    """Of the same name: the setting is no part of a run's identity."""
    runs = []
    for rows in (4, 0):
        made, store = plan(tmp_path, f"micro_batch={rows}", "epochs=1", methods="lgtm"), Store(tmp_path / str(rows))
        train(made, store, settings(rows))
        runs.append(store.run(the_run(made).id))
    divided, whole = runs
    assert divided.path.name == whole.path.name
    assert divided.result()["rows"] == whole.result()["rows"]
    for name in ("best", "last"):
        there, here = divided.result()[name], whole.result()[name]
        assert there["step"] == here["step"]
        assert there["selection"] == pytest.approx(here["selection"], rel=1e-5)
        assert there["report"]["validation"] == pytest.approx(here["report"]["validation"], rel=1e-5)
    assert_close(load_file(divided.predictions), load_file(whole.predictions), CLOSE_32)
    weights = [load_file(run.model / "model.safetensors") for run in (divided, whole)]
    assert_close(*weights, CLOSE_32)


# One network


@pytest.mark.parametrize("rows", [0, ROWS, 99])
def test_what_need_not_be_divided_is_one_plain_pass(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("divided")

    for name in ("_run_micro_batch", "_concatenate", "_generators"):
        monkeypatch.setattr(f"kdbench.models.micro_batches.{name}", never)
    derivatives(learner(rows), a_batch())
    with pytest.raises(AssertionError, match="divided"):
        derivatives(learner(ROWS - 1), a_batch())


@pytest.fixture
def dropped() -> Iterator[tuple[dict[str, list[Tensor]], Any]]:
    """What the dropout layers and the attention of a network set to zero, and a function that begins to watch it."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []

    def watch(module: nn.Module) -> None:
        seen.clear()
        for name, part in module.named_modules():
            if isinstance(part, nn.Dropout):
                hooks.append(part.register_forward_hook(lambda _, __, x, n=name: seen.setdefault(n, []).append(x == 0)))
            elif name.endswith("attention.self"):
                hooks.append(
                    part.register_forward_hook(lambda _, __, x, n=name: seen.setdefault(n, []).append(x[1] == 0))
                )

    yield seen, watch
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("rows", DIVIDED)
def test_dropout_draws_the_same_masks_forward_and_again(
    rows: int, dropped: tuple[dict[str, list[Tensor]], Any]
) -> None:
    """Bit for bit those of the undivided pass, when a piece is made and when it is made again."""
    seen, watch = dropped
    whole, divided = learner(0), learner(rows)
    watch(whole.module)
    derivatives(whole, a_batch())
    wanted = {name: masks[0] for name, masks in seen.items()}
    assert len(wanted) == 8  # embeddings, classifier, and of each layer attention and two outputs
    assert all(0.05 < float(mask.double().mean()) < 0.95 for mask in wanted.values())
    watch(divided.module)
    derivatives(divided, a_batch())
    count = -(-ROWS // rows)
    for name, masks in seen.items():
        assert len(masks) == 2 * count
        assert torch.equal(torch.cat(masks[:count]), wanted[name])
        assert torch.equal(torch.cat(masks[: count - 1 : -1]), wanted[name])  # the last piece comes back first


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dropout_itself_is_exact_in_every_type(dtype: torch.dtype) -> None:
    x = torch.randn(ROWS, 3, 5).to(dtype)

    def layer(x: Tensor) -> Tensor:
        fixed = functional.dropout(torch.ones(7, 3), 0.5)  # without rows: the same in every piece
        return functional.dropout(x, 0.3) * fixed.sum().to(dtype) + functional.dropout(x, p=0.9, training=True)

    torch.manual_seed(0)
    whole = layer(x)
    after = torch.get_rng_state()
    for rows in DIVIDED:
        torch.manual_seed(0)
        assert torch.equal(run_in_micro_batches(layer, {"x": x}, rows), whole)
        assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("rows", DIVIDED)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_gradients_and_generator(attention: str, rows: int) -> None:
    """sdpa too, whose masks nobody sees."""
    found, wanted = [], []
    for made, into in ((learner(rows, attention=attention), found), (learner(0, attention=attention), wanted)):
        into += [*derivatives(made, a_batch()), torch.get_rng_state(), made.target_logits(a_batch(), train=True)]
        into += [torch.get_rng_state(), made.target_logits(a_batch()), torch.get_rng_state()]
    assert_close(found, wanted, CLOSE)


def test_hidden_states_are_joined_and_what_is_absent_stays_absent() -> None:
    whole, divided = (learner(n).target_logits for n in (0, 5))
    assert_close(divided(a_batch()), whole(a_batch()), CLOSE)
    made = [learner(n) for n in (0, 5)]
    for m in made:
        m._set_mode(False)
    there, here = (m.outputs(a_batch(), output_hidden_states=True) for m in made)
    assert type(here) is type(there)
    assert here.keys() == there.keys() == {"logits", "hidden_states"}
    assert here.attentions is None
    assert [h.shape for h in here.hidden_states] == 3 * [(ROWS, 20, 32)]
    assert_close(here.hidden_states, there.hidden_states, CLOSE)


def test_a_piece_is_made_again_in_the_mode_that_it_was_made_in() -> None:
    """The block in which dropout was off, or on, is left before the backward pass."""
    for dropout in (False, True):
        grads = []
        for rows in (0, 5):
            made = learner(rows)
            made._set_mode(not dropout)
            torch.manual_seed(0)
            with made.mode(dropout):
                z = made.logits(a_batch())
            grads.append(gradient(z.square().mean(), made.named_params()))
            assert made.module.training is not dropout
        assert_close(grads[1], grads[0], CLOSE)


def test_gradients_of_parameters_put_in_place_and_several_backward_passes() -> None:
    """As in the look-ahead of LGTM and its loop over samples; the generator does not notice backward passes."""
    found = []
    for rows in (0, 5):
        made = learner(rows)
        sizes = rows_of_passes(made.module)
        ahead = {n: (p.detach() * 1.1).requires_grad_() for n, p in made.named_params().items()}
        torch.manual_seed(2)
        z = made.logits_at(ahead, a_batch())
        before = torch.get_rng_state()
        each = [gradient(z[i, 0], ahead, keep_graph=True) for i in (3, 15)]
        found.append([z, *each, gradient(z.square().sum(), ahead)])
        assert torch.equal(torch.get_rng_state(), before)
        assert all(p.grad is None for p in made.params)
        assert sizes == ([5, 5, 5, 1] + 3 * [1, 5, 5, 5] if rows else [ROWS])  # a pass, and three backward
    assert_close(found[1], found[0], CLOSE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dropout", [True, False])
def test_forward_mode_derivative(attention: str, dropout: bool) -> None:
    found = []
    for rows in (0, *DIVIDED):
        made = learner(rows, attention=attention)
        made._set_mode(dropout)
        torch.manual_seed(4)
        direction = {n: torch.randn_like(p) for n, p in made.named_params().items()}
        found.append([*jvp(made, direction, a_batch()), torch.get_rng_state()])
    assert float(found[0][1].abs().max()) > 0.1
    for divided in found[1:]:
        assert_close(divided, found[0], CLOSE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_piece_is_made_again_under_the_same_autocast(attention: str) -> None:
    """The backward pass is outside of it. Nearly equal only, but two draws of dropout are ten times as far apart."""
    found = []
    for rows in (0, 5):
        made = learner(rows, attention=attention, dtype=torch.float32)
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            z = made.logits(a_batch())
        found.append([z, gradient(z.square().sum(), made.named_params())])
    assert_close(found[1], found[0], CLOSE_16)


def test_what_the_classifier_of_a_frozen_network_reads_is_joined() -> None:
    from kdbench.distill.hidden_states import FeatureView

    module, part, read = learner(0).module, Part("train", np.arange(0)), no_tokens()
    whole, divided = (FrozenTeacher(module, read, part, ComputeSettings(torch.device("cpu"), rows)) for rows in (0, 5))
    found = [network.head_inputs(a_batch(), FeatureView((1,))) for network in (divided, whole)]
    assert found[0][0].shape == (ROWS, 32)
    assert found[0][1].shape == (ROWS, 2 + 32)
    assert_close(*found, CLOSE_32)


def peak(made: TrainableModel, batch: Batch) -> int:
    """The most bytes that tensors held at once, from the allocator's own records of a training pass."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        made.logits(batch).sum().backward()
    records = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for record in sorted(records, key=lambda e: e.start_ns()):
        held += record.nbytes()
        most = max(most, held)
    return most


@pytest.mark.slow
def test_memory_falls_with_the_rows_of_a_piece() -> None:
    """A fixed part remains: the gradients, and one mask of the whole batch."""
    whole, half, quarter, one = (peak(learner(rows, layers=4), a_batch(48)) for rows in (0, 8, 4, 1))
    assert half < 0.6 * whole
    assert quarter < 0.35 * whole
    assert one < 0.15 * whole
