"""What a plan will cost: steps as the runner makes them, seconds from like runs, and nothing asked of the network."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from typing import Any

import pytest

from kdbench.core.atomic_files import write_json
from kdbench.core.errors import Stopped
from kdbench.core.spec import RunSpec
from kdbench.data.task import Examples
from kdbench.data.task_registry import TASKS
from kdbench.models import reference
from kdbench.planning import cost_estimate as estimating
from kdbench.planning import inputs, run_scale
from kdbench.planning.cost_estimate import CostEstimate, estimate_cost, estimate_lines
from kdbench.planning.plan import Plan
from kdbench.results.store import RunFolder, Store
from kdbench.training.runner import execute
from tests.kdbench import small_runs
from tests.kdbench.charged_runs import charge, finish

pytestmark = pytest.mark.usefixtures("two_cores")
HUB = ("student=google/bert_uncased_L-6_H-768_A-12", "teacher=google-bert/bert-base-uncased", "source=hub")


def of(plan: Plan, method: str) -> RunSpec:
    """The plan's only run of a method."""
    (spec,) = (spec for spec in plan.runs.values() if spec.method == method)
    return spec


def folder_bytes(at: Store, plan: Plan) -> int:
    return sum(f.stat().st_size for run in plan.runs for f in at.run(run).path.rglob("*") if f.is_file())


@pytest.mark.slow
def test_another_seed_takes_what_the_first_took(tmp_path: Path) -> None:
    at = Store(tmp_path / "results")
    first, second = (small_runs.plan(tmp_path, methods="kd,lgtm", seeds=seed) for seed in (0, 1))
    small_runs.train(first, at)
    made = {run: at.run(run).cost()["steps"] for run in first.runs}
    for i, run in enumerate(first.runs):
        charge(at.run(run), 0.5 + i, made[run])

    found = estimate_cost(second, at)

    assert (found.runs, found.steps) == (3, sum(made.values()))  # the steps that the runner made
    assert found.seconds == pytest.approx(sum((0.5 + i) * made[run] for i, run in enumerate(first.runs)))
    assert found.basis == "from 3 finished runs of the same methods and networks"
    small_runs.train(second, at)
    assert [at.run(run).cost()["steps"] for run in second.runs] == list(made.values())
    assert found.disk == pytest.approx(folder_bytes(at, second), rel=0.1)
    assert estimate_lines(estimate_cost(second, at)) == ["Nothing is left to train."]


def test_work_grows_with_what_is_trained(tmp_path: Path) -> None:
    at = Store(tmp_path / "results")
    finish(at, of(small_runs.plan(tmp_path, methods="finetune"), "finetune"), step_seconds=1.0)

    def seconds(*sets: str) -> float:
        (left,) = small_runs.plan(tmp_path, *sets, methods="finetune", seeds=1).runs.values()
        found = estimate_cost(Plan("tiny", small_runs.plan(tmp_path).study, {left.id: left}), at)
        return found.seconds / found.steps

    assert seconds() == pytest.approx(1.0)
    assert seconds("batch_size=32") == pytest.approx(2.0)
    assert seconds("student=tiny-4x32") == pytest.approx(2.0)  # twice the layers
    assert seconds("student=tiny-2x64") == pytest.approx(4.0)  # twice the width
    assert seconds("max_length=8") < 0.7  # most texts are longer


def test_lengths_are_counted_without_a_tokeniser(tmp_path: Path) -> None:
    for task in ("rte", "sst2"):  # pairs, and single sentences
        spec = small_runs.the_run(small_runs.plan(tmp_path, methods="finetune", tasks=task))
        counted = inputs.load_tokens(tmp_path, spec, "train").lengths
        assert run_scale.data_facts(task, spec.data).tokens(64) == pytest.approx(counted.mean(), rel=0.02)
    english = Examples(["Prices rose in the spring.", "They fell."], None, [0, 1])
    assert run_scale.text_lengths(english, run_scale.PIECES).tolist() == [2 + 1.25 * 5, 2 + 1.25 * 2]


