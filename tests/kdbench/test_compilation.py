"""torch.compile: the same run but for the last bits, and no other for those who do not ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kdbench.core.errors import Stopped, UserError
from kdbench.core.spec import RunSpec
from kdbench.distill.context import seed_everything
from kdbench.models import compilation
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training import preflight
from kdbench.training.runner import execute
from kdbench.training.setup import numerics, prepare
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run, train

LAYERS = {"lgtm": 1, "pkd": 2}  # as few as may be: a compiler takes its time
# traced alike by every backend; "aot_eager" traces the backward pass as well
BACKENDS = {"lgtm": "aot_eager", "pkd": "eager"}
CLOSE = {"rtol": 1e-4, "atol": 1e-6}  # float32, added up in another order, through a few steps of AdamW


def asking(spec: RunSpec, *, wanted: bool = True) -> RunSpec:
    """The run, compiled, on the teachers of the one that is not."""
    return spec.model_copy(update={"training": spec.training.model_copy(update={"compile": wanted})})


def steps(spec: RunSpec, store: Store, count: int = 4) -> dict[str, Tensor]:
    """Weights of all trained networks after some steps, and the loss of each step."""
    setup = prepare(spec, store, CPU.model_copy(update={"trim_embedding": False}), FEW)  # as where it is compiled
    out: dict[str, Tensor] = {}
    with numerics(spec, setup.device, 1):
        for step in range(count):
            setup.context.step = step
            seed_everything(0, "step", step)
            out[f"loss {step}"] = setup.method.step(setup.train.at(step))["loss"].detach()
    for name, learner in setup.context.learners.items():
        out |= {f"{name} {key}": value for key, value in learner.module.state_dict().items()}
    return out


def ready(tmp_path: Path, *sets: str, method: str) -> tuple[RunSpec, Store]:
    """A run whose needs are trained, uncompiled."""
    size = f"tiny-{LAYERS.get(method, 1)}x32"
    sets = (f"student={size}", f"teacher={size}", "epochs=1", *sets)
    made, store = plan(tmp_path, *sets, methods=method), Store(tmp_path / "r")
    spec = the_run(made)
    train(Plan(made.preset, made.study, {k: v for k, v in made.runs.items() if k != spec.id}), store)
    return spec, store


@pytest.mark.slow
@pytest.mark.parametrize("method", LAYERS)
def test_a_method_makes_the_same_steps(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-aheads, forward mode, hidden states, dropout and batches of any length included.

    What is compiled is the same with every backend; these take torch's own kernels, and no minutes.
    """
    monkeypatch.setattr(compilation, "BACKEND", BACKENDS[method])
    spec, store = ready(tmp_path, method=method)
    torch._dynamo.utils.counters.clear()
    found = steps(asking(spec), store)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    torch.testing.assert_close(found, steps(spec, store), **CLOSE)


@pytest.mark.slow
def test_batches_of_many_lengths_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    spec, store = ready(tmp_path, method="finetune")
    setup = prepare(asking(spec), store, CPU, FEW)
    lengths = {setup.train.at(step).input_ids.shape for step in range(6)}
    torch._dynamo.utils.counters.clear()
    steps(asking(spec), store, count=6)
    assert len(lengths) > 2
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 5])
def test_a_pass_in_pieces_is_not_compiled(rows: int, tmp_path: Path) -> None:
    spec, store = ready(tmp_path, method="finetune")
    setup = prepare(asking(spec), store, CPU.model_copy(update={"micro_batch": rows}), FEW)
    seen: list[int] = []
    student = setup.context.learners["student"]
    student._network = lambda **inputs: seen.append(len(inputs["input_ids"])) or student.module(**inputs)
    batch = setup.train.at(0)
    student.logits(batch)
    assert seen == ([] if rows else [len(batch)])


@pytest.mark.slow
def test_a_compiled_run_can_be_stopped_and_is_close_to_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real compiler: bit for bit the same after an interruption, and in what it saves no other than a plain run."""
    # here, and not in processes that import torch first
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    spec, _ = ready(tmp_path, method="finetune")
    if found := compilation.compiler_problem("cpu"):
        pytest.skip(f"torch.compile does not work here: {found}")
    whole, halves, plain = (Store(tmp_path / name) for name in ("whole", "halves", "plain"))
    execute(spec, plain, CPU, FEW)
    spec = asking(spec)
    execute(spec, whole, CPU, FEW)
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        execute(spec, halves, CPU, FEW, should_stop=lambda: next(asked))
    execute(spec, halves, CPU, FEW)
    assert contents(whole, spec.id) == contents(halves, spec.id)
    weights = [
        load_file(store.run(run).model / "model.safetensors")
        for store, run in ((whole, spec.id), (plain, asking(spec, wanted=False).id))
    ]
    torch.testing.assert_close(*weights, **CLOSE)


def test_who_does_not_ask_has_the_run_that_was_there_before(tmp_path: Path) -> None:
    spec = the_run(plan(tmp_path, methods="finetune"))
    assert "compile" not in spec.identity()["training"]
    assert the_run(plan(tmp_path, "compile=false", methods="finetune")).id == spec.id
    assert the_run(plan(tmp_path, "compile=true", methods="finetune")).id != spec.id


def test_without_a_compiler_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "no such backend")
    preflight.check(plan(tmp_path, methods="finetune"), [CPU])
    with pytest.raises(UserError, match=r"compile=true: torch.compile does not work on cpu .*give --set compile=false"):
        preflight.check(plan(tmp_path, "compile=true", methods="finetune"), [CPU])
