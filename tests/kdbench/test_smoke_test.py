"""What a run would trip over is found before anything is trained: by building every network and making a first step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from kdbench.core.errors import UserError
from kdbench.data.batches import Batch, collate
from kdbench.data.splits import Part
from kdbench.data.tokens import InputFormat
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.hidden_states import FeatureView
from kdbench.distill.method import Distillation
from kdbench.distill.method_registry import METHODS
from kdbench.distill.trainable import ComputeSettings, zero_head
from kdbench.models import build
from kdbench.models.classifier_head import output_layer
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training import preflight, smoke_test
from tests.kdbench.architectures import TOKENIZERS, save
from tests.kdbench.small_runs import CPU, added_plugins, plan, refusal, train
from tests.kdbench.test_teacher_cache import ROWS, tokens
from tests.kdbench.toys import TOYS, AskingForMaps

HEADS = "finetune,kd,pesf_kd,prokt,lgtm,meta_distill"  # zeros in the classifier, features before it, look-aheads
LAST = {"bert": "classifier", "roberta": "classifier.out_proj", "gpt2": "score", "xlnet": "logits_proj"}


class Broken(Distillation):
    """Fails once its teacher is there."""

    title = "broken"

    def loss(self, batch: Batch) -> Tensor:
        return self.teacher.logits(batch)[0, 5]


@pytest.fixture(autouse=True)
def more_methods() -> Iterator[None]:
    with added_plugins(METHODS, asking_for_maps=AskingForMaps, broken=Broken, **TOYS):
        yield


def of(folder: Path, kind: str, *sets: str, methods: str = HEADS, **changes: Any) -> Plan:
    """A plan with a small network of this architecture as student and teacher."""
    path = save(folder / kind, kind, **changes)
    return plan(folder, f"student={path}", f"teacher={path}", "max_length=64", *sets, methods=methods)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_methods_that_look_at_the_head_take_any_architecture(kind: str, tmp_path: Path) -> None:
    preflight.check(of(tmp_path, kind), [CPU])


@pytest.mark.parametrize(("kind", "name"), LAST.items())
def test_the_last_layer_is_found_and_set_to_zero(kind: str, name: str, tmp_path: Path) -> None:
    module: Any = transformers.AutoModelForSequenceClassification.from_pretrained(save(tmp_path / kind, kind))
    assert output_layer(module)[1] is module.get_submodule(name)
    zero_head(module.eval())
    logits = module(input_ids=torch.arange(5, 25).view(2, 10), attention_mask=torch.ones(2, 10, dtype=int)).logits
    assert torch.equal(logits, torch.zeros(2, 2))


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_features_before_the_last_layer_make_the_logits(kind: str, tmp_path: Path) -> None:
    """[B, H] for every architecture, also for one that decides at every token and takes the last (GPT-2)."""
    module = build.load(save(tmp_path / kind, kind), attention="eager", labels=("no", "yes"))
    with torch.no_grad():
        output_layer(module)[1].weight.normal_()  # else all logits are nearly the same
    some = replace(tokens(), format=InputFormat.of(TOKENIZERS[kind](), kind))
    teacher = FrozenTeacher(module, some, Part("train", ROWS), ComputeSettings(torch.device("cpu")))
    for role in ("train", "feedback"):  # looked up, computed
        asked = collate(some, ROWS[:16], torch.device("cpu"), role)
        features, logits = teacher.head_inputs(asked, FeatureView())
        assert features.shape == (len(asked), 32)
        torch.testing.assert_close(output_layer(module)[1](features), logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits, teacher.outputs(asked).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", TOYS)
def test_whatever_a_method_needs_is_stood_in_for(method: str, tmp_path: Path) -> None:
    preflight.check(plan(tmp_path, methods=method), [CPU])


@pytest.mark.parametrize(
    ("kind", "changes", "sets", "said"),
    [
        ("bert", {"vocab_size": 40}, [], r"has [\d,]+ tokens, the embeddings of .*bert have 40 rows"),
        (
            "roberta",
            {"max_position_embeddings": 66},
            ["max_length=66"],
            "max_length=66 is more than .*roberta can read.*--set max_length=64 or less",
        ),
        ("xlnet", {}, ["attention=sdpa"], "is of type xlnet, which has no attention=sdpa; give --set attention=eager."),
        ("gpt2", {"pad_token_id": None}, [], "gpt2 predicts something else .*no padding token"),
    ],
)
def test_a_network_that_cannot_read_the_data_is_refused(
    kind: str, changes: dict[str, Any], sets: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        preflight.check(of(tmp_path, kind, *sets, methods="kd", **changes), [CPU])


def test_the_longest_input_is_searched_where_the_configuration_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdbench.models.configuration.AFTER_PADDING", ())
    made = of(tmp_path, "roberta", "max_length=66", methods="kd", max_position_embeddings=66)
    with pytest.raises(UserError, match=r"max_length=66 is more than .*roberta can read .*Error: .*max_length=64 or"):
        preflight.check(made, [CPU])


def test_a_network_without_a_table_of_words_is_checked_too(tmp_path: Path) -> None:
    """CANINE has no method that returns one."""
    size = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    folder = save(tmp_path / "canine", "bert")
    config = transformers.CanineConfig(**size, num_hash_buckets=64, pad_token_id=0)
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    made = plan(tmp_path, f"student={folder}", "max_length=64", methods="finetune")
    with pytest.raises(UserError, match="predicts something else"):  # its convolutions mix padding in
        preflight.check(made, [CPU])


def test_a_method_that_fails_is_refused_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        preflight.check(plan(tmp_path, methods="broken"), [CPU])
    said = str(caught.value)
    assert said.startswith("Method 'broken' cannot teach tiny-2x32 on rte (with tiny-3x32): IndexError: ")
    assert "(test_smoke_test.py, line " in said
    assert "\n" not in said


def test_what_fits_is_named_beside_what_does_not(tmp_path: Path) -> None:
    """By sizes (pkd), by the layers of the assistant (takd), and by a first step (minilm): one refusal for all."""
    student, teacher = save(tmp_path / "student", "bert"), save(tmp_path / "teacher", "albert", hidden_size=64)
    sets = (f"student={student}", f"teacher={teacher}", "max_length=64")
    with pytest.raises(UserError, match=r"The others fit: --methods kd,dist\.$"):
        preflight.check(plan(tmp_path, *sets, methods="minilm,kd,takd,pkd,dist"), [CPU])
    with pytest.raises(UserError, match=r"its layers cannot be chosen.* The others fit: --methods kd\.$"):
        preflight.check(plan(tmp_path, *sets, methods="takd,kd"), [CPU])
    preflight.check(plan(tmp_path, *sets, methods="kd,dist"), [CPU])


def test_a_network_that_no_row_can_do_without_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the embeddings of .* have 40 rows;") as caught:
        preflight.check(of(tmp_path, "bert", methods="finetune,kd", vocab_size=40), [CPU])
    assert "The others fit" not in str(caught.value)


def test_attention_maps_of_a_kernel_without_them_are_refused_before_the_teacher_is_trained(tmp_path: Path) -> None:
    preflight.check(plan(tmp_path, "teacher=tiny-2x32", methods="asking_for_maps"), [CPU])
    preflight.check(plan(tmp_path, "teacher=tiny-2x32", "last_layer=first", methods="asking_for_maps"), [CPU])
    with pytest.raises(UserError, match="attention=sdpa makes no attention maps; give --set attention=eager"):
        preflight.check(plan(tmp_path, "teacher=tiny-2x32", "attention=sdpa", methods="asking_for_maps"), [CPU])


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_command_refuses_before_it_writes_anything(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, and in a process of the pool."""
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "few", "bert", vocab_size=40)
    said = refusal("run", "--methods", "finetune", "--tasks", "rte", "--set", f"student={path}", "--jobs", str(jobs))
    assert "embeddings of" in said
    assert "\n" not in said
    sets = ("--set", "student=tiny-2x32", "--set", "teacher=tiny-3x32", "--jobs", str(jobs))
    said = refusal("run", "--methods", "kd,broken,dist", "--tasks", "rte", *sets)
    assert said.startswith("Method 'broken' cannot teach")
    assert said.endswith("The others fit: --methods kd,dist.")
    assert not (tmp_path / "results").exists()


def test_what_is_done_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(smoke_test, "smoke_test", lambda plan, todo: tried.append(len(todo)) or {})
    made, store = plan(tmp_path, "epochs=1", methods="kd"), Store(tmp_path / "r")
    preflight.check(made, [CPU], store)
    train(made, store)
    preflight.check(made, [CPU], store)
    assert tried == [2]


def test_every_setting_of_a_method_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the seeds, tasks of as many classes, and rates."""
    tried: list[tuple[str, str]] = []
    monkeypatch.setattr(
        smoke_test._SmokeTest, "try_method", lambda _, spec: tried.append((spec.method, str(spec.options)))
    )
    made = plan(tmp_path, "kd.kd_loss=kl,mse", "student_lr=1e-3,1e-4", methods="kd", tasks="mrpc,rte,mnli", seeds="0-2")
    preflight.check(made, [CPU])
    assert len(made.runs) == 2 * 3 * 3 * 2 + 3 * 3
    assert len(tried) == len(set(tried)) * 2 == 2 * (1 + 2)  # two and three classes


def test_generators_stand_where_they_stood(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    preflight.check(plan(tmp_path, "dropout=packed", methods="lgtm"), [CPU])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.nn.functional.dropout.__module__ == "torch.nn.functional"