def test_feedback_and_trained_teachers_are_work(tmp_path: Path) -> None:
    """Without a like run, methods differ by what their specs say; students have 2 layers, teachers 3."""
    at = Store(tmp_path / "results")
    plan = small_runs.plan(tmp_path, methods="finetune,kd,dml,lgtm,meta_distill")
    student = next(s for s in plan.runs.values() if s.method == "finetune" and s.student.name == "tiny-2x32")
    finish(at, student, step_seconds=12.0)

    def step(method: str) -> float:
        found = estimate_cost(plan, at, [of(plan, method).id])
        return found.seconds / found.steps

    assert step("kd") == pytest.approx(12 + 2 * 3)  # a teacher that is read
    assert step("dml") == pytest.approx(12 + 6 * 3)  # one that is trained along
    assert step("lgtm") == pytest.approx(12 + 6 * 3 + 12)  # feedback besides
    assert step("meta_distill") == pytest.approx(12 + 6 * 3 + 12)  # a needed run's network, trained on


def test_the_longest_chain_is_that_of_the_runs_that_wait_for_one_another(tmp_path: Path) -> None:
    at = Store(tmp_path / "results")
    before, plan = (small_runs.plan(tmp_path, methods="kd,takd", seeds=seed) for seed in (0, 1))
    assert len(plan.runs) == 4
    names = {run: (spec.method, spec.student.name) for run, spec in plan.runs.items()}
    price = {("finetune", "tiny-3x32"): 1.0, ("kd", "tiny-3x32"): 10.0, ("takd", "tiny-2x32"): 100.0}
    price["kd", "tiny-2x32"] = 50.0  # beside the chain of teacher, assistant, student
    for spec in before.runs.values():
        finish(at, spec, price[spec.method, spec.student.name])

    found = estimate_cost(plan, at)

    steps = found.steps / 4
    assert found.chain_seconds == pytest.approx(111 * steps)
    assert found.seconds == pytest.approx(161 * steps)
    (teacher,) = (run for run, name in names.items() if name == ("finetune", "tiny-3x32"))
    finish(at, plan.runs[teacher], 1.0)
    assert estimate_cost(plan, at).chain_seconds == pytest.approx(110 * steps)


def stopped(spec: RunSpec, at: Store, after: int) -> RunFolder:
    """The folder of a run that was asked to stop after some steps."""
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(0)
        return len(asked) == after

    with pytest.raises(Stopped):
        execute(spec, at, small_runs.CPU, small_runs.FEW, should_stop=should_stop)
    return at.run(spec.id)


def test_of_a_run_that_was_interrupted_the_rest_is_counted(tmp_path: Path) -> None:
    at, plan = Store(tmp_path / "results"), small_runs.plan(tmp_path, methods="finetune")
    whole = estimate_cost(plan, at)
    folder = stopped(small_runs.the_run(plan), at, after=4)

    part = estimate_cost(plan, at)
    assert part.steps == whole.steps - 4
    assert part.seconds == pytest.approx(whole.seconds * part.steps / whole.steps)

    folder.checkpoint.unlink()  # it will start over
    assert estimate_cost(plan, at).steps == whole.steps


def test_a_done_run_that_lacks_a_snapshot_is_trained_again(tmp_path: Path) -> None:
    at = Store(tmp_path / "results")
    plain, keeping = (small_runs.plan(tmp_path, methods=methods) for methods in ("kd", "kd,rco"))
    teacher = of(keeping, "finetune")
    assert of(plain, "finetune").id == teacher.id
    assert len(teacher.snapshots) == 2
    finish(at, of(plain, "finetune"), 1.0)

    assert estimate_cost(plain, at).runs == 1
    found = estimate_cost(keeping, at, [teacher.id])
    assert (found.runs, found.steps) == (1, 12)  # two epochs of 96 rows without the tenth for selection
    write_json(at.run(teacher.id).path / "model" / "weights", "x" * 100_000)
    assert estimate_cost(keeping, at, [teacher.id]).disk == pytest.approx(300_000, rel=0.05)  # the student three times
    for share in teacher.snapshots:
        write_json(at.run(teacher.id).snapshot(share) / "weights", "x" * 100_000)
    again = small_runs.plan(tmp_path, methods="kd", seeds=1)
    assert estimate_cost(again, at, [of(again, "finetune").id]).disk == pytest.approx(100_000, rel=0.05)


def test_where_nothing_was_measured_it_says_so(tmp_path: Path) -> None:
    found = estimate_cost(small_runs.plan(tmp_path, methods="kd"), Store(tmp_path / "results", create=False))
    assert found.basis == (
        "a rough guess: nothing alike was measured here yet; assumes 0.1 TFLOP/s (2 cores), and 15 ms a step beside"
    )
    assert found.seconds == pytest.approx(0.015 * found.steps, rel=0.2)  # networks this small cost next to nothing
    assert found.remarks == ()
    assert not (tmp_path / "results").exists()


