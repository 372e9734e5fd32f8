"""Teachers from elsewhere whose classes are in another order than the task's."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from kdbench.core.errors import RunFailure, UserError
from kdbench.data.class_order import other_order
from kdbench.planning import inputs
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training import preflight
from tests.kdbench.small_runs import CPU, plan, the_run, train

NLI = ("entailment", "neutral", "contradiction")


def drawn(rows: int, accuracy: float, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true classes; wrong predictions are of any class."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, rows)
    return np.where(rng.random(rows) < accuracy, true, rng.integers(0, classes, rows)), true


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_every_order_of_three_classes_is_found(order: tuple[int, ...]) -> None:
    predicted, true = drawn(400, 0.7)
    # the network's output j stands for class order[j]
    found = other_order(np.argsort(order)[predicted], true, NLI)
    if order == (0, 1, 2):
        assert found == ""
    else:
        own, best = ((np.argsort(order)[predicted] == true).mean(), (predicted == true).mean())
        assert found == (
            f"is right on {100 * own:.0f} % of 400 labelled rows with the classes in the order entailment, neutral, "
            f"contradiction, and on {100 * best:.0f} % in the order {', '.join(NLI[i] for i in order)}"
        )


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 300), classes=st.integers(2, 20), weight=st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_networks_that_guess_or_have_collapsed_have_no_other_order(
    seed: int, rows: int, classes: int, weight: float
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    true = np.where(rng.random(rows) < weight, 0, rng.integers(0, classes, rows))
    labels = [str(i) for i in range(classes)]
    assert other_order(rng.integers(0, classes, rows), true, labels) == ""
    assert other_order(np.full(rows, classes - 1), true, labels) == ""


def test_few_rows_and_rows_without_labels_prove_nothing() -> None:
    predicted, true = drawn(400, 1.0, 2)
    assert "in the order" in other_order(1 - predicted, true, NLI[:2])
    assert other_order(1 - predicted[:12], true[:12], NLI[:2]) == ""
    assert other_order(1 - predicted, np.full(400, -1), NLI[:2]) == ""


def _outputs(folder: Path, right: str, wrong: str) -> Path:
    """A file of logits for all training rows of RTE, with 4 for the column `right` of the true class."""
    (spec,) = plan(folder / "any", methods="finetune").runs.values()
    labels = np.array(inputs.load_data("rte", spec.data).splits["train"].labels)
    path = folder / f"{right}.csv"
    logit = 8.0 * (labels == 0) - 4
    columns = {"row": np.arange(len(labels)), right: logit, wrong: -logit}
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_a_file_with_numbered_columns_in_another_order_is_refused_before_training(tmp_path: Path) -> None:
    def made(right: str, wrong: str) -> Plan:
        path = _outputs(tmp_path, right, wrong)
        return plan(tmp_path / right, f"teacher={path}", "teacher_is_finetuned=true", methods="kd")

    assert "in the order" not in " ".join(preflight.check(made("class_0", "class_1"), [CPU]))
    with pytest.raises(UserError) as refused:
        preflight.check(made("class_1", "class_0"), [CPU])
    said = str(refused.value)
    assert said.startswith("class_1.csv is right on 0 % of ")
    assert "and on 100 % in the order not_entailment, entailment; name its columns by these words" in said
    # words are taken as they are, with a remark
    remarks = preflight.check(made("not_entailment", "entailment"), [CPU])
    (remark,) = (one for one in remarks if "in the order" in one)
    assert remark.endswith("in the order not_entailment, entailment: the words of its columns are taken as they are.")


def test_a_network_with_its_classes_turned_round_fails_before_it_teaches(tmp_path: Path) -> None:
    """A fine-tuned network whose classifier's rows are exchanged, as if saved by another convention."""
    first, store = plan(tmp_path / "first", "train_rows=0", "epochs=6", methods="finetune"), Store(tmp_path / "results")
    train(first, store)
    network = shutil.copytree(store.run(the_run(first).id).model, tmp_path / "network")
    config = json.loads((network / "config.json").read_text())
    config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1"}
    config["label2id"] = {"LABEL_0": 0, "LABEL_1": 1}
    (network / "config.json").write_text(json.dumps(config))
    tensors = load_file(network / "model.safetensors")
    turned = {name: tensors[name].flip(0).contiguous() for name in tensors if name.startswith("classifier")}
    assert len(turned) == 2
    save_file(tensors | turned, network / "model.safetensors", metadata={"format": "pt"})
    made = plan(tmp_path / "second", "train_rows=0", f"teacher={network}", "teacher_is_finetuned=true", methods="kd")
    with pytest.raises(RunFailure, match=r"correct id2label in its config\.json") as failed:
        train(made, store)
    assert failed.value.kind == "class-order"
