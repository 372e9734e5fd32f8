"""What each method does beside its loss: which runs it needs, what it refuses, what moves and what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kdbench.core.errors import UserError
from kdbench.core.spec import RunSpec
from kdbench.distill.context import seed_everything
from kdbench.methods.takd import halfway
from kdbench.models import build, reference
from kdbench.models.trimmed_embedding import whole_embedding
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training import preflight
from kdbench.training.setup import Setup, prepare
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run, train


def ready(tmp_path: Path, *sets: str, **given: Any) -> Setup:
    """A run of one method, its needs trained, before its first step; tests share the teachers."""
    made, store = plan(tmp_path, *sets, **given), Store(tmp_path.parent / "shared-by-methods")
    spec = the_run(made)
    train(Plan(made.preset, made.study, {k: v for k, v in made.runs.items() if k != spec.id}), store)
    return prepare(spec, store, CPU, FEW)


def advance(setup: Setup, steps: int) -> None:
    for step in range(steps):
        setup.context.step = step
        seed_everything(0, "step", step)
        setup.method.step(setup.train.at(step))


def weights(setup: Setup, name: str = "student") -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in setup.context.learners[name].module.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def refused(tmp_path: Path, *sets: str, **given: Any) -> str:
    with pytest.raises(UserError) as caught:
        preflight.check(plan(tmp_path, *sets, **given), [CPU])
    return str(caught.value)


@pytest.mark.parametrize("student_ce", ["0.0", "0.6"])
def test_prokt_is_lgtm_without_its_influence(student_ce: str, tmp_path: Path) -> None:
    """The same weights of both networks, bit for bit; the feedback slice is put back to make the data equal."""
    prokt = ready(tmp_path, f"prokt.student_ce={student_ce}", "prokt.zero_heads=true", methods="prokt")
    off = ["lgtm.influence=none", f"lgtm.student_ce={student_ce}"]
    lgtm = ready(tmp_path, *off, methods="lgtm", feedback="validation")
    for setup in (prokt, lgtm):
        advance(setup, 5)
    for name in ("student", "teacher"):
        assert equal(weights(prokt, name), weights(lgtm, name))


def test_prokt_dual_weight_grows_while_the_networks_are_apart(tmp_path: Path) -> None:
    setup = ready(tmp_path, "prokt.dual=true", "prokt.dual_bound=0", "prokt.zero_heads=false", methods="prokt")
    advance(setup, 3)
    assert float(setup.method.dual_weight) > 0
    assert setup.method.state()["dual_weight"] == setup.method.dual_weight


def by_method(made: Plan) -> dict[str, RunSpec]:
    return {spec.method: spec for spec in made.runs.values()}


def test_takd_puts_a_network_between(tmp_path: Path) -> None:
    made = plan(tmp_path, "teacher=tiny-4x32", methods="takd")
    assert [(s.method, s.student.name) for s in made.runs.values()] == [
        ("finetune", "tiny-4x32"), ("kd", "tiny-3x32"), ("takd", "tiny-2x32"),
    ]  # fmt: skip


def test_takd_wants_a_student_no_deeper_than_its_teacher(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 2 layers and the student tiny-4x32 4"):
        plan(tmp_path, "teacher=tiny-2x32", "student=tiny-4x32", methods="takd")


def test_takd_chain(tmp_path: Path) -> None:
    made = plan(tmp_path, "teacher=tiny-6x32", "takd.assistants=tiny-5x32::tiny-3x32", methods="takd")
    assert [(s.method, s.student.name) for s in made.runs.values()] == [
        ("finetune", "tiny-6x32"), ("kd", "tiny-5x32"), ("takd", "tiny-3x32"), ("takd", "tiny-2x32"),
    ]  # fmt: skip


def test_an_assistant_distilled_alike_is_the_kd_run_that_a_user_would_ask_for(tmp_path: Path) -> None:
    made = plan(tmp_path, "teacher=tiny-4x32", "temperature=2", methods="takd")
    asked = plan(tmp_path, "teacher=tiny-4x32", "temperature=2", "student=tiny-3x32", methods="kd")
    assert the_run(asked).id in made.runs


def test_halfway_of_a_network_of_the_folder_kind_is_its_lowest_layers(tmp_path: Path) -> None:
    for layers in (2, 6):
        module = build.build(reference.resolve(f"tiny-{layers}x32"), ("no", "yes"), "eager", ())
        module.save_pretrained(tmp_path / str(layers))
        build.tokenizer(reference.resolve("tiny-2x32"), ()).save_pretrained(tmp_path / str(layers))
    teacher, student = (str(tmp_path / str(layers)) for layers in (6, 2))
    assert halfway(teacher, student) == f"{teacher}:0+1+2+3"
    assert halfway(f"{teacher}:1+2+5", f"{student}:0") == f"{teacher}:1+2"


@pytest.mark.slow
def test_rco_follows_the_teachers_route_and_ends_at_the_teacher(tmp_path: Path) -> None:
    setup = ready(tmp_path, methods="rco")
    (teacher,) = [s for s in plan(tmp_path, methods="rco").runs.values() if s.method == "finetune"]
    assert teacher.snapshots == (1 / 3, 2 / 3)
    met, last = [], None
    for step in range(setup.total_steps):
        setup.context.step = step
        setup.method.step(setup.train.at(step))
        if setup.method.teacher is not last:
            last = setup.method.teacher
            met.append((step, next(last.module.parameters()).clone()))
    thirds = [-(-setup.total_steps * i // 3) for i in range(3)]
    assert [step for step, _ in met] == thirds
    final = next(setup.context.trained_network("teacher").parameters())
    assert torch.equal(met[-1][1], final)
    assert not torch.equal(met[0][1], met[1][1])


def test_rco_restarts_the_schedule_at_each_anchor(tmp_path: Path) -> None:
    setup = ready(tmp_path, "rco.restart_schedule=true", "warmup=0", methods="rco")
    rates = []
    for step in range(setup.total_steps):
        setup.context.step = step
        setup.method.step(setup.train.at(step))
        rates.append(setup.method.student.current_lr)
    rises = [i for i in range(1, len(rates)) if rates[i] > rates[i - 1]]
    assert rises == [4, 8]  # of 12 steps
    assert rates[:4] == rates[4:8] == rates[8:]


@pytest.mark.slow
def test_rco_resumes_within_a_stage(tmp_path: Path) -> None:
    """Loading an anchor draws no random number that another step would miss."""
    from kdbench.core.errors import Stopped
    from kdbench.training.runner import execute

    made = plan(tmp_path, "rco.restart_schedule=true", methods="rco")
    spec, calm, store = the_run(made), Store(tmp_path / "calm"), Store(tmp_path / "r")
    train(made, calm)
    train(Plan(made.preset, made.study, {k: v for k, v in made.runs.items() if k != spec.id}), store)
    for stop_after in (0, 0, 1, 0, 2, 0, 100):
        calls = iter(range(100))
        try:
            execute(spec, store, CPU, FEW, should_stop=lambda calls=calls, n=stop_after: next(calls) == n)
        except Stopped:
            continue
    assert contents(store, spec.id) == contents(calm, spec.id)


def test_pkd_refuses_what_it_cannot_compare(tmp_path: Path) -> None:
    assert "one layer has none" in refused(tmp_path, "student=tiny-1x32", methods="pkd")
    assert "a teacher at least as deep" in refused(tmp_path, "student=tiny-4x32", methods="pkd")
    assert "hidden size is 32 and that of tiny-3x64 64" in refused(tmp_path, "teacher=tiny-3x64", methods="pkd")


def test_pkd_with_a_projection_takes_a_narrower_student(tmp_path: Path) -> None:
    setup = ready(tmp_path, "teacher=tiny-3x64", "pkd.projection=true", methods="pkd")
    before = weights(setup, "projection"), weights(setup)
    advance(setup, 2)
    assert not equal(before[0], weights(setup, "projection"))
    assert not equal(before[1], weights(setup))


@pytest.mark.parametrize("norm", ["std", "layernorm"])
def test_skd_refuses_its_degenerate_forms_on_two_classes(norm: str, tmp_path: Path) -> None:
    said = refused(tmp_path, f"skd.norm={norm}", methods="skd")
    assert f"Method 'skd' cannot teach tiny-2x32 on rte: norm={norm} turns two logits into a sign" in said
    preflight.check(plan(tmp_path, f"skd.norm={norm}", "skd.ce_on=raw", methods="skd"), [CPU])
    preflight.check(plan(tmp_path, f"skd.norm={norm}", methods="skd", tasks="mnli"), [CPU])


def test_skd_teaches_two_classes(tmp_path: Path) -> None:
    """The sphere keeps a gradient where the centred forms have none."""
    found = {}
    for norm in ("l2", "std"):
        setup = ready(tmp_path, f"skd.norm={norm}", "skd.ce_on=normalized", "skd.eps=1e-9", methods="skd")
        loss = setup.method.loss(setup.train.at(0))
        (slope,) = torch.autograd.grad(loss, [setup.method.student.module.classifier.weight])
        found[norm] = float(slope.norm())
    assert found["l2"] > 1e-3
    assert found["std"] < 1e-5


def test_dist_survives_a_student_that_says_the_same_of_all(tmp_path: Path) -> None:
    setup = ready(tmp_path, methods="dist")
    for parameter in setup.method.student.module.classifier.parameters():
        torch.nn.init.zeros_(parameter)
    advance(setup, 3)
    assert all(torch.isfinite(value).all() for value in weights(setup).values())
    moments = [state["exp_avg_sq"].max() for state in setup.method.student.optimizer.state.values()]
    assert max(moments) < 1.0


def test_pesf_trains_the_adapter_and_not_the_teacher(tmp_path: Path) -> None:
    setup = ready(tmp_path, methods="pesf_kd")
    frozen = {k: v.clone() for k, v in setup.method.frozen.module.state_dict().items()}
    adapter = weights(setup, "adapter")
    batch = setup.train.at(0)
    plain = setup.method.frozen.outputs(batch).logits
    assert (setup.method._teacher(batch) - plain).abs().max() < 1.0  # N(0, 0.02): near the teacher at first
    advance(setup, 3)
    assert equal(frozen, setup.method.frozen.module.state_dict())
    assert not any(torch.equal(adapter[k], v) for k, v in weights(setup, "adapter").items())


def test_pesf_as_released_trains_the_whole_teacher(tmp_path: Path) -> None:
    setup = ready(tmp_path, methods="pesf_kd_released")
    before = weights(setup, "teacher")
    advance(setup, 2)
    assert not equal(before, weights(setup, "teacher"))
    assert "adapter" not in setup.context.learners


def test_meta_distill_moves_its_teacher_by_feedback_alone(tmp_path: Path) -> None:
    setup = ready(tmp_path, "meta_distill.held_batches=0", methods="meta_distill")
    before = weights(setup, "teacher")
    advance(setup, 2)
    assert not equal(before, weights(setup, "teacher"))
    assert setup.context.feedback_used == 2 * setup.context.feedback_batches


def test_meta_distill_leaves_the_student_alone_while_it_looks_ahead(tmp_path: Path) -> None:
    setup = ready(tmp_path, methods="meta_distill_released")
    before = weights(setup)
    setup.method.meta_gradient(setup.train.at(0), [setup.context.feedback()])
    assert equal(before, weights(setup))
    assert not setup.method.student.optimizer.state
    assert all(p.grad is None for p in setup.method.student.params)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dml", "prokt", "lgtm"])
def test_two_stages(method: str, tmp_path: Path) -> None:
    """Figure 5: the same method from a teacher that was fine-tuned first, whose classifier is kept."""
    setup = ready(tmp_path, f"{method}.teacher_start=finetuned", f"{method}.zero_heads=true", methods=method)
    heads = [setup.context.learners[name].module.classifier.weight for name in ("student", "teacher")]
    assert not heads[0].any()
    assert heads[1].any()
    with whole_embedding(setup.context.learners["teacher"].module):
        assert equal(weights(setup, "teacher"), setup.context.trained_network("teacher").state_dict())
    advance(setup, 1)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["kl", "dist", "mse"])
@pytest.mark.parametrize("method", ["kd", "lgtm"])
def test_objectives_of_table_2(method: str, loss: str, tmp_path: Path) -> None:
    setup = ready(tmp_path, f"{method}.kd_loss={loss}", methods=method)
    before = weights(setup)
    advance(setup, 2)
    assert not equal(before, weights(setup))


@pytest.mark.slow
@pytest.mark.parametrize("order", ["teacher", "student", "simultaneous"])
def test_update_orders_differ(order: str, tmp_path: Path) -> None:
    """Figure 6. The student's first step sees the teacher before or after its update."""
    orders = ("teacher", "student", "simultaneous")
    sets = ("lgtm.zero_heads=false", "warmup=0")  # the first step of a warm-up changes nothing
    setups = [ready(tmp_path, f"lgtm.update_order={o}", *sets, methods="lgtm") for o in orders]
    for setup in setups:
        advance(setup, 2)
    mine = weights(setups[orders.index(order)])
    assert [equal(mine, weights(setup)) for setup in setups] == [o == order for o in orders]


