"""The real files: every row is read, no byte of text changes, and the labels fall as published."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from kdbench.core.spec import DataLocation
from kdbench.data.task import Examples
from kdbench.tasks.glue import GlueTask
from kdbench.tasks.mnli import Mnli
from kdbench.tasks.mrpc import Mrpc
from kdbench.tasks.qnli import Qnli
from kdbench.tasks.qqp import Qqp
from kdbench.tasks.rte import Rte
from kdbench.tasks.sst2 import Sst2
from kdbench.tasks.stsb import Stsb

# per task: the class counted, and its share in per cent in `train` and in the (first) report split
SHARES = [(Mrpc, 1, 67.4, 68.4), (Rte, 0, 50.2, 52.7), (Sst2, 1, 55.8, 50.9), (Qnli, 0, 50.3, 49.5)]
SHARES += [(Mnli, 0, 34.1, 35.4), (Mnli, 1, 33.1, 31.8), (Mnli, 2, 32.8, 32.7), (Qqp, 1, 36.3, 38.3)]


def sizes(glue_dir: Path, task: type[GlueTask], *, labelled: bool = True) -> dict[str, dict[str, str]]:
    """The rows of the size table for the labelled (or the test) splits of a task, by split."""
    table = glue_dir / "OFFICIAL_SIZES.tsv"
    if not table.is_file():
        pytest.skip(f"no size table {table}")
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["config"] == task.hub_config]
    return {row["split"]: row for row in rows if row["split"].startswith("test") != labelled}


def text_bytes(split: Examples) -> int:
    return sum(len(text.encode()) for text in (*split.text_a, *(split.text_b or ())))


@pytest.mark.parametrize("task", [Mrpc, Rte, Sst2, Mnli, Qnli, Qqp, Stsb])
def test_rows_and_text_bytes_are_those_of_the_files(glue_dir: Path, task: type[GlueTask]) -> None:
    expected = sizes(glue_dir, task)
    splits = task().load(DataLocation("glue-dir", glue_dir)).splits
    assert {name: len(split) for name, split in splits.items()} == {
        name: int(row["pack_rows"]) for name, row in expected.items()
    }
    assert {name: text_bytes(split) for name, split in splits.items()} == {
        name: int(row["pack_utf8_text_bytes"]) for name, row in expected.items()
    }
    assert task.official_rows == {name: int(row["official_rows"]) for name, row in expected.items()}


@pytest.mark.parametrize("task", [Mrpc, Rte, Sst2, Mnli, Qnli, Qqp, Stsb])
def test_test_splits_are_those_that_the_server_scores(glue_dir: Path, task: type[GlueTask]) -> None:
    expected = sizes(glue_dir, task, labelled=False)
    assert {file.split: file.rows for file in task.server_files} == {
        name: int(row["official_rows"]) for name, row in expected.items()
    }
    for name, row in expected.items():
        if row["match"] != "absent":
            split = task().load_test(DataLocation("glue-dir", glue_dir), name)
            assert (len(split), text_bytes(split)) == (int(row["pack_rows"]), int(row["pack_utf8_text_bytes"]))
            assert set(split.labels) == {-1}


@pytest.mark.parametrize(("task", "label", "train", "report"), SHARES)
def test_label_shares(glue_dir: Path, task: type[GlueTask], label: int, train: float, report: float) -> None:
    splits = task().load(DataLocation("glue-dir", glue_dir)).splits
    for name, share in (("train", train), (task.report_splits[0], report)):
        assert round(100 * Counter(splits[name].labels)[label] / len(splits[name]), 1) == pytest.approx(share, abs=0.11)


def test_scores_of_sentence_pairs(glue_dir: Path) -> None:
    splits = Stsb().load(DataLocation("glue-dir", glue_dir)).splits
    assert list(splits["train"].labels[:5]) == [5.0, 3.8, 3.8, 2.6, 4.25]
    assert all(isinstance(label, float) and 0 <= label <= 5 for split in splits.values() for label in split.labels)


def test_traps_that_other_readers_fall_into(glue_dir: Path) -> None:
    mnli = Mnli().load(DataLocation("glue-dir", glue_dir)).splits
    assert list(mnli["train"].text_b or ()).count("n/a") == 2
    qnli = Qnli().load(DataLocation("glue-dir", glue_dir)).splits["train"]
    assert any("\ufffd" in text for text in (*qnli.text_a, *(qnli.text_b or ())))
    sst2 = Sst2().load(DataLocation("glue-dir", glue_dir)).splits
    assert all(text.endswith(" ") for split in sst2.values() for text in split.text_a)
    mrpc = Mrpc().load(DataLocation("glue-dir", glue_dir)).splits["train"]
    assert any(text.count('"') % 2 for text in mrpc.text_a)
