"""Networks of any kind get what their own tokenizer gives them: a run's predictions are the saved model's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from kdbench.models import build, inference
from kdbench.models.compare_tokenizers import difference
from kdbench.planning import inputs
from kdbench.results.store import Store
from tests.conftest import one_fast
from tests.kdbench.architectures import TOKENIZERS, save
from tests.kdbench.small_runs import plan, the_run, train

ROWS = 24


@pytest.mark.parametrize("kind", one_fast(TOKENIZERS, "bert", "deberta-v3", "modernbert", "xlnet"))
def test_predictions_are_those_of_the_saved_model_row_by_row(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In plain transformers, with the saved tokenizer and without any padding; logits to 1e-5."""
    monkeypatch.setattr(inference, "EVAL_BATCH", 1000)  # rows of every length in one batch
    folder = save(tmp_path / kind, kind)
    sets = (f"student={folder}", f"teacher={folder}", "train_rows=32", "epochs=1", "precision=fp32")
    made, store = plan(tmp_path, *sets, methods="finetune"), Store(tmp_path / "r")
    train(made, store)
    spec = the_run(made)
    saved = store.run(spec.id).model
    network = transformers.AutoModelForSequenceClassification.from_pretrained(saved).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved)
    examples = inputs.load_data("rte", spec.data).splits["validation"]
    rows = [
        tokenizer(*pair, return_tensors="pt", truncation=True, max_length=spec.training.max_length)
        for pair in list(zip(examples.text_a, examples.text_b or (), strict=True))[:ROWS]
    ]
    with torch.no_grad():
        alone = [network(**row) for row in rows]
    assert len({row["input_ids"].shape[1] for row in rows}) > 2  # so that there is padding
    wanted = torch.cat([out.logits for out in alone])
    found = load_file(store.run(spec.id).path / "predictions.safetensors")["best/validation/logits"][:ROWS]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert wanted.std(0).min() > 1e-3  # else anything would be equal
    assert difference(build.tokenizer(spec.student), tokenizer) == ""