def test_the_bytes_of_a_network_are_known_before_it_is_trained(tmp_path: Path) -> None:
    at, plan = Store(tmp_path / "results"), small_runs.plan(tmp_path, methods="finetune")
    found = estimate_cost(plan, at)
    small_runs.train(plan, at)
    weights = at.run(small_runs.the_run(plan).id).model / "model.safetensors"
    assert found.disk == pytest.approx(weights.stat().st_size, rel=0.1)


def _no_network(*_: Any, **__: Any) -> Any:
    pytest.fail("the network was asked")


def test_data_and_models_on_the_hub_are_estimated_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    monkeypatch.setattr(reference, "_fetch", _no_network)
    monkeypatch.setattr("kdbench.tasks.hub.read", _no_network)
    sets = (*HUB, "train_rows=0", "batch_size=32", "epochs=6", "max_length=128", "eval_every=0")
    plan = small_runs.plan(tmp_path, *sets, methods="kd", selection="validation")
    teacher = estimate_cost(plan, Store(tmp_path, create=False), [of(plan, "finetune").id])
    student = estimate_cost(plan, Store(tmp_path, create=False), [of(plan, "kd").id])

    assert teacher.steps == student.steps == 6 * 78  # 2,490 published rows of RTE
    tokens, layer = 32 * 0.4 * 128, 12 * 768**2
    assert teacher.seconds == pytest.approx(468 * (6 * 12 * layer * tokens / 0.1e12 + 0.015))
    assert student.seconds == pytest.approx(468 * ((6 * 6 + 2 * 12) * layer * tokens / 0.1e12 + 0.015))
    assert teacher.disk == pytest.approx(438e6, rel=0.01)  # as published: 109.5 M parameters
    assert "2,490" not in " ".join(teacher.remarks)
    assert "BERT-base's size" in teacher.remarks[1]
    assert "google-bert/bert-base-uncased" in teacher.remarks[1]
    assert "L-6_H-768" not in teacher.remarks[1]  # whose name says it


def test_a_hub_model_that_is_here_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(reference, "_fetch", _no_network)
    here = tmp_path / "hub" / "models--some--wide"
    config = {"num_hidden_layers": 3, "hidden_size": 1024, "intermediate_size": 4096}
    write_json(here / "snapshots" / "abc" / "config.json", config | {"vocab_size": 1, "max_position_embeddings": 1})
    (here / "refs").mkdir()
    (here / "refs" / "main").write_text("abc")

    def found(name: str) -> CostEstimate:
        return estimate_cost(
            small_runs.plan(tmp_path, f"student={name}", methods="finetune"), Store(tmp_path / "results", create=False)
        )

    assert found("some/wide").disk == 4 * (3 * 12 * 1024**2 + 2 * 1024 + 1024**2)
    assert found("some/wide").remarks == ()
    assert found("some/wide:0+2").disk < found("some/wide").disk
    assert found("some/other").remarks


def test_rows_that_nobody_knows_are_not_invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TASKS.get("rte"), "official_rows", {})
    found = estimate_cost(small_runs.plan(tmp_path, "source=hub", methods="finetune"), Store(tmp_path, create=False))
    assert (found.runs, found.steps, found.seconds) == (1, 0, 0.0)
    assert found.remarks[-1].endswith("rte.")
    assert found.disk > 0


def test_the_runs_most_alike_are_asked_first(tmp_path: Path) -> None:
    at = Store(tmp_path / "results")
    plan = small_runs.plan(tmp_path, methods="kd", seeds=1)
    wanted = of(plan, "kd")

    def answer() -> tuple[float, str]:
        found = estimate_cost(plan, at, [wanted.id])
        return found.seconds / found.steps, found.basis

    def add(step_seconds: float, *sets: str, method: str, **given: Any) -> None:
        other = small_runs.plan(tmp_path, *sets, methods=method, **given)
        for spec in other.runs.values():
            finish(at, spec, step_seconds if spec.method == method else 1000.0)

    add(9.0, "student=tiny-2x32", method="finetune")
    assert answer()[1] == "roughly, from 1 finished run of other networks"
    add(4.0, method="dml")  # the same networks, though its teacher is no needed run's
    assert answer() == (pytest.approx(4.0 * 18 / 30), "from 1 finished run of other methods on the same networks")
    add(2.0, method="pkd")
    assert answer() == (pytest.approx(2.2), "from 2 finished runs of other methods on the same networks")
    add(7.0, "kd_weight=0.1", method="kd")
    assert answer() == (pytest.approx(7.0), "from 1 finished run of the same methods and networks")
    add(2.0, method="kd", tasks="sst2")  # the same options, other texts
    assert answer()[0] != pytest.approx(7.0)
    add(5.0, method="kd")
    add(5.5, method="kd", seeds=2)
    add(50.0, method="kd", seeds=3)
    assert answer() == (pytest.approx(5.5), "from 3 finished runs of the same methods and networks")  # the median


