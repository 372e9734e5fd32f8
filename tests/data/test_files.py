"""Reading of data files: every format gives the same rows, and a bad file is named with its line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pytest

from kdbench.core.errors import UserError
from kdbench.data.files.open_source import open_source
from kdbench.data.files.source import FileFormat

ROWS = [('a film, "good"', "pos"), ("süß\tand dull", "neg"), ("two\nlines", "pos")]
PLAIN = FileFormat()


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["text", "label"])


def write_parts(path: Path) -> None:
    path.write_text(json.dumps({"train": frame().to_dict("records"), "test": []}))


def write_saved(path: Path) -> None:
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": datasets.Dataset.from_pandas(frame())}).save_to_disk(str(path))


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.csv": lambda path: frame().to_csv(path, index=False),
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress(frame().to_csv(index=False).encode())),
    "semicolon.csv": lambda path: frame().to_csv(path, index=False, sep=";"),
    "mark.csv": lambda path: frame().to_csv(path, index=False, encoding="utf-8-sig"),
    "a.tsv": lambda path: frame().to_csv(path, index=False, sep="\t"),
    "a.json": lambda path: frame().to_json(path, orient="records"),
    "columns.json": lambda path: path.write_text(json.dumps(frame().to_dict("list"))),
    "parts.json#train": write_parts,
    "a.jsonl": lambda path: frame().to_json(path, orient="records", lines=True),
    "a.parquet": lambda path: frame().to_parquet(path),
    "saved#train": write_saved,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name.partition("#")[0])
    found = open_source(name, tmp_path, PLAIN)
    assert found.columns == ("text", "label")
    for _ in range(2):  # a source can be read again
        assert [(row["text"], row["label"]) for _, row in found] == ROWS


def test_lines_by_a_pattern_and_files_of_lines(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_bytes("NUM:dist How far ?\nLOC:city Où ?\n".encode("latin-1"))
    form = FileFormat(encoding="latin-1", pattern=r"(?P<label>\w+):\w+ (?P<text>.*)")
    found = [row for _, row in open_source("q.txt", tmp_path, form)]
    assert found == [{"label": "NUM", "text": "How far ?"}, {"label": "LOC", "text": "Où ?"}]
    (tmp_path / "t.txt").write_text("one\ntwo\n")
    (tmp_path / "l.txt").write_text("0\n1\n")
    pairs = open_source({"text": "t.txt", "label": "l.txt"}, tmp_path, PLAIN)
    assert list(pairs) == [(1, {"text": "one", "label": "0"}), (2, {"text": "two", "label": "1"})]


BAD: dict[str, tuple[str, bytes, str]] = {  # what is wrong -> file, content, part of the message
    "empty": ("a.csv", b"", "is empty"),
    "blank": ("a.csv", b"\n\n", "is empty"),
    "ragged, too many": ("a.csv", b"text,label\na,b\na,b,c\n", "line 3: 3 fields where there are 2 columns"),
    "ragged, too few": ("a.csv", b"text,label\na\n", "line 2: 1 field where"),
    "open quote": ("a.csv", b'text,label\na,b\n"c,d\n', "line 3: a field begins with a double quote that is never"),
    "after a quote": ("a.csv", b'text,label\n"a"b,c\n', "line 2: text follows a closing double quote"),
    "NUL": ("a.csv", b"text,label\na\0,b\n", "line 2: a NUL byte"),
    "binary": ("a.csv", b"text,label\n\xff\0\xfe,b\n", "line 2: a NUL byte; the file is binary"),
    "latin-1": ("a.csv", b"text,label\ncaf\xe9,b\n", "line 2: not utf-8 (byte 0xE9); cp1252 fits"),
    "utf-16": ("a.csv", "text,label\na,b\n".encode("utf-16"), "utf-16 fits"),
    "twice": ("a.csv", b"text,text\na,b\n", "the column 'text' is there twice"),
    "no JSON": ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
    "no object": ("a.jsonl", b"3\n", "row 1: expected an object or a list"),
    "deep": ("a.json", b"[" * 100_000, "nested too deeply"),
    "digits": ("a.json", b"[" + b"9" * 5000 + b"]", "not valid JSON"),
    "no rows": ("a.json", b'"text"', "holds no list of rows"),
    "several lists": ("a.json", b'{"a": [[1]], "b": [[1], [2]]}', "several lists (a, b)"),
    "no Parquet": ("a.parquet", b"PAR1 and no more", "cannot be read as Parquet"),
    "no gzip": ("a.csv.gz", b"text,label\n", "no whole gzip file"),
    "cut gzip": ("a.csv.gz", gzip.compress(b"text,label\n" * 999)[:-20], "no whole gzip file"),
    "format": ("a.xlsx", b"PK", "no format that is known"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_named_with_its_line(what: str, tmp_path: Path) -> None:
    name, content, said = BAD[what]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        list(open_source(name, tmp_path, PLAIN))
    assert said in str(error.value)
    assert name in str(error.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    write_parts(tmp_path / "a.json")
    for source, said in (("b.csv", "There is no file"), ("a.json#dev", "no part 'dev' (found: train, test)")):
        with pytest.raises(UserError) as error:
            open_source(source, tmp_path, PLAIN)
        assert said in str(error.value)


def test_a_large_file_is_read_as_a_stream(tmp_path: Path) -> None:
    """Ten rows of a file cost no more memory than ten rows."""
    import tracemalloc

    with (tmp_path / "large.csv").open("w") as file:
        file.write("text,label\n")
        file.writelines(f"{'word ' * 200},a\n" for _ in range(30_000))  # 30 MB
    tracemalloc.start()
    assert sum(1 for _ in open_source("large.csv", tmp_path, PLAIN)) == 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
