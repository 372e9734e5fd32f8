"""Tokenizers: how they pad, and what makes two of them one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from kdbench.core.errors import UserError
from kdbench.data.batches import collate
from kdbench.data.task import Examples
from kdbench.data.tokens import InputFormat, load_or_tokenise, tokenise
from kdbench.distill import teacher_cache
from kdbench.models import build, reference
from kdbench.models.compare_tokenizers import difference
from kdbench.planning import inputs
from kdbench.tasks.lexicon import vocabulary
from kdbench.training import preflight
from tests.kdbench.architectures import TOKENIZERS, WORDS, bert, gpt2, letters, save
from tests.kdbench.small_runs import CPU, plan, refusal

TEXTS = ["the cat", "a dog saw the small red bird", "No."]
PAIRS = Examples(TEXTS, ["is a cat", "it did", "a much longer second sentence than the others"], [0, 1, 0])


def as_loaded(folder: Path, kind: str) -> Any:
    """The tokenizer as a run gets it."""
    save(folder, kind)
    return build.tokenizer(reference.resolve(str(folder)))


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_is_what_the_tokenizer_itself_would_make(kind: str, side: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    tokenizer.padding_side = side
    wanted = tokenizer(PAIRS.text_a, PAIRS.text_b, padding=True, truncation=True, max_length=20, return_tensors="pt")
    found = collate(tokenise(tokenizer, PAIRS, 20), np.arange(3), torch.device("cpu")).inputs
    assert found.keys() == dict(wanted).keys()
    for name, values in found.items():
        assert torch.equal(values, wanted[name]), name


def test_rows_that_are_blanked_hold_padding_alone() -> None:
    tokens = tokenise(TOKENIZERS["roberta"](), PAIRS, 20).keep_rows(np.array([1]))
    assert set(tokens.ids[: tokens.starts[1]]) == {1}
    assert tokens.labels.tolist() == [-1, 1, -1]
    assert tokens.ids.dtype == np.int32
    assert tokens.types.dtype == np.int8


def test_stored_tokens_are_padded_as_is_asked_now(tmp_path: Path) -> None:
    """Files hold what they always held; the format of padding is a matter of who reads them."""
    made = tokenise(TOKENIZERS["xlnet"](), PAIRS, 20)
    assert made.format == InputFormat(5, 0, "left", ("input_ids", "attention_mask"))
    for format in (made.format, InputFormat()):
        read = load_or_tokenise(tmp_path, ["key"], format, lambda: made)
        assert np.array_equal(read.ids, made.ids)
    assert read.format == InputFormat()
    (file,) = tmp_path.glob("*.safetensors")
    assert set(load_file(file)) == {"ids", "types", "starts", "labels"}


def test_a_table_of_a_frozen_teacher_is_of_one_way_to_pad() -> None:
    """BERT's way has the key that it had before there were others."""
    tokens, rows = tokenise(bert(), PAIRS, 20), np.arange(3)
    arrays = (tokens.ids, tokens.types, tokens.starts, rows)
    assert teacher_cache.hash_inputs(tokens, rows) == teacher_cache.hash_tensors(
        torch.from_numpy(array) for array in arrays
    )
    other = bert(padding_side="left")
    assert teacher_cache.hash_inputs(tokenise(other, PAIRS, 20), rows) != teacher_cache.hash_inputs(tokens, rows)


