"""Model folders with damaged JSON: one sentence before training, whatever the damage and the file."""

from __future__ import annotations

import itertools
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.core.settings import Execution
from kdbench.training.executors.local import shares
from kdbench.training.preflight import check
from tests.kdbench.small_runs import plan
from tests.models.made import config, save

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
CONTENTS = (
    b"", b"null", b"[]", b"{}", b"3", b'"text"', b"[" * 100_000, b"9" * 5000, b"NaN", b"\xff\xfe\x00", b"{\x00}",
    b'{"model_type": null}', b'{"model_type": []}', b'{"num_hidden_layers": null}', b'{"model": null}',
    b'{"num_hidden_layers": -1, "hidden_size": "x", "model_type": "bert"}', b'{"model": {"vocab": null}}',
    b'{"added_tokens": 3}', b'{"pad_token": {"a": []}}', b'{"model_max_length": "text"}', b'{"tokenizer_class": "No"}',
    b'{"tokenizer_class": 3}', b'{"pad_token": null}', b'{"vocab_size": 1e400, "model_type": "bert"}',
)  # fmt: skip
CASES = int(os.environ.get("KDBENCH_DAMAGE_CASES", "10"))
CPU = shares(Execution(device="cpu"), (), 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    random.Random(7).sample(list(itertools.product(FILES, CONTENTS)), min(CASES, len(FILES) * len(CONTENTS))),
    ids=lambda value: value if isinstance(value, str) else value[:30].decode("latin-1"),
)
def test_no_damage_ends_in_anything_but_a_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    """Some of it is harmless, such as an empty object where settings may stand; nothing else is accepted."""
    folder = save(tmp_path / "m", config())
    (folder / name).write_bytes(content)
    made, said = plan(tmp_path, f"student={folder}", "epochs=1", "train_rows=40", methods="finetune"), ""
    with suppress(UserError) if name == "tokenizer_config.json" else pytest.raises(UserError) as caught:
        check(made, CPU)
    said = str(caught.value) if caught else str(folder)
    assert "\n" not in said
    assert str(folder) in said
