"""Every malformed input is one sentence that names the file, the line, what was expected and the way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.tasks.qqp import Qqp
from kdbench.tasks.rte import Rte

HEADER = "index\tsentence1\tsentence2\tlabel\n"


def complaint(root: Path | None, content: bytes | None = None) -> str:
    """The message for an RTE folder whose train.tsv holds `content`, after checking that it is one sentence."""
    if content is not None and root is not None:
        (root / "RTE").mkdir()
        (root / "RTE" / "train.tsv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        Rte().load(DataLocation("glue-dir", root))
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message
    return message


def test_no_folder_named() -> None:
    assert "add --glue-dir DIR" in complaint(None)


def test_missing_root(tmp_path: Path) -> None:
    message = complaint(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message
    assert "--glue-dir" in message


def test_missing_task_folder_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "MRPC").mkdir()
    message = complaint(tmp_path)
    assert "no folder RTE" in message
    assert "MRPC" in message


def test_missing_file(tmp_path: Path) -> None:
    (tmp_path / "RTE").mkdir()
    message = complaint(tmp_path)
    assert str(tmp_path / "RTE" / "train.tsv") in message
    assert "missing" in message


def test_missing_report_split_is_named(tmp_path: Path) -> None:
    assert "dev.tsv is missing" in complaint(tmp_path, (HEADER + "0\ta\tb\tentailment\n").encode())


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may read any file")
def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "train.tsv").touch(mode=0o000)
    assert "cannot be read" in complaint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    assert "train.tsv is empty: expected a header line" in complaint(tmp_path, content)


def test_header_without_rows(tmp_path: Path) -> None:
    assert "no rows" in complaint(tmp_path, HEADER.encode())


def test_missing_column(tmp_path: Path) -> None:
    message = complaint(tmp_path, b"index\tsentence1\tsentence2\n0\ta\tb\n")
    assert "train.tsv, line 1: expected a column 'label'" in message
    assert "found: index, sentence1, sentence2" in message


@pytest.mark.parametrize(("row", "found"), [("1\ta\tb", 3), ("1\ta\tb\tc\tentailment", 5), ("", 1)])
def test_wrong_number_of_columns(tmp_path: Path, row: str, found: int) -> None:
    content = HEADER + "0\ta\tb\tentailment\n" + row + "\n2\ta\tb\tentailment\n"
    message = complaint(tmp_path, content.encode())
    assert f"train.tsv, line 3: expected 4 tab-separated columns as in the header, found {found}" in message


@pytest.mark.parametrize("word", ["", "Entailment", "neutral", "1", "entailment "])
def test_unknown_label_word(tmp_path: Path, word: str) -> None:
    message = complaint(tmp_path, (HEADER + f"0\ta\tb\t{word}\n").encode())
    assert f"train.tsv, line 2: '{word}' is no label" in message
    assert "valid: entailment, not_entailment" in message


def test_other_encoding_names_the_line(tmp_path: Path) -> None:
    content = (HEADER + "0\ta\tb\tentailment\n1\tcafé\tb\tentailment\n").encode("latin-1")
    assert "train.tsv, line 3: expected UTF-8" in complaint(tmp_path, content)


def test_more_broken_rows_than_published_are_reported(tmp_path: Path) -> None:
    (tmp_path / "QQP").mkdir()
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    (tmp_path / "QQP" / "train.tsv").write_text(header + "broken\n" * (Qqp.broken_rows + 1), encoding="utf-8")
    with pytest.raises(UserError, match=f"line {Qqp.broken_rows + 2}: expected 6"):
        Qqp().load(DataLocation("glue-dir", tmp_path))
