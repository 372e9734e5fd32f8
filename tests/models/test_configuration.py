"""Sizes of networks, read from config.json."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from kdbench.core.errors import UserError
from kdbench.models.configuration import Dimensions, load_config, read_dimensions
from kdbench.planning.cost_estimate import estimate_cost
from kdbench.results.store import Store
from tests.kdbench import small_runs
from tests.models.made import ARCHITECTURES, config, save, set_config

POSITIONS = {"modernbert": 8192, "gpt2": 1024, "xlnet": None}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_sizes_are_found_whatever_an_architecture_calls_them(kind: str, tmp_path: Path) -> None:
    config(kind).save_pretrained(tmp_path)
    assert read_dimensions(tmp_path) == Dimensions(kind, 4, 32, 64, 57, POSITIONS.get(kind, 512))


@pytest.mark.parametrize(
    ("kind", "padding", "longest"),
    [("roberta", 1, 32), ("roberta", 0, 33), ("xlm-roberta", 1, 32), ("mpnet", 1, 32), ("bert", 1, 34)],
)
def test_the_longest_input_is_what_a_network_reads(kind: str, padding: int, longest: int, tmp_path: Path) -> None:
    """RoBERTas number the tokens from the row after that of the padding token: of 512 + 2 rows 512 are used."""
    save(tmp_path, config(kind, max_position_embeddings=34, pad_token_id=padding))
    assert read_dimensions(tmp_path).longest == longest
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    model(input_ids=torch.full((1, longest), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, longest + 1), 5))


def test_a_configuration_without_padding_token_has_that_of_its_kind(tmp_path: Path) -> None:
    config("roberta", max_position_embeddings=514).save_pretrained(tmp_path)
    given = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in given.items() if k != "pad_token_id"}))
    assert read_dimensions(tmp_path).longest == 512


def test_an_estimate_knows_the_size_of_a_distilbert(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config("distilbert"))
    found = estimate_cost(
        small_runs.plan(tmp_path, f"student={folder}", methods="finetune"), Store(tmp_path, create=False)
    )
    assert found.remarks == ()  # in which sizes that are guessed are named
    assert found.disk == pytest.approx((folder / "model.safetensors").stat().st_size, rel=0.1)


def test_the_sizes_of_a_bert_are_read_without_transformers(tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    script = (
        "import sys; from pathlib import Path; from kdbench.models.configuration import read_dimensions;"
        f"read_dimensions(Path({str(tmp_path)!r})); print({{'torch', 'transformers'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    set_config(tmp_path, model_type="brt")
    with pytest.raises(UserError, match=r"model_type 'brt', which transformers .* does not know. Did you mean 'bert'"):
        load_config(tmp_path)
    set_config(tmp_path, model_type=["bert"])
    with pytest.raises(UserError, match="which is no name"):
        read_dimensions(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("num_hidden_layers", "many"), ("hidden_size", None), ("hidden_size", 0)])
def test_sizes_that_are_none(name: str, value: object, tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    set_config(tmp_path, **{name: value})
    with pytest.raises(UserError, match=f"config.json .*({name}|describe)"):
        read_dimensions(tmp_path)