def test_networks_of_another_order_of_size_say_nothing(tmp_path: Path) -> None:
    at = Store(tmp_path / "results")
    finish(at, of(small_runs.plan(tmp_path, methods="finetune"), "finetune"), 1.0)
    large = estimate_cost(small_runs.plan(tmp_path, "student=tiny-8x256", methods="finetune"), at)
    assert "rough guess" in large.basis


def test_several_bases_are_told_apart(tmp_path: Path) -> None:
    at, plan = Store(tmp_path / "results"), small_runs.plan(tmp_path, methods="kd,pkd", seeds="0,1")
    finish(at, next(s for s in plan.runs.values() if s.method == "kd"), 1.0)
    found = estimate_cost(plan, at)
    assert found.runs == 5
    assert "from 1 finished run of other methods on the same networks (2 runs)" in found.basis
    assert "from 1 finished run of the same methods and networks (1 run)" in found.basis
    assert "roughly, from 1 finished run of other networks (2 runs)" in found.basis


def test_only_the_given_runs_are_looked_at(tmp_path: Path) -> None:
    at, plan = Store(tmp_path / "results"), small_runs.plan(tmp_path, methods="kd", seeds="0,1")
    teacher, student = (next(s.id for s in plan.runs.values() if s.method == m) for m in ("finetune", "kd"))
    assert estimate_cost(plan, at).runs == 4
    both = estimate_cost(plan, at, [student, teacher])  # in whatever order
    assert both.runs == 2
    assert both.chain_seconds == pytest.approx(both.seconds)
    finish(at, plan.runs[teacher], 1.0)
    assert estimate_cost(plan, at, [student, teacher]).runs == 1
    with pytest.raises(KeyError):
        estimate_cost(plan, at, ["nonsense"])


def test_damaged_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    at, plan = Store(tmp_path / "results"), small_runs.plan(tmp_path, methods="kd", seeds="0,1,2,3")
    first, second, third, fourth = (s for s in plan.runs.values() if s.method == "kd")
    finish(at, first, 1.0)
    for spec, text in ((second, "{"), (third, "[]"), (fourth, '{"train_seconds": 1, "steps": 0}')):
        at.run(spec.id).begin(spec, {})
        (at.run(spec.id).path / "cost.json").write_text(text)
    other = of(small_runs.plan(tmp_path, methods="kd", tasks="sst2"), "kd")
    finish(at, other, 1.0)
    (at.run(other.id).path / "spec.json").write_text("[]")
    (at.runs_folder / "notes.txt").write_text("mine")
    found = estimate_cost(plan, at, [second.id])
    assert found.basis == "from 1 finished run of the same methods and networks"


def test_a_file_that_goes_while_it_is_looked_at_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "here").write_bytes(bytes(100))
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    assert estimating._share(RunFolder(tmp_path)) == 100


def test_every_point_of_a_grid_has_its_own_cost(tmp_path: Path) -> None:
    at = Store(tmp_path / "results", create=False)
    values = {"epochs": (1, 3), "train_rows": (64, 96), "batch_size": (8, 16), "max_length": (8, 32)}
    grids = [f"{key}={low},{high}" for key, (low, high) in values.items()]
    whole = estimate_cost(small_runs.plan(tmp_path, *grids, methods="finetune"), at)

    parts = []
    for choice in itertools.product(*values.values()):
        point = [f"{key}={value}" for key, value in zip(values, choice, strict=True)]
        parts.append(estimate_cost(small_runs.plan(tmp_path, *point, methods="finetune"), at))
    assert whole.runs == len(parts) == 16
    assert whole.steps == sum(part.steps for part in parts)
    assert whole.seconds == pytest.approx(sum(part.seconds for part in parts))
