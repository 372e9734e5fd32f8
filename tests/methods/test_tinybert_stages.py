"""TinyBERT's two stages in a real run: the best student is of the second, all passes are counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdbench.results.store import Store
from kdbench.training.setup import prepare
from tests.kdbench.small_runs import CPU, FEW, plan, the_run, train


@pytest.mark.slow
def test_the_best_student_is_of_the_second_stage_and_all_passes_count(tmp_path: Path) -> None:
    made = plan(tmp_path, "epochs=2", "train_rows=64", "eval_every=1", "tinybert.stage1_share=0.5", methods="tinybert")
    store, spec = Store(tmp_path / "results"), the_run(made)
    train(made, store)
    result, cost = store.run(spec.id).result(), store.run(spec.id).cost()
    assert result is not None
    steps = cost["steps"]
    assert steps // 2 < result["best"]["step"] <= steps
    # both stages go forward and back through the student; the projection is no network, and does not count
    passes = cost["passes"]
    assert passes["student"] == {"forward": cost["rows"], "backward": cost["rows"]}
    assert passes.keys() == {"student", "teacher"}
    assert passes["teacher"]["forward"] > cost["rows"] / 2


def test_the_classifier_is_not_touched_in_the_first_stage(tmp_path: Path) -> None:
    made = plan(tmp_path, "epochs=2", "train_rows=64", methods="tinybert")
    store, spec = Store(tmp_path / "results"), the_run(made)
    for need in made.runs.values():
        if need.id != spec.id:
            train(type(made)(made.preset, made.study, {need.id: need}), store)
    setup = prepare(spec, store, CPU, FEW)
    module = setup.context.learners["student"].module
    before = module.classifier.weight.detach().clone()  # type: ignore[union-attr,operator]
    setup.context.step = 0
    setup.method.step(setup.train.at(0))
    assert torch.equal(module.classifier.weight, before)  # type: ignore[arg-type,union-attr]
    setup.context.step = setup.method.first_steps  # type: ignore[attr-defined]
    setup.method.step(setup.train.at(1))
    assert not torch.equal(module.classifier.weight, before)  # type: ignore[arg-type,union-attr]
    assert setup.context.learners["student"].updates == 1
