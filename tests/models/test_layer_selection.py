"""Networks of some of another one's layers, of every architecture that has separate ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch.testing import assert_close

from kdbench.core.errors import UserError
from kdbench.methods.takd import halfway
from kdbench.models import build, reference
from kdbench.models.layer_selection import keep_layers
from kdbench.models.reference import resolve
from tests.kdbench.small_runs import plan, refusal
from tests.models.made import WITH_LAYERS, config, save

LABELS = ("entailment", "not_entailment")


def outputs(model: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        found = model.eval()(torch.tensor([[2, 7, 9, 3]]), attention_mask=torch.ones(1, 4), output_hidden_states=True)
    return (*found.hidden_states, found.logits)


@pytest.mark.parametrize("kind", WITH_LAYERS)
def test_the_lowest_layers_compute_what_they_computed(kind: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config(kind, labels=LABELS))
    whole = build.build(resolve(str(folder)), LABELS, "eager")
    part = build.build(resolve(f"{folder}:0+1"), LABELS, "eager")
    assert part.config.num_hidden_layers == 2
    for ours, theirs in zip(outputs(part)[:2], outputs(whole)[:2], strict=True):  # the last may pass a closing norm
        assert_close(ours, theirs)
    part.save_pretrained(tmp_path / "saved")
    again = build.load(tmp_path / "saved", attention="eager")
    for ours, theirs in zip(outputs(again), outputs(part), strict=True):
        assert_close(ours, theirs)


def test_layers_are_taken_in_the_given_order_and_use_up_no_random_numbers(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", config())
    torch.manual_seed(3)
    whole = build.build(resolve(str(folder)), LABELS, "eager")
    after = torch.get_rng_state()
    torch.manual_seed(3)
    part = build.build(resolve(f"{folder}:2+0"), LABELS, "eager")
    assert torch.equal(torch.get_rng_state(), after)
    for place, layer in enumerate((2, 0)):
        for name, tensor in whole.bert.encoder.layer[layer].state_dict().items():
            assert torch.equal(part.bert.encoder.layer[place].state_dict()[name], tensor)
    assert torch.equal(part.classifier.weight, whole.classifier.weight)


@pytest.mark.parametrize("kind", WITH_LAYERS)
def test_layers_are_counted_whatever_an_architecture_calls_them(kind: str, tmp_path: Path) -> None:
    large, small = save(tmp_path / "l", config(kind)), f"tiny-{2}x32"
    assert reference.shape(resolve(str(large))).layers == 4
    assert halfway(str(large), small) == f"{large}:0+1+2"
    with pytest.raises(UserError, match=r"asks for layer 4, but .* has layers 0 to 3"):
        reference.shape(resolve(f"{large}:4"))


@pytest.mark.slow
def test_layers_that_share_their_weights_cannot_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by name nor by TAKD; said before anything is trained."""
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path / "m", config("albert"))
    with pytest.raises(UserError, match="a network of type albert has one set of weights for them all; name a whole"):
        build.build(resolve(f"{folder}:0+1"), LABELS, "eager")
    sets = [part for pair in (f"teacher={folder}", f"student={folder}") for part in ("--set", pair)]
    said = refusal("run", "--methods", "takd", "--tasks", "rte", *sets)
    assert "one set of weights for them all" in said
    assert "the method's option that names one: kdbench show METHOD" in said
    assert not list((tmp_path / "results").glob("runs/*"))


def test_layers_that_are_not_alike_cannot_be_chosen(tmp_path: Path) -> None:
    """A ModernBERT's first layer lacks a norm, so that it must stay the first."""
    folder = save(tmp_path / "m", config("modernbert"))
    with pytest.raises(UserError, match="make no modernbert, whose layers are not all alike; choose others, layer 0"):
        build.build(resolve(f"{folder}:1+3"), LABELS, "eager")
    encoder_decoder = transformers.BartConfig(
        vocab_size=57, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
    )  # fmt: skip
    bart = save(tmp_path / "bart", encoder_decoder)
    with pytest.raises(UserError, match="type bart has several lists of layers"):
        build.build(resolve(f"{bart}:0"), LABELS, "eager")


