"""Classifiers that come with a checkpoint, and the label words of what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from torch.testing import assert_close

from kdbench.models import build
from kdbench.models.reference import resolve
from kdbench.planning.inputs import load_data
from kdbench.results.predictions import read_logits
from kdbench.results.store import Store
from tests.kdbench import small_runs
from tests.models.made import ARCHITECTURES, MNLI, config, save, set_config, tensors

TASK = ("entailment", "neutral", "contradiction")


def built(folder: Path, labels: tuple[str, ...] = TASK) -> tuple[torch.nn.Module, list[str]]:
    told: list[str] = []
    torch.manual_seed(7)
    model = build.build(resolve(str(folder)), labels, "eager", log=told.append)
    return model.eval(), [text.removeprefix(f"{folder}: ") for text in told]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([[2, 7, 9, 3]]), attention_mask=torch.ones(1, 4)).logits
    return found


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_classifier_that_knows_the_labels_is_put_into_their_order(kind: str, tmp_path: Path) -> None:
    labels = tuple(word.upper() for word in MNLI)
    folder = save(tmp_path / "m", config(kind, labels=labels))
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    model, told = built(folder)
    assert_close(logits(model), logits(plain)[:, [1, 2, 0]])
    assert model.config.id2label == dict(enumerate(TASK))
    (said,) = told
    assert said.endswith(
        "is kept, put from the order CONTRADICTION, ENTAILMENT, NEUTRAL into entailment, neutral, contradiction"
    )


def test_a_classifier_in_the_tasks_order_is_kept_as_it_is(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config(labels=TASK))
    model, told = built(folder)
    assert torch.equal(model.get_parameter("classifier.weight"), tensors(folder)["classifier.weight"])
    assert told == ["its classifier is kept, it knows the task's labels"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("words", [None, ("positive", "neutral", "negative")])
def test_other_labels_mean_a_new_classifier_and_nothing_else_new(
    kind: str, words: tuple[str, ...] | None, tmp_path: Path
) -> None:
    """LABEL_0, LABEL_1, ... name nothing."""
    changes = {"num_labels": 3} if words is None else {"labels": words}
    folder = save(tmp_path / "m", config(kind, **changes))
    model, told = built(folder)
    given = tensors(folder)
    new = {
        name for name, tensor in model.state_dict().items() if name in given and not torch.equal(tensor, given[name])
    }
    (weight,) = [name for name in new if name.endswith(".weight")]
    assert new <= {weight, weight.replace(".weight", ".bias")}
    spread = 32**-0.5 if kind == "modernbert" else 0.02  # as the class draws it, not the folder's 0.1
    assert float(model.get_parameter(weight).detach().std()) == pytest.approx(spread, rel=0.3)
    (said,) = told
    assert ", ".join(words or ("LABEL_0", "LABEL_1", "LABEL_2")) in said
    assert said.endswith("drawn anew")
    assert torch.equal(model.get_parameter(weight), built(folder)[0].get_parameter(weight))  # seeded


def test_another_number_of_classes_means_a_new_classifier(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config(labels=MNLI))
    model, told = built(folder, ("entailment", "not_entailment"))
    assert model.get_parameter("classifier.weight").shape == (2, 32)
    assert told == ["drawn anew: classifier.bias, classifier.weight"]


def test_a_run_saves_the_tasks_label_words(tmp_path: Path) -> None:
    """So that transformers' own pipeline answers in them, whatever the start said of its classes."""
    folder = save(tmp_path / "m", config(num_labels=2, problem_type="multi_label_classification"))
    set_config(folder, id2label={"0": "not_entailment", "1": "entailment"})
    store = Store(tmp_path / "results")
    for start in ("tiny-1x32", str(folder)):
        plan = small_runs.plan(tmp_path, f"student={start}", "epochs=1", "train_rows=40", methods="finetune")
        small_runs.train(plan, store)
        run = store.run(small_runs.the_run(plan).id)
        saved = json.loads((run.model / "config.json").read_text())
        assert saved["id2label"] == {"0": "entailment", "1": "not_entailment"}
        assert saved["label2id"] == {"entailment": 0, "not_entailment": 1}
        answer = transformers.pipeline("text-classification", model=str(run.model))("a b c", top_k=None)
        assert {one["label"] for one in answer} == {"entailment", "not_entailment"}
        assert sum(one["score"] for one in answer) == pytest.approx(1)
    lines = (run.path / "log.txt").read_text().splitlines()
    order = "from the order not_entailment, entailment into entailment, not_entailment"
    assert lines[1].endswith(f"{folder}: its classifier is kept, put {order}")


def test_a_pipeline_cuts_texts_as_the_run_did(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plan = small_runs.plan(
        tmp_path, "student=tiny-1x32", "epochs=1", "train_rows=40", "max_length=12", methods="finetune"
    )
    small_runs.train(plan, store)
    spec = small_runs.the_run(plan)
    run = store.run(spec.id)
    result = run.result()
    assert result is not None
    assert result["cut_off"]["validation"] > 10  # texts that fill the length
    split = load_data("rte", spec.data).splits["validation"]
    assert split.text_b is not None
    pairs = [{"text": a, "text_pair": b} for a, b in zip(split.text_a, split.text_b, strict=True)]
    answers = transformers.pipeline("text-classification", model=str(run.model), truncation=True)(pairs, top_k=None)
    found = [{one["label"]: one["score"] for one in answer} for answer in answers]
    known = torch.tensor(read_logits(run).student["validation"]).softmax(1)
    ours = torch.tensor([[one["entailment"], one["not_entailment"]] for one in found], dtype=torch.float64)
    assert_close(ours, known, atol=2e-3, rtol=0)  # stored logits are rounded


def test_a_resumed_run_does_not_say_it_again(tmp_path: Path) -> None:
    from kdbench.core.errors import Stopped
    from kdbench.training.runner import execute

    folder = save(tmp_path / "m", config())
    plan = small_runs.plan(tmp_path, f"student={folder}", "epochs=1", "train_rows=40", methods="finetune")
    store, spec = Store(tmp_path / "results"), small_runs.the_run(plan)
    with pytest.raises(Stopped):
        execute(spec, store, small_runs.CPU, small_runs.FEW, should_stop=lambda: True)
    execute(spec, store, small_runs.CPU, small_runs.FEW)
    assert (store.run(spec.id).path / "log.txt").read_text().count("drawn anew") == 1
