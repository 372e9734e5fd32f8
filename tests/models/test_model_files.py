"""Damaged and missing files of a model: one sentence, before anything is trained."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer

from kdbench.core.errors import UserError
from kdbench.models import build, reference
from kdbench.models.reference import resolve
from kdbench.planning import inputs
from kdbench.results.store import Store
from kdbench.training.failures import as_failure
from tests.kdbench import small_runs
from tests.kdbench.small_runs import refusal
from tests.models.made import config, save, tensors

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 438\n"


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(keep * len(data))])

    return apply


def quantise(folder: Path) -> None:
    """Round the weights to whole numbers, as files of 8-bit networks hold them beside their scales."""
    path = folder / "model.safetensors"
    kept = {k: (t * 100).to(torch.int8) if k.endswith("weight") else t for k, t in load_file(path).items()}
    save_file(kept, path, {"format": "pt"})


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove("model.safetensors"), "has no weights; it needs model.safetensors or pytorch_model.bin"),
        (quantise, "holds quantised weights"),
        (cut("model.safetensors", 0.5), "model.safetensors is cut short or damaged"),
        (cut("model.safetensors", 0.001), "model.safetensors is cut short or damaged"),
        (cut("model.safetensors", 0), "model.safetensors is empty"),
        (write("model.safetensors", POINTER), "run 'git lfs pull'"),
        (write("tokenizer.json", POINTER), "run 'git lfs pull'"),
        (write("config.json", POINTER), "run 'git lfs pull'"),
        (cut("config.json", 0.5), "config.json is not valid JSON"),
        (cut("config.json", 0), "config.json is empty"),
        (write("config.json", "[1]"), "config.json holds no JSON object, but list"),
        (write("config.json", '{"model_type": "brt"}'), "model_type 'brt'"),
        (write("config.json", '{"model_type": "vit"}'), "is a vit, of which there is no text classifier"),
        (cut("tokenizer.json", 0.5), "The tokenizer in .* cannot be loaded"),
        (remove("tokenizer.json"), "has no tokenizer; it needs one of: tokenizer.json, vocab.txt, vocab.json with mer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_damage_is_told_before_training(
    damage: Callable[[Path], None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path / "m", config())
    damage(folder)
    found = refusal("run", "--methods", "finetune", "--tasks", "rte", "--set", f"student={folder}")
    assert re.search(said, found), found
    assert str(folder) in found
    assert "\n" not in found
    assert not list((tmp_path / "results").glob("runs/*"))


def test_a_part_of_divided_weights_is_missed(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config())
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60kB")
    build.build(resolve(str(folder)), ("no", "yes"), "eager")
    first = min(folder.glob("model-*.safetensors"))
    first.write_text(POINTER)
    with pytest.raises(UserError, match=f"{first.name} is a git-lfs pointer"):
        reference.shape(resolve(str(folder)))
    first.unlink()
    with pytest.raises(UserError, match=f"{first.name} is missing"):
        reference.shape(resolve(str(folder)))


def test_old_weights_that_are_cut_short(tmp_path: Path) -> None:
    """A pickle has no header that could be compared with its size; loading it finds out."""
    folder = save(tmp_path / "m", config())
    torch.save(tensors(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    build.build(resolve(str(folder)), ("no", "yes"), "eager")
    cut("pytorch_model.bin", 0.5)(folder)
    with pytest.raises(UserError, match=r"cannot be loaded \(.*\); copy, fetch or train the model again"):
        build.build(resolve(str(folder)), ("no", "yes"), "eager")


def test_a_pointer_that_nobody_reads_does_not_matter(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config())
    (folder / "pytorch_model.bin").write_text(POINTER)
    build.build(resolve(str(folder)), ("no", "yes"), "eager")


def test_a_folder_that_only_holds_models_names_them(tmp_path: Path) -> None:
    """As a Trainer leaves its checkpoints; the later ones are named."""
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"out has no config\.json; it must be in Hugging Face format"):
        resolve(str(tmp_path / "out"))
    for step in (500, 1000, 1500, 2000):
        (tmp_path / "out" / f"checkpoint-{step}").mkdir()
        (tmp_path / "out" / f"checkpoint-{step}" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"subfolders that have: checkpoint-1000, checkpoint-1500, checkpoint-2000\.$"):
        resolve(str(tmp_path / "out"))
    (tmp_path / "out" / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="holds an adapter and no whole network"):
        resolve(str(tmp_path / "out"))


def test_damage_after_the_check_is_missing_data_and_no_bug(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config())
    plan = small_runs.plan(tmp_path, f"student={folder}", "epochs=1", "train_rows=40", methods="finetune")
    cut("model.safetensors", 0.5)(folder)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        small_runs.train(plan, Store(tmp_path / "results"))
    assert as_failure(caught.value).kind == "missing-data"


def slow_tokenizer(folder: Path) -> Path:
    """The folder with `vocab.json` and `merges.txt` in place of `tokenizer.json`."""
    made = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made.train_from_iterator(["the cat sat", "a dog ran"], vocab_size=300, min_frequency=1, special_tokens=special)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    made.save_model(str(folder))
    return folder


def test_a_slow_tokenizers_files_are_converted(tmp_path: Path) -> None:
    slow = slow_tokenizer(save(tmp_path / "slow", config("roberta", vocab_size=300)))
    made = build.tokenizer(resolve(str(slow)))
    assert made.convert_ids_to_tokens(made("the cat")["input_ids"]) == ["<s>", "the", "Ġcat", "</s>"]

    fast = tmp_path / "fast"
    shutil.copytree(slow, fast)
    made.save_pretrained(fast)
    assert inputs.tokenizer_difference(resolve(str(fast)), resolve(str(slow)), ()) == ""


def test_a_sentencepiece_file_needs_two_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m", config("deberta-v2"))
    before = resolve(str(folder)).fingerprint
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "spm.model").write_bytes(b"\x0a\x0e")
    first = resolve(str(folder)).fingerprint
    (folder / "spm.model").write_bytes(b"\x0a\x0f")
    assert len({before, first, resolve(str(folder)).fingerprint}) == 3  # it decides how text is read
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match=r"pip install sentencepiece protobuf, or put a tokenizer.json beside it"):
        build.tokenizer(resolve(str(folder)))
