"""Padding must change nothing of what a network predicts; where it does, the network is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers

from kdbench.core.errors import UserError
from kdbench.data.task import Examples
from kdbench.data.tokens import InputFormat, Tokens, tokenise
from kdbench.models.padding_check import check_padding
from tests.kdbench.architectures import TOKENIZERS, bert, gpt2, save
from tests.kdbench.small_runs import refusal

ROW = Examples(["the cat saw a small dog"], ["it did"], [0])


def network(folder: Path, kind: str, tokenizer: Any = None, **settings: Any) -> Any:
    save(folder, kind, tokenizer, **settings)
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder)


def read(tokenizer: Any) -> Tokens:
    return tokenise(tokenizer, ROW, 20, InputFormat.of(tokenizer, "it"))


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_networks_with_their_own_tokenizers_are_accepted(kind: str, tmp_path: Path) -> None:
    module = network(tmp_path, kind)
    module.train()
    check_padding(module, read(TOKENIZERS[kind]()), kind)
    assert module.training


@pytest.mark.parametrize(
    ("kind", "tokenizer", "settings", "part"),
    [
        ("bert", bert(padding_side="left"), {}, "logits differ by"),
        ("gpt2", gpt2(pad_token="<pad>", padding_side="left"), {}, "now left"),
        ("gpt2", gpt2(pad_token="<pad>"), {"pad_token_id": 5}, '"pad_token_id" (now 5)'),
        ("gpt2", gpt2(pad_token="<pad>"), {"pad_token_id": None}, "no padding token is defined"),
        ("nystromformer", bert(), {}, "logits differ by"),  # its attention is approximated over the whole batch
    ],
)
def test_networks_that_padding_changes_are_refused(
    kind: str, tokenizer: Any, settings: dict[str, Any], part: str, tmp_path: Path
) -> None:
    module = network(tmp_path, kind, tokenizer, **settings)
    with pytest.raises(UserError) as caught:
        check_padding(module, read(tokenizer), "mine")
    for said in ("mine predicts something else", part, "padding_side", "choose another model"):
        assert said in str(caught.value)


def test_a_network_without_an_attention_mask_is_told_from_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"type fnet takes no attention mask.* choose a model of another") as caught:
        check_padding(network(tmp_path, "fnet", bert()), read(bert()), "mine")
    assert "padding_side" not in str(caught.value)


def test_what_padding_spoils_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    left = save(tmp_path / "left", "gpt2", gpt2(pad_token="<pad>", padding_side="left"))
    xlnet = save(tmp_path / "xlnet", "xlnet")
    run = ("run", "--tasks", "rte", "--jobs", "1", "--set", "epochs=1", "--set", "train_rows=32")
    said = refusal(*run, "--methods", "finetune", "--set", f"student={left}")
    assert f"{left} predicts something else" in said
    said = refusal(*run, "--methods", "pkd", "--set", f"student={xlnet}", "--set", f"teacher={xlnet}")
    assert "Method 'pkd' cannot teach" in said
    assert "pads on the left" in said
    assert not (tmp_path / "results").exists()
