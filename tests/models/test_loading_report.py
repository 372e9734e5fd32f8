"""Given weights are used, or the model is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from kdbench.core.errors import UserError
from kdbench.models import build
from kdbench.models.reference import resolve
from tests.models.made import ARCHITECTURES, config, rename, save, set_config, tensors

LABELS = ("no", "yes")


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        build.build(resolve(str(folder)), LABELS, "eager")
    return str(caught.value)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_tensor_of_an_encoder_is_the_folders(kind: str, tmp_path: Path) -> None:
    """From a classifier, from what pre-training left, and from a plain encoder."""
    heads = [transformers.AutoModelForSequenceClassification, transformers.AutoModel]
    heads += [] if kind in ("gpt2", "xlnet") else [transformers.AutoModelForMaskedLM]
    for i, auto in enumerate(heads):
        folder = save(tmp_path / str(i), config(kind), auto)
        model = build.build(resolve(str(folder)), LABELS, "eager")
        given, prefix = tensors(folder), f"{model.base_model_prefix}."
        for name, tensor in model.base_model.state_dict().items():
            if not name.startswith("pooler."):
                assert torch.equal(tensor, given.get(prefix + name, given.get(name))), name


@pytest.mark.parametrize("prefix", ["module.", "enc.", "model.student."])
def test_a_foreign_prefix_is_refused(prefix: str, tmp_path: Path) -> None:
    rename(save(tmp_path / "m", config()), lambda key: prefix + key)
    said = refused(tmp_path / "m")
    assert "69 of the network's 73 tensors are missing (bert.embeddings.LayerNorm.bias, " in said  # the pooler may be
    assert f"Names begin with '{prefix}' instead of 'bert.'" in said
    assert "\n" not in said


def test_a_foreign_prefix_beside_the_right_one_is_refused(tmp_path: Path) -> None:
    """Two encoders in one file: nobody can know which was meant."""
    folder = save(tmp_path / "m", config())
    given = tensors(folder)
    save_file(given | {f"ema.{k}": v + 1 for k, v in given.items()}, folder / "model.safetensors", {"format": "pt"})
    assert "Names begin with 'ema.'" in refused(folder)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"num_hidden_layers": 5}, ["16 of the network's 89 tensors are missing (bert.encoder.layer.4."]),
        ({"num_hidden_layers": 3}, ["16 in the files have no place in the network (bert.encoder.layer.3.", "layers=3"]),
        ({"intermediate_size": 48}, ["12 have another shape", "intermediate.dense.bias is 64 there and 48 in the net"]),
        ({"max_position_embeddings": 64}, ["position_embeddings.weight is 512x32 there and 64x32"]),
        ({"vocab_size": 99}, ["word_embeddings.weight is 57x32 there and 99x32"]),
        ({"model_type": "electra", "embedding_size": 32}, ["Names begin with 'bert.' instead of 'electra.'"]),
        ({"model_type": "distilbert"}, ["tensors are missing"]),
    ],
)
def test_a_configuration_of_another_network_is_refused(
    change: dict[str, object], parts: list[str], tmp_path: Path
) -> None:
    set_config(save(tmp_path / "m", config()), **change)
    said = refused(tmp_path / "m")
    for part in parts:
        assert part in said
    assert ("have another shape" in said) != ("num_hidden_layers" in said or "Names begin" in said)


@pytest.mark.parametrize("auto", [transformers.AutoModel, transformers.AutoModelForSequenceClassification])
def test_a_layer_too_many_or_too_few_is_refused_without_a_prefix_too(auto: object, tmp_path: Path) -> None:
    set_config(save(tmp_path / "m", config(), auto), num_hidden_layers=2)
    assert "32 in the files have no place in the network" in refused(tmp_path / "m")
    rename(save(tmp_path / "n", config(), auto), lambda key: None if "layer.2.output.dense.weight" in key else key)
    assert "1 of the network's 73 tensors are missing (bert.encoder.layer.2.output.dense.weight)" in refused(
        tmp_path / "n"
    )


def _legacy(key: str) -> str:
    return key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def test_legacy_names_go_on_loading(tmp_path: Path) -> None:
    """gamma and beta, `position_ids`, and the heads of BERT's pre-training."""
    folder = save(tmp_path / "m", config(), transformers.AutoModelForPreTraining)
    given = {_legacy(key): tensor for key, tensor in tensors(folder).items()}
    given["bert.embeddings.position_ids"] = torch.arange(512)[None]
    save_file(given, folder / "model.safetensors", {"format": "pt"})
    told: list[str] = []
    model = build.build(resolve(str(folder)), LABELS, "eager", log=told.append)
    assert torch.equal(model.bert.embeddings.LayerNorm.weight, given["bert.embeddings.LayerNorm.gamma"])
    assert torch.equal(model.bert.pooler.dense.weight, given["bert.pooler.dense.weight"])
    assert told[0] == f"{folder}: drawn anew: classifier.bias, classifier.weight"
    assert told[1].startswith(f"{folder}: not needed of its files: cls.predictions.")
    assert len(told) == 2


def test_a_plain_encoder_may_lack_its_pooler_and_the_log_has_it(tmp_path: Path) -> None:
    drop: Callable[[str], str | None] = lambda key: None if key.startswith("pooler.") else key  # noqa: E731
    rename(save(tmp_path / "m", config(), transformers.AutoModel), drop)
    told: list[str] = []
    build.build(resolve(str(tmp_path / "m")), LABELS, "eager", log=told.append)
    pooler = "bert.pooler.dense.bias, bert.pooler.dense.weight"
    assert told == [f"{tmp_path / 'm'}: drawn anew: {pooler}, classifier.bias, classifier.weight"]


def test_what_a_run_left_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config())
    build.load(folder, attention="eager")
    rename(folder, lambda key: None if key == "classifier.bias" else key)
    with pytest.raises(UserError, match=r"not whole \(classifier.bias\); delete the run"):
        build.load(folder, attention="eager")
