"""Each way in which a zip can be damaged is refused, with a sentence of its own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.results.submission_zip import check_zip, write_zip
from tests.commands.made_glue import SERVER, pack, small_server, sound

Members = dict[str, str | bytes]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_server(monkeypatch)


def change(name: str, old: str, new: str) -> Callable[[Members], None]:
    def damage(members: Members) -> None:
        text = members[name]
        assert isinstance(text, str)
        assert old in text
        members[name] = text.replace(old, new, 1)

    return damage


def rename(name: str, new: str) -> Callable[[Members], None]:
    return lambda members: members.update({new: members.pop(name)})


def drop(name: str) -> Callable[[Members], None]:
    return lambda members: members.update(members.pop(name) and {})


def add(name: str, content: str | bytes) -> Callable[[Members], None]:
    return lambda members: members.update({name: content})


DAMAGE = {
    "a file is missing": (drop("WNLI.tsv"), "lacks WNLI.tsv: GLUE wants 11 files"),
    "a file too many": (add("SNLI.tsv", ""), "holds 'SNLI.tsv', which GLUE does not take (takes: MRPC.tsv"),
    "another name": (rename("MNLI-m.tsv", "mnli.tsv"), "holds 'mnli.tsv', which GLUE does not take"),
    "in a folder": (rename("RTE.tsv", "out/RTE.tsv"), "files must lie at the top, in no folder"),
    "no header": (change("RTE.tsv", "index\tprediction\n", ""), "RTE.tsv, line 1: expected the header"),
    "another header": (change("RTE.tsv", "prediction", "label"), r"line 1: expected the header 'index\tprediction'"),
    "byte-order mark": (change("RTE.tsv", "index", "\ufeffindex"), "RTE.tsv, line 1: expected the header"),
    "empty": (add("RTE.tsv", ""), "RTE.tsv, line 1: expected the header 'index\\tprediction', found ''"),
    "one column": (change("RTE.tsv", "3\tnot_entailment", "3"), "RTE.tsv, line 5: expected an index, a tab"),
    "commas": (change("RTE.tsv", "3\tnot", "3,not"), "RTE.tsv, line 5: expected an index, a tab"),
    "a blank line": (change("RTE.tsv", "\n3\t", "\n\n3\t"), "line 5: expected an index, a tab and a prediction"),
    "a row is missing": (change("RTE.tsv", "3\tnot_entailment\n", ""), "line 5: expected the index 3, found '4'"),
    "last row missing": (change("RTE.tsv", "23\tnot_entailment\n", ""), "RTE.tsv: 23 rows, but the test split has 24"),
    "a row too many": (change("RTE.tsv", "23\t", "23\tentailment\n24\t"), "25 rows, but the test split has 24"),
    "counted from 1": (change("RTE.tsv", "\n0\t", "\n1\t"), "line 2: expected the index 0, found '1'"),
    "index twice": (change("RTE.tsv", "\n4\t", "\n2\t"), "line 6: the index 2 stands there twice"),
    "out of order": (change("RTE.tsv", "5\tnot_entailment\n6", "6\tnot_entailment\n5"), "expected the index 5, found"),
    "no index": (change("RTE.tsv", "\n3\t", "\nthree\t"), "line 5: expected the index 3, found 'three'"),
    "class numbers": (change("RTE.tsv", "3\tnot_entailment", "3\t1"), "'1' is no prediction (valid: entailment"),
    "words for numbers": (change("MRPC.tsv", "3\t1", "3\tequivalent"), "'equivalent' is no prediction (valid: 0, 1)"),
    "decimals": (change("SST-2.tsv", "3\t1", "3\t1.0"), "SST-2.tsv, line 5: '1.0' is no prediction (valid: 0, 1)"),
    "another task's words": (change("MNLI-m.tsv", "neutral", "not_entailment"), "(valid: entailment, neutral, contrad"),
    "CR LF": (change("RTE.tsv", "entailment\n", "entailment\r\n"), r"line 2: 'entailment\r' is no prediction"),
    "too similar": (change("STS-B.tsv", "\t5", "\t5.1"), "'5.1' is no prediction (valid: a number from 0 to 5)"),
    "not a number": (change("STS-B.tsv", "\t5", "\tnan"), "'nan' is no prediction (valid: a number from 0 to 5)"),
    "another encoding": (add("RTE.tsv", "index\tprédiction".encode("latin-1")), "RTE.tsv: no UTF-8 text"),
    "far too large": (add("RTE.tsv", "0" * 10**6), "RTE.tsv: 1,000,000 bytes are too many for 24 rows"),
}  # fmt: skip


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        check_zip(path, SERVER)
    message = str(caught.value)
    assert message.startswith((str(path), "There is no file"))
    assert message.endswith((".", "see: kdbench status"))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_zip_is_refused(tmp_path: Path, kind: str) -> None:
    damage, sentence = DAMAGE[kind]
    members: Members = dict(sound())
    damage(members)
    assert sentence in complaint(pack(tmp_path / "some.zip", members))


def test_a_sound_zip_is_taken(tmp_path: Path) -> None:
    check_zip(pack(tmp_path / "some.zip", sound()), SERVER)
    check_zip(pack(tmp_path / "bare.zip", {name: text.removesuffix("\n") for name, text in sound().items()}), SERVER)


def test_a_file_that_is_there_twice(tmp_path: Path) -> None:
    path = pack(tmp_path / "some.zip", sound())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("RTE.tsv", sound()["RTE.tsv"])
    assert "holds RTE.tsv 2 times; keep one" in complaint(path)


def test_what_is_no_zip_and_what_is_cut_short_or_changed(tmp_path: Path) -> None:
    path = pack(tmp_path / "some.zip", sound())
    whole = path.read_bytes()
    assert "There is no file" in complaint(tmp_path / "none.zip")
    path.write_text("index\tprediction\n", encoding="utf-8")
    assert "is no zip that can be read" in complaint(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "is no zip that can be read" in complaint(path)
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    assert "is no zip that can be read" in complaint(path)


def test_a_locked_zip(tmp_path: Path) -> None:
    path = pack(tmp_path / "some.zip", sound())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first member in the directory
    path.write_bytes(content)
    assert "MRPC.tsv: encrypted; zip it without a password" in complaint(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_whole_or_damaged(tmp_path: Path, method: int) -> None:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in sound().items():
            archive.writestr(name, content)
    assert "MRPC.tsv: compressed in a way that not every zip program reads" in complaint(path)
    whole = bytearray(path.read_bytes())
    whole[60:90] = bytes(byte ^ 255 for byte in whole[60:90])
    path.write_bytes(whole)
    assert "MRPC.tsv: compressed in a way" in complaint(path)


def test_nothing_is_written_over_a_good_zip_by_a_bad_one(tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    write_zip(path, SERVER, {})
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"some\.zip, RTE\.tsv, line 3: 'maybe' is no prediction"):
        write_zip(path, SERVER, {"RTE.tsv": ["entailment", "maybe"] * 12})
    with pytest.raises(UserError, match=r"RTE\.tsv: 0 rows, but the test split has 24"):
        write_zip(path, SERVER, {"RTE.tsv": []})
    with pytest.raises(UserError, match=r"Unknown file 'RTE\.tvs'. Did you mean 'RTE\.tsv'"):
        write_zip(path, SERVER, {"RTE.tvs": ["entailment"] * 24})
    with pytest.raises(UserError, match="is a folder"):
        write_zip(tmp_path, SERVER, {})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["some.zip"]
