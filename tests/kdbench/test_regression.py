"""A task of numbers: losses, the methods that refuse it, and what a run leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch.func import jvp

from kdbench.cli.app import app
from kdbench.data.batches import collate
from kdbench.data.data_checks import data_remarks
from kdbench.data.task import Examples, TaskData
from kdbench.data.task_registry import TASKS
from kdbench.data.teacher_outputs import read_outputs
from kdbench.data.tokens import Tokens, label_array
from kdbench.distill.bilevel import directional_derivative, sample_weights
from kdbench.distill.losses import OBJECTIVES, label_loss, output_distance, soft_label_loss_each
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS
from kdbench.planning.make_plan import select_methods
from kdbench.results.archive import compression
from kdbench.results.class_use import ClassUse, count_classes
from kdbench.results.comparison import mean_score
from kdbench.results.predictions import read_predictions
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.kdbench.small_runs import refusal

SMALL = ["epochs=1", "train_rows=64", "batch_size=16", "student=tiny-2x32", "teacher=tiny-3x32", "jobs=1"]
NUMBERS, CLASSES = 1, 3


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_losses_of_one_output_are_squared_differences() -> None:
    s, t, y = numbers(1.0, 2.0, 4.0), numbers(1.5, 0.0, 4.0), torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)
    assert label_loss(y, s).item() == pytest.approx((1 + 0 + 1) / 3)
    assert output_distance(t, s).item() == pytest.approx((0.25 + 4 + 0) / 3)
    assert 4**2 * output_distance(t, s, 4.0, "elementmean").item() == pytest.approx((0.25 + 4 + 0) / 3)
    assert soft_label_loss_each(t, s).tolist() == [0.25, 4.0, 0.0]
    assert OBJECTIVES["mse"](t, s) == OBJECTIVES["kl"](t, s) == output_distance(t, s)


def test_losses_of_classes_are_as_they_were() -> None:
    s, t, y = torch.randn(4, CLASSES), torch.randn(4, CLASSES), torch.tensor([0, 2, 1, 1])
    assert label_loss(y, s) == torch.nn.functional.cross_entropy(s, y)
    divergence = torch.nn.functional.kl_div(s.log_softmax(1), t.softmax(1), reduction="batchmean")
    assert output_distance(t, s).item() == pytest.approx(divergence.item(), rel=1e-5)


def test_the_influence_of_a_sample_is_the_change_of_its_squared_difference() -> None:
    t, z, dz = torch.randn(5, 1), torch.randn(5, 1), torch.randn(5, 1)
    _, expected = jvp(lambda s: soft_label_loss_each(t, s), (z,), (dz,))
    assert torch.allclose(sample_weights(t, z, dz), expected)
    assert torch.allclose(directional_derivative(output_distance, t, z, dz), expected.mean())


def test_labels_stay_numbers_in_batches_and_masked_rows_have_none() -> None:
    labels = label_array([0.5, 3.75, 5.0])
    assert labels.dtype == np.float64
    assert label_array([0, 1]).dtype == label_array([]).dtype == np.int64
    ids = np.arange(3, dtype=np.int32)
    tokens = Tokens(ids, np.zeros_like(ids, np.int8), np.arange(4, dtype=np.int64), labels)
    assert collate(tokens, np.array([2, 0]), torch.device("cpu")).labels.tolist() == [5.0, 0.5]
    assert np.isnan(tokens.keep_rows(np.array([1])).labels).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("method", "sets", "why"),
    [
        ("dist", (), "the softmax of a regression's one output is always 1; methods that learn a regression are "),
        ("skd", (), "the direction is only a sign; methods that learn a regression are "),
        ("kd", ("kd.kd_loss=dist",), "kd_loss=dist compares probabilities of classes, and a regression has none."),
        ("rco", ("rco.kd_loss=dist",), "kd_loss=dist compares probabilities"),
        ("pkd", ("pkd.kd_loss=dist",), "kd_loss=dist compares probabilities"),
        ("lgtm", ("lgtm.kd_loss=dist",), "kd_loss=dist compares probabilities"),
        ("dml", ("dml.kl_eps=1e-8",), "kl_eps is added to probabilities of classes"),
        ("pesf_kd", ("pesf_kd.soft=corrected",), "soft=corrected compares probabilities"),
        ("meta_distill_released", (), "soft=probability_mse compares probabilities"),
    ],
)
def test_what_needs_classes_is_refused_before_any_training(
    method: str, sets: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [part for item in (*SMALL, *sets) for part in ("--set", item)]
    said = refusal("run", "--methods", method, "--tasks", "stsb", "--dry-run", *given)
    assert said.startswith(f"Method '{method.removesuffix('_released')}' cannot teach tiny-2x32 on stsb: ")
    assert why in said
    assert not list(tmp_path.glob("results/runs/*/state.json"))


def test_a_method_of_ones_own_says_that_it_takes_numbers() -> None:
    assert "no_regression" in Method.no_regression
    refusing = {name for name, method in METHODS.all().items() if method.no_regression}
    assert refusing & select_methods("paper").keys() == {"dist", "skd"}
    assert Method.no_regression not in {METHODS.get(name).no_regression for name in refusing}


def test_one_number_for_every_text_is_a_collapse_and_is_said() -> None:
    true = np.array([0.0, 2.5, 5.0])
    one = ClassUse(**count_classes(np.array([2.0, 2.0, 2.0 + 1e-7], np.float32), true, NUMBERS))
    assert one.is_collapsed
    assert one.words(("score",)) == "1 number, with which correlations are undefined and count as 0"
    several = ClassUse(**count_classes(np.array([2.0, 2.1, 2.0], np.float32), true, NUMBERS))
    assert not several.is_collapsed
    assert several.words(("score",)) == "2 numbers"


def test_data_checks_speak_of_numbers() -> None:
    train = Examples(["a", "b", "a"], None, [1.0, 2.0, 3.0])
    test = Examples(["c", "d"], None, [2.5, 2.5])
    assert data_remarks("T", TaskData({"train": train, "test": test}), ("score",), ("test",)) == [
        "T: 1 of 3 rows of train (1 text with different labels) repeat the text of another row.",
        "T test: every score is the same, so that no correlation is defined.",
    ]


def test_a_file_of_outputs_has_one_column(tmp_path: Path) -> None:
    data = TaskData({"train": Examples(["a", "b"], None, [1.0, 2.0])})
    (tmp_path / "o.csv").write_text("row,score\n0,1\n1,0.25\n")
    found = read_outputs(tmp_path / "o.csv", "auto", ("score",), data)
    assert found.logits["train"].tolist() == [[1.0], [0.25]]
    assert found.remark == "The outputs of 2 rows in o.csv are read as numbers."
    with pytest.raises(Exception, match="cannot hold probabilities, because the task is a regression"):
        read_outputs(tmp_path / "o.csv", "probabilities", ("score",), data)


def test_predictions_are_collected_as_they_are(tmp_path: Path) -> None:
    true, first = np.array([0.1, 3.8, 5.0]), np.array([0.25, 1.5, 4.125], np.float32)
    given = [compression.RunPredictions(run, "validation", first + i, true) for i, run in enumerate(("a", "b"))]
    compression.write_predictions(tmp_path / "p", given)
    found = compression.read_predictions(tmp_path / "p")
    for one in given:
        (read,) = found[one.run]
        assert read.classes.tolist() == one.classes.tolist()
        assert read.labels.tolist() == true.tolist()


def test_a_run_from_scores_to_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = [part for item in SMALL for part in ("--set", item)]
    app(["run", "--methods", "kd", "--tasks", "stsb", *given, "--device", "cpu"], standalone_mode=False)
    (run,) = (run for run in Store(Path("results")).runs() if run.id.startswith("stsb-kd"))
    # scores are those of the stored predictions, which are the outputs themselves
    stored = read_predictions(run)["validation"]
    result = json.loads((run.path / "result.json").read_text())["best"]["report"]["validation"]
    assert result["pearson"] == pytest.approx(stats.pearsonr(stored.classes, stored.labels).statistic, abs=1e-6)
    assert result["spearman"] == pytest.approx(stats.spearmanr(stored.classes, stored.labels).statistic, abs=1e-6)
    assert result["loss"] == pytest.approx(np.mean((stored.classes - stored.labels) ** 2), rel=1e-5)
    # the saved student says what its output is
    config = json.loads((run.model / "config.json").read_text())
    assert config["id2label"] == {"0": "score"}
    assert config["problem_type"] == "regression"
    # the error by bootstrap is about that of a correlation by Fisher's approximation
    (study,) = studies(Store(Path("results")))
    found = mean_score(TASKS.get("stsb")(), study.of("kd", "stsb"))
    mean = (result["pearson"] + result["spearman"]) / 2
    assert found.value == pytest.approx(100 * mean)
    assert math.sqrt(found.variance) == pytest.approx(100 * (1 - mean**2) / math.sqrt(len(stored.labels)), rel=0.3)