def test_a_row_without_tokens_is_refused() -> None:
    empty = Examples(["a", ""], None, [0, 1])
    with pytest.raises(UserError, match="Row 1 is empty"):
        tokenise(TOKENIZERS["gpt2"](), empty, 20)
    assert tokenise(bert(), empty, 20).lengths.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("tokenizer", "parts"),
    [
        (gpt2(), ["no padding token", '"pad_token"', "tokenizer_config.json", "config.json"]),
        (bert(model_input_names=["input_ids", "token_type_ids"]), ["attention_mask", "model_input_names"]),
        (bert(model_input_names=["input_ids", "attention_mask", "bbox"]), ["bbox", "choose another model"]),
    ],
)
def test_a_tokenizer_that_makes_no_batches_is_refused(tokenizer: Any, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        InputFormat.of(tokenizer, "mine")
    for part in ["The tokenizer of mine", *parts]:
        assert part in str(caught.value)


@pytest.mark.slow
def test_a_model_that_cannot_pad_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path / "gpt2", "gpt2", gpt2(), pad_token_id=None)
    said = refusal("run", "--methods", "finetune", "--tasks", "rte", "--set", f"student={folder}")
    assert f"The tokenizer of {folder} has no padding token" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_saved_tokenizer_is_the_same_however_it_is_written(kind: str, tmp_path: Path) -> None:
    """Saved again, with truncation and padding in its file, and with its file in another layout."""
    first = as_loaded(tmp_path / "a", kind)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first(TEXTS, padding=True, truncation=True, max_length=7)
    first.save_pretrained(tmp_path / "b")
    file = tmp_path / "b" / "tokenizer.json"
    stored = json.loads(file.read_text())
    assert stored["truncation"]
    assert stored["padding"]
    file.write_text(json.dumps(stored, indent=7, sort_keys=True))
    a, b = (reference.resolve(str(tmp_path / name)) for name in "ab")
    assert inputs.network_shape(a, ()).tokenizer != inputs.network_shape(b, ()).tokenizer
    assert inputs.tokenizer_difference(a, b, ()) == ""


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"do_lower_case": False}, "lower-casing"),
        ({"strip_accents": False}, "accents"),
        ({"tokenize_chinese_chars": False}, "normalisation"),
        ({"padding_side": "left"}, "padding"),
        ({"pad_token": "[UNK]"}, "special tokens"),
        ({"truncation_side": "left"}, "truncation"),
        ({"model_input_names": ["input_ids", "attention_mask"]}, "model_input_names"),
        ({"cls_token": "[SEP]"}, "special tokens"),
        ({"additional_special_tokens": ["the"]}, "special tokens"),
    ],
)
def test_what_differs_between_two_tokenizers(settings: dict[str, Any], what: str) -> None:
    assert difference(bert(), bert(**settings)) == what
    assert difference(bert(**settings), bert()) == what
    assert difference(bert(**settings), bert(**settings)) == ""


def test_other_tokens_another_order_other_merges() -> None:
    words = bert().get_vocab()
    turned = {**words, WORDS[0]: words[WORDS[1]], WORDS[1]: words[WORDS[0]]}
    assert difference(bert(), transformers.BertTokenizer(vocab=turned)) == "vocabulary"
    known = {**letters("<pad>"), "th": 257}
    with_merge = transformers.GPT2Tokenizer(vocab=known, merges=[("t", "h")], pad_token="<pad>")
    without = transformers.GPT2Tokenizer(vocab=known, merges=[], pad_token="<pad>")
    assert difference(with_merge, without) == "vocabulary"


def test_a_vocabulary_file_alone_is_the_tokenizer_that_its_settings_say(tmp_path: Path) -> None:
    """As early checkpoints come: vocab.txt and do_lower_case."""
    for name, lower in (("lower", True), ("cased", False)):
        save(tmp_path / name, "bert")
        (tmp_path / name / "tokenizer.json").unlink()
        words = sorted(bert().get_vocab().items(), key=lambda item: item[1])
        (tmp_path / name / "vocab.txt").write_text("\n".join(word for word, _ in words) + "\n")
        (tmp_path / name / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    save(tmp_path / "json", "bert")
    lower, cased, other = (reference.resolve(str(tmp_path / name)) for name in ("lower", "cased", "json"))
    assert inputs.tokenizer_difference(lower, other, ()) == ""
    assert inputs.tokenizer_difference(cased, other, ()) == "lower-casing"


def test_of_a_teacher_with_the_same_words_and_another_casing_the_user_is_told(tmp_path: Path) -> None:
    student, teacher = save(tmp_path / "student", "bert"), save(tmp_path / "teacher", "bert", bert(do_lower_case=False))
    made = plan(tmp_path, f"student={student}", f"teacher={teacher}", methods="kd")
    said = "The tokenizers of student and teacher differ (lower-casing); each reads the texts with its own."
    assert preflight.check_plan(made, [CPU]) == [said]


def test_a_run_s_model_is_a_teacher_for_the_model_that_it_came_from(tmp_path: Path) -> None:
    """A tiny network's tokenizer, made in Python, and the same one read back."""
    words, tiny = tuple(vocabulary()), reference.resolve("tiny-2x32")
    build.build(tiny, ("a", "b"), "eager", words).save_pretrained(tmp_path / "saved")
    build.tokenizer(tiny, words).save_pretrained(tmp_path / "saved")
    saved = reference.resolve(str(tmp_path / "saved"))
    assert inputs.tokenizer_difference(tiny, saved, words) == ""
    assert inputs.input_format(tiny, words) == inputs.input_format(saved, words) == InputFormat()
