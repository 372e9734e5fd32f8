"""One run: deterministic, complete, and failing well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kdbench.core.errors import RunFailure, Stopped
from kdbench.data.tokens import Tokens
from kdbench.distill.teacher_cache import Rows
from kdbench.models.inference import all_logits
from kdbench.results.store import Store
from kdbench.training import checkpoint, evaluator, training_loop
from kdbench.training.runner import execute
from tests.conftest import one_fast
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run, train

METHOD_NAMES = ("finetune", "kd", "lgtm")  # no teacher, a frozen teacher, and one that learns along


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A few methods in one results folder."""
    folder = tmp_path_factory.mktemp("trained")
    store = Store(folder / "results")
    train(plan(folder, methods=",".join(METHOD_NAMES)), store)
    return store, folder


@pytest.mark.slow
def test_same_spec_same_bytes(trained: tuple[Store, Path], tmp_path: Path) -> None:
    """In another folder and without other runs, the same weights, metrics and predictions."""
    made = plan(tmp_path, methods="lgtm")
    store = Store(tmp_path / "alone")
    train(made, store)
    run = the_run(made).id
    assert contents(store, run) == contents(trained[0], run)


@pytest.mark.slow
def test_a_network_that_is_not_trained_is_evaluated_once_for_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The initial student of a seed, and a frozen teacher on the probe; only a sample is computed again."""
    made, store, passes = plan(tmp_path, "epochs=1", methods="kd,skd"), Store(tmp_path / "results"), dict[str, int]()

    def counted(module: nn.Module, tokens: Tokens, rows: Rows, device: torch.device) -> torch.Tensor:
        passes[name] = passes.get(name, 0) + len(rows)
        return all_logits(module, tokens, rows, device)

    monkeypatch.setattr(evaluator, "all_logits", counted)
    *_, first, second = sorted(made.runs.values(), key=lambda spec: len(spec.needs))
    for spec in made.runs.values():
        name = spec.id
        execute(spec, store, CPU, FEW)
    assert passes[second.id] < passes[first.id]
    before, alone = contents(store, second.id), Store(tmp_path / "alone")
    for spec in made.runs.values():
        if spec.id != first.id:
            execute(spec, alone, CPU, FEW)
    assert contents(alone, second.id) == before


def test_the_best_student_is_written_with_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    store_file = checkpoint.store

    def noted(path: Path, *given: Any) -> None:
        written.append(path.name)
        store_file(path, *given)

    monkeypatch.setattr(checkpoint, "store", noted)
    spec = the_run(plan(tmp_path, methods="finetune"))
    store = Store(tmp_path / "results")
    best = store.run(spec.id).best.name
    execute(spec, store, CPU, FEW)
    assert best not in written
    execute(spec, Store(tmp_path / "often"), CPU.model_copy(update={"checkpoint_seconds": 0.0}), FEW)
    assert best in written
    assert contents(store, spec.id) == contents(Store(tmp_path / "often"), spec.id)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_saved_student_gives_the_stored_predictions(method: str, trained: tuple[Store, Path]) -> None:
    """In plain Hugging Face code, with the tokenizer that lies beside it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from kdbench.planning import inputs

    store, folder = trained
    spec = the_run(plan(folder, methods=method))
    run = store.run(spec.id)
    model = AutoModelForSequenceClassification.from_pretrained(run.model, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    examples = inputs.load_data(spec.task, spec.data).splits["validation"]
    coded = tokenizer(
        list(examples.text_a[:20]),
        list(examples.text_b[:20]),
        padding=True,
        truncation=True,
        max_length=64,
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = model(**coded).logits
    assert torch.allclose(logits, load_file(run.predictions)["best/validation/logits"][:20], atol=1e-5)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_result_follows_from_the_predictions(method: str, trained: tuple[Store, Path]) -> None:
    store, folder = trained
    run = store.run(the_run(plan(folder, methods=method)).id)
    stored, result = load_file(run.predictions), run.result()
    for name in ("best", "last"):
        right = stored[f"{name}/validation/logits"].argmax(1) == stored[f"{name}/validation/labels"]
        assert result[name]["report"]["validation"]["accuracy"] == pytest.approx(float(right.float().mean()))
    curve = [r for r in map(json.loads, run.series.read_text().splitlines()) if r["split"] == "selection"]
    scores = {r["step"]: r["value"] for r in curve if r["key"] == "accuracy" and r["step"]}
    first_best = min(step for step, score in scores.items() if score == max(scores.values()))
    assert result["best"]["step"] == first_best
    assert result["last"]["step"] == max(scores)


def test_a_done_run_is_not_trained_again(trained: tuple[Store, Path]) -> None:
    store, folder = trained
    spec = the_run(plan(folder, methods="finetune"))
    stamp = store.run(spec.id).path.joinpath("result.json").stat().st_mtime_ns
    execute(spec, store, CPU, FEW)
    assert store.run(spec.id).path.joinpath("result.json").stat().st_mtime_ns == stamp


def test_lgtm_follows_its_probe_samples(trained: tuple[Store, Path]) -> None:
    """What Figures 2 to 6 are drawn from is there, a value a sample."""
    store, folder = trained
    rows = [
        json.loads(line) for line in store.run(the_run(plan(folder, methods="lgtm")).id).series.read_text().splitlines()
    ]
    keys = {(r["split"], r["key"]) for r in rows}
    for key in ("influence", "teacher_p", "student_p", "teacher_predicts", "student_predicts", "sample", "label"):
        values = [r["value"] for r in rows if (r["split"], r["key"]) == ("influence", key)]
        assert len(values) >= 4
        assert all(len(v) == 8 for v in values)
    assert {("probe", "entropy_gap"), ("probe", "sharpness_gap"), ("validation", "loss"),
            ("validation", "accuracy"), ("validation", "teacher_accuracy"), ("train", "loss"),
            ("influence", "influence_ratio")} <= keys  # fmt: skip
    gap = next(r["value"] for r in rows if r["key"] == "entropy_gap" and r["step"] == 0)
    assert gap == pytest.approx(0, abs=1e-6)  # both heads start at zero


@pytest.mark.slow
def test_following_samples_does_not_change_the_training(trained: tuple[Store, Path], tmp_path: Path) -> None:
    made = plan(tmp_path, methods="lgtm")
    store = Store(tmp_path / "r")
    spec = the_run(made)
    execute(spec, store, CPU, FEW.model_copy(update={"influence_samples": 0, "probe_size": 0}))
    ours, theirs = (s.run(spec.id).model / "model.safetensors" for s in (store, trained[0]))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_non_finite_loss_stops_the_run_with_step_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.methods.finetune import Finetune

    good = Finetune.loss

    def bad(self, batch):  # type: ignore[no-untyped-def]
        return good(self, batch) * (float("nan") if self.context.step == 4 else 1.0)

    monkeypatch.setattr(Finetune, "loss", bad)
    store = Store(tmp_path / "r")
    spec = the_run(plan(tmp_path, methods="finetune"))
    with pytest.raises(RunFailure, match=r"the loss is nan at step 5; rows of the batch: \d+") as caught:
        execute(spec, store, CPU, FEW)
    assert caught.value.kind == "non-finite"
    state = store.run(spec.id).state()
    assert (state.status, state.kind) == ("failed", "non-finite")


def test_a_bug_in_a_method_leaves_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.methods.finetune import Finetune

    monkeypatch.setattr(Finetune, "loss", lambda self, batch: batch.no_such_thing)
    store = Store(tmp_path / "r")
    spec = the_run(plan(tmp_path, methods="finetune"))
    with pytest.raises(RunFailure, match="no_such_thing") as caught:
        execute(spec, store, CPU, FEW)
    assert caught.value.kind == "bug"
    assert "AttributeError" in (store.run(spec.id).path / "error.txt").read_text()


def test_stopped_and_resumed_equals_undisturbed(trained: tuple[Store, Path], tmp_path: Path) -> None:
    """Stopped after every third step, each time with everything rebuilt from the checkpoint."""
    store, stops = Store(tmp_path / "r"), 0
    spec = the_run(plan(tmp_path, methods="lgtm"))
    while True:
        calls = iter(range(100))
        try:
            execute(spec, store, CPU, FEW, should_stop=lambda calls=calls: next(calls) == 2)
            break
        except Stopped:
            stops += 1
            assert store.run(spec.id).state().status == "interrupted"
    assert stops >= 3
    assert contents(store, spec.id) == contents(trained[0], spec.id)
    assert not list(store.run(spec.id).path.glob("checkpoint*"))


def test_a_run_that_stopped_after_its_last_step_knows_its_loss_and_score(
    trained: tuple[Store, Path], tmp_path: Path
) -> None:
    store = Store(tmp_path / "r")
    spec = the_run(plan(tmp_path, methods="finetune"))
    run, calm = store.run(spec.id), trained[0].run(spec.id).state()
    while (run.state().step, run.state().status) != (calm.total, "interrupted"):
        with pytest.raises(Stopped):
            execute(spec, store, CPU, FEW, should_stop=lambda: True)
    execute(spec, store, CPU, FEW)
    assert calm.loss is not None
    assert (run.state().loss, run.state().score) == (calm.loss, calm.score)


def test_a_damaged_checkpoint_costs_time_and_nothing_else(trained: tuple[Store, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    spec = the_run(plan(tmp_path, methods="finetune"))
    with pytest.raises(Stopped):
        execute(spec, store, CPU, FEW, should_stop=lambda: True)
    run = store.run(spec.id)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-100])
    run.series.write_text(run.series.read_text() + '{"step": 1, "spl')
    execute(spec, store, CPU, FEW)
    assert contents(store, spec.id) == contents(trained[0], spec.id)


@pytest.mark.slow
def test_bf16_runs_and_resumes(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    made = plan(tmp_path, "epochs=1", methods="lgtm", precision="bf16")
    train(made, store)
    other = Store(tmp_path / "other")
    spec = the_run(made)
    calls = iter(range(100))
    with pytest.raises(Stopped):
        execute(spec, other, CPU, FEW, should_stop=lambda: next(calls) == 2)
    execute(spec, other, CPU, FEW)
    assert contents(other, spec.id) == contents(store, spec.id)


@pytest.mark.slow
def test_bf16_learns(tmp_path: Path) -> None:
    """Autocast must see the weights that the optimiser has changed."""
    store = Store(tmp_path / "r")
    made = plan(tmp_path, "epochs=6", methods="finetune", precision="bf16")
    train(made, store)
    rows = [json.loads(line) for line in store.run(the_run(made).id).series.read_text().splitlines()]
    logged = [r["value"] for r in rows if (r["split"], r["key"]) == ("selection", "loss")]
    assert len({round(value, 4) for value in logged}) > 3


@pytest.mark.parametrize("method", one_fast(["lgtm", "lgtm_released", "lgtm_printed", "lgtm_no_fda"], "lgtm"))
def test_every_form_of_lgtm_trains_with_sdpa(method: str, tmp_path: Path) -> None:
    """As with `eager`, which is the kernel of nearly all tests; its derivatives are others."""
    made, store = plan(tmp_path, "attention=sdpa", "epochs=1", methods=method), Store(tmp_path / "r")
    train(made, store)
    assert store.run(the_run(made).id).is_done()


@pytest.mark.parametrize("method", one_fast(["kd", "dml"], "dml"))
def test_nothing_is_evaluated_again_at_the_end(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last student, the best one and a teacher that is trained along have been evaluated when they were made."""
    made = plan(tmp_path, methods=method)
    finish, calls = training_loop.TrainingLoop._finish, list[str]()

    def counted(loop: training_loop.TrainingLoop) -> None:
        with monkeypatch.context() as within:
            within.setattr(evaluator, "all_logits", lambda *_: calls.append(method))
            finish(loop)

    monkeypatch.setattr(training_loop.TrainingLoop, "_finish", counted)
    train(made, Store(tmp_path / "r"))
    assert calls == []
    assert Store(tmp_path / "r").run(the_run(made).id).result() is not None