UNLIKE = {
    "vocab_size": 57, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
    "pad_token_id": 0, "initializer_range": 0.3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "list_of_layers", "key", "kept"),
    [
        (transformers.LongformerConfig(**UNLIKE, attention_window=[4, 8, 4, 16]), "longformer.encoder.layer",
         "attention_window", [8, 16]),
        (transformers.SmolLM3Config(**UNLIKE, num_key_value_heads=2), "model.layers", "no_rope_layers", [1, 0]),
        (transformers.GPTNeoConfig(vocab_size=57, hidden_size=32, num_layers=4, num_heads=2, intermediate_size=64,
         attention_types=[[["global", "local"], 2]], window_size=2), "transformer.h", "attention_layers",
         ["local", "local"]),
    ],
)  # fmt: skip
def test_layers_keep_settings_of_their_own(
    made: transformers.PreTrainedConfig, list_of_layers: str, key: str, kept: list[object], tmp_path: Path
) -> None:
    """The layers computed something else in another place, or the copy could not be made or loaded again."""
    whole = transformers.AutoModelForSequenceClassification.from_config(made, attn_implementation="eager").eval()
    part = keep_layers(whole, (1, 3), "eager", "mine")
    assert getattr(part.config, key) == kept
    given: list[tuple[object, object]] = []
    for place, layer in enumerate(part.get_submodule(list_of_layers)):
        old = whole.get_submodule(f"{list_of_layers}.{(1, 3)[place]}")
        layer.register_forward_hook(lambda _, a, k, out, old=old: given.append((out, old(*a, **k))), with_kwargs=True)
    ids = torch.arange(3, 15)[None]
    caching = {} if made.model_type == "longformer" else {"use_cache": False}
    with torch.no_grad():
        found = part(ids, **caching).logits
    assert len(given) == 2
    for ours, theirs in given:
        assert_close(ours, theirs)
    part.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    with torch.no_grad():
        assert_close(again.eval()(ids, **caching).logits, found)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (transformers.GPT2Config(vocab_size=57, n_embd=32, n_layer=4, n_head=2, scale_attn_by_inverse_layer_idx=True,
         initializer_range=0.3), "those of this gpt2 compute something else in another place; name a whole model"),
        (transformers.FunnelConfig(vocab_size=57, block_sizes=[1, 1, 1], d_model=32, n_head=2, d_head=16, d_inner=64),
         "the configuration of a funnel does not fit some of them alone; name a whole model"),
        (transformers.AlbertConfig(vocab_size=57, embedding_size=16, hidden_size=32, num_hidden_layers=4,
         num_hidden_groups=4, num_attention_heads=2, intermediate_size=64),
         "the configuration of this albert counts its layers in another way; name a whole model"),
    ],
)  # fmt: skip
def test_layers_that_cannot_stand_elsewhere_are_refused(made: transformers.PreTrainedConfig, why: str) -> None:
    whole = transformers.AutoModelForSequenceClassification.from_config(made, attn_implementation="eager")
    with pytest.raises(UserError, match=why):
        keep_layers(whole, (0, 2), "eager", "mine")
    assert whole.training


def test_pkd_and_takd_see_the_layers_of_a_distilbert(tmp_path: Path) -> None:
    teacher = save(tmp_path / "t", config("distilbert"))
    student = save(tmp_path / "s", config("distilbert", n_layers=2))
    made = plan(tmp_path, f"student={student}", f"teacher={teacher}", methods="pkd,takd")
    from kdbench.training import preflight

    preflight.check(made, ())
    assert f"{teacher}:0+1+2" in {spec.student.name for spec in made.runs.values()}