def test_lgtm_with_dist_survives_zero_heads(tmp_path: Path) -> None:
    setup = ready(tmp_path, "lgtm.kd_loss=dist", "lgtm.zero_heads=true", "max_grad_norm=0", methods="lgtm")
    advance(setup, 3)
    moments = [float(state["exp_avg_sq"].max()) for state in setup.method.student.optimizer.state.values()]
    assert max(moments) < 1.0


def test_the_preconditioned_lookahead_is_finite_for_weights_that_nothing_touches(tmp_path: Path) -> None:
    sets = ["lgtm.lookahead=adam", "lgtm.precondition=true", "lgtm.influence_coef=student_lr"]
    setup = ready(tmp_path, *sets, methods="lgtm")
    advance(setup, 3)
    assert all(torch.isfinite(value).all() for value in weights(setup, "teacher").values())


def test_meta_distill_tells_its_gradient_before_it_is_clipped(tmp_path: Path) -> None:
    setup = ready(tmp_path, "max_grad_norm=1e-12", "meta_distill.pilot_lr=1", methods="meta_distill")
    setup.context.step = 0
    assert float(setup.method.step(setup.train.at(0))["meta_gradient_norm"]) > 1e-9


@pytest.mark.parametrize(("row", "has_dropout"), [("lgtm_no_influence", True), ("lgtm", False)])
def test_without_influence_the_teacher_s_target_keeps_the_dropout_of_the_look_ahead(
    row: str, has_dropout: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the row would differ from LGTM in more than the influence; ProKT's target has none."""
    setup, modes = ready(tmp_path, "lgtm.influence=none", methods=row), list[bool]()
    target_logits = setup.method.student.target_logits
    monkeypatch.setattr(
        setup.method.student, "target_logits",
        lambda batch, train=False: modes.append(train) or target_logits(batch, train=train),
    )  # fmt: skip
    setup.method.step(setup.train.at(0))
    assert modes == [has_dropout]
