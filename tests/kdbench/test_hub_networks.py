"""Networks of the hub, from a cache on this machine: a name says nothing about the content."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from huggingface_hub import constants

from kdbench.cli.app import app
from kdbench.reporting.machines import software_notes
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from tests.kdbench.small_runs import SMALL
from tests.models.made import config, save

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a network `own/net` with two commits, the older of which is the newest known."""
    folder = tmp_path / "cache" / "models--own--net"
    for commit in (OLD, NEW):
        save(folder / "snapshots" / commit, config(num_hidden_layers=1), transformers.AutoModel)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(OLD)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


def test_runs_record_the_commit_and_tables_name_rows_with_another(cache: Path, tmp_path: Path) -> None:
    sets = [*SMALL, "student=own/net", "epochs=1", "train_rows=32", "max_length=16", "eval_every=0"]
    for commit, method in ((OLD, "finetune"), (NEW, "kd")):
        (cache / "refs" / "main").write_text(commit)
        words = ["run", "--methods", method, "--tasks", "rte", "--results", str(tmp_path / "results")]
        with pytest.raises(SystemExit) as end:
            app([*words, *(part for pair in sets for part in ("--set", pair))])
        assert not end.value.code
    (study,) = studies(Store(tmp_path / "results"))
    for row, commit in (("finetune", OLD), ("kd", NEW)):
        assert [cell.run.environment["hub"] for cell in study.of(row, "rte")] == [{"own/net": commit}]
    lines = [select_row(study, row) for row in ("finetune", "kd")]
    assert f"Trained with different versions of own/net: {OLD} (Fine-tuning); {NEW} (KD)." in software_notes(lines)
    assert software_notes(lines[:1]) == []
