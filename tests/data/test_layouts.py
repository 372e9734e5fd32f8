"""Layouts in which people keep labelled texts: each gives exactly the rows that were written, or a sentence."""

from __future__ import annotations

import bz2
import gzip
import json
import pickle
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.core.errors import UserError
from kdbench.data.declaration import Declaration
from kdbench.data.declared_rows import read_declared
from kdbench.data.new_declaration import Wishes, declare
from kdbench.data.task_registry import TASKS

WORDS = ("great", "lovely", "awful", "dull", "warm", "weak")
Rows = list[tuple[str, str]]
datasets.disable_progress_bars()


def make_rows(number: int = 60, start: int = 0, labels: tuple[str, ...] = ("neg", "pos")) -> Rows:
    """Return texts that all differ, with their labels."""
    return [
        (f"the film number {i} of a week was {WORDS[i % len(WORDS)]}", labels[i % len(labels)])
        for i in range(start, start + number)
    ]


ROWS, TEST = make_rows(), make_rows(20, 1000)
SORTED = sorted(make_rows(5000), key=lambda row: row[1])


def frame(rows: Rows, **more: Any) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["text", "label"]).assign(**more)


def csv(rows: Rows, head: str = "text,label", delimiter: str = ",") -> str:
    return "".join(f"{line}\n" for line in [*([head] if head else []), *(delimiter.join(row) for row in rows)])


def read(here: Path, data: str, **wishes: Any) -> dict[str, Counter[tuple[str, str]]]:
    """Declare the data, and return the rows of every split; what is held out counts as train."""
    made = declare(Wishes(data, name="own", **wishes))
    found = read_declared(Declaration.parse(tomllib.loads(made.text), data), here)
    splits: dict[str, Counter[tuple[str, str]]] = {}
    for split, examples in found.splits.items():
        rows = zip(examples.text_a, (found.labels[int(label)] for label in examples.labels), strict=True)
        splits.setdefault(split.replace("held_out", "train"), Counter()).update(rows)
    return splits


def check_rows(layout: tuple[Callable[[Path], Any], str, dict[str, Rows]], here: Path) -> None:
    """Write a layout, and check that each split has exactly its rows."""
    make, data, expected = layout
    make(here)
    assert read(here, data) == {split: Counter(rows) for split, rows in expected.items()}


def parquet(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame(rows).to_parquet(path)


def write_shards(here: Path) -> None:
    parquet(here / "hub/data/train-00000-of-00002.parquet", ROWS[:30])
    parquet(here / "hub/data/train-00001-of-00002.parquet", ROWS[30:])
    parquet(here / "hub/data/test-00000-of-00001.parquet", TEST)


def write(name: str, text: str) -> Callable[[Path], None]:
    def make(here: Path) -> None:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text, encoding="utf-8")

    return make


def together(*writers: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda here: [make(here) for make in writers] and None


def write_saved(here: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = {"text": [text for text, _ in ROWS], "label": [["neg", "pos"].index(label) for _, label in ROWS]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(here / "saved"))


def write_texts(folder: Path, rows: Rows) -> None:
    for number, (text, label) in enumerate(rows):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number}.txt").write_text(text)


def write_imdb(here: Path) -> None:
    write_texts(here / "imdb/train", [*ROWS, ("not labelled", "unsup")])
    write_texts(here / "imdb/test", TEST)


def lines(name: str, end: str = "\n") -> Callable[[Path], None]:
    return write(name, end.join(json.dumps({"text": text, "label": label}) for text, label in ROWS))


PHRASES = ("it is a good film to see", "it is a film to avoid")
USERS = [f"u{i % 40}" for i in range(len(SORTED))]
BOTH = {"train": ROWS, "test": TEST}
# what it is -> writer, --data, rows by split
LAYOUTS: dict[str, tuple[Callable[[Path], Any], str, dict[str, Rows]]] = {
    "sorted by class, another column repeats": (
        lambda here: frame(SORTED, source=["web", "app"] * 2500).to_csv(here / "r.csv", index=False), "r.csv",
        {"train": SORTED}),
    "sorted JSON lines with users": (
        lambda here: frame(SORTED, user=USERS).to_json(here / "r.jsonl", orient="records", lines=True), "r.jsonl",
        {"train": SORTED}),
    "sorted, two columns": (lambda here: frame(SORTED).to_csv(here / "r.csv", index=False), "r.csv", {"train": SORTED}),
    "shards, by the folder": (write_shards, "hub/data", BOTH),
    "shards, by the first": (write_shards, "hub/data/train-00000-of-00002.parquet", BOTH),
    "a folder in a folder": (write_shards, "hub", BOTH),
    "numbered files": (together(write("d/train_1.csv", csv(ROWS[:30])), write("d/train_2.csv", csv(ROWS[30:])),
                                write("d/test.csv", csv(TEST))), "d", BOTH),
    "parts without a split": (together(write("d/part-0.csv", csv(ROWS[:30])), write("d/part-1.csv", csv(ROWS[30:]))),
                              "d", {"train": ROWS}),
    "other capitals, other format": (
        together(write("train.csv", csv(ROWS)), lambda here: (here / "Test.csv.gz").write_bytes(
            gzip.compress(csv(TEST).encode()))), "train.csv", BOTH),
    "folders of splits": (together(write("d/train/data.csv", csv(ROWS)), write("d/test/data.csv", csv(TEST))), "d",
                          BOTH),
    "folders of texts and labels": (
        together(*(write(f"d/{split}/{name}", "".join(f"{row[place]}\n" for row in rows))
                   for split, rows in BOTH.items() for place, name in enumerate(("seq.in", "label")))), "d", BOTH),
    "IMDb": (write_imdb, "imdb", BOTH),
    "IMDb, by train": (write_imdb, "imdb/train", BOTH),
    "a column of splits": (
        lambda here: pd.concat([frame(ROWS, split="train"), frame(TEST, split="test")]).to_csv("r.csv", index=False),
        "r.csv", BOTH),
    "a saved data set": (write_saved, "saved", {"train": ROWS}),
    "a part of a JSON file": (write("r.json", json.dumps({"one": [dict(zip(("text", "label"), r)) for r in ROWS],  # noqa: B905
                                                          "two": [{"text": "x", "label": "y"}]})), "r.json#one",
                              {"train": ROWS}),
    "JSON lines called .json": (lines("r.json"), "r.json", {"train": ROWS}),
    "JSON by columns": (lambda here: frame(ROWS).to_json(here / "r.json"), "r.json", {"train": ROWS}),
    "JSON by columns, whose rows are in different orders": (
        write("r.json", json.dumps({"text": {str(i): text for i, (text, _) in enumerate(ROWS)},
                                    "label": {str(i): ROWS[i][1] for i in reversed(range(len(ROWS)))}})), "r.json",
        {"train": ROWS}),
    "JSON by rows": (lambda here: frame(ROWS).to_json(here / "r.json", orient="index"), "r.json", {"train": ROWS}),
    "JSON with columns apart": (lambda here: frame(ROWS).to_json(here / "r.json", orient="split"), "r.json",
                                {"train": ROWS}),
    "JSON of splits, by columns": (
        write("r.json", json.dumps({split: frame(rows).to_dict("list") for split, rows in BOTH.items()})), "r.json",
        BOTH),
    "JSON of splits, gzip": (
        lambda here: (here / "r.json.gz").write_bytes(gzip.compress(json.dumps(
            {split: frame(rows).to_dict("records") for split, rows in BOTH.items()}).encode())), "r.json.gz", BOTH),
    "a column named like a class": (
        lambda here: frame(ROWS).to_csv(here / "r.csv", index=False, header=["sentence", "pos"]), "r.csv",
        {"train": ROWS}),
    "names 0 and 1 of pandas": (
        lambda here: pd.DataFrame([(text, "01"[label == "pos"]) for text, label in ROWS]).to_csv(
            here / "r.csv", index=False), "r.csv", {"train": [(text, "01"[label == "pos"]) for text, label in ROWS]}),
    "no names, a rare first class": (write("r.csv", csv([("a rare first thing", "rare"), *ROWS], head="")), "r.csv",
                                     {"train": [("a rare first thing", "rare"), *ROWS]}),
    "emotions": (together(write("e/train.txt", csv(ROWS, "", ";")), write("e/test.txt", csv(TEST, "", ";"))), "e",
                 BOTH),
    "fastText, label last": (write("r.txt", "".join(f"{text} __label__{label}\n" for text, label in ROWS)), "r.txt",
                             {"train": ROWS}),
    "TSV as pandas quotes it": (
        lambda here: frame([(f'he said "{text}"', label) for text, label in ROWS]).to_csv(here / "r.tsv", sep="\t",
                                                                                         index=False),
        "r.tsv", {"train": [(f'he said "{text}"', label) for text, label in ROWS]}),
    "Excel names the delimiter": (write("r.csv", csv(ROWS, "sep=;\ntext;label", ";")), "r.csv", {"train": ROWS}),
    "blanks after commas": (write("r.csv", csv([(f'"good, {text}"', f'"{label}"') for text, label in ROWS],
                                               "text, label", ", ")), "r.csv",
                            {"train": [(f"good, {text}", label) for text, label in ROWS]}),
    "semicolons, and commas in texts": (
        write("r.csv", csv([(f"well, {text}, {text}", lab) for text, lab in ROWS], "", ";")), "r.csv",
        {"train": [(f"well, {text}, {text}", lab) for text, lab in ROWS]}),
    "labels in lists of one": (write("r.jsonl", "\n".join(json.dumps({"text": t, "label": [lab]}) for t, lab in ROWS)),
                               "r.jsonl", {"train": ROWS}),
    "bytes": (lambda here: pq.write_table(pa.table({"text": [t.encode() for t, _ in ROWS],
                                                    "label": [lab.encode() for _, lab in ROWS]}), here / "r.parquet"),
              "r.parquet", {"train": ROWS}),
    "-1, 0 and 1": (write("r.jsonl", "\n".join(json.dumps({"text": t, "label": int(lab)}) for t, lab in make_rows(
        labels=("-1", "0", "1")))), "r.jsonl", {"train": make_rows(labels=("-1", "0", "1"))}),
    "numerals of other scripts": (write("r.csv", csv(make_rows(labels=("①", "²")))), "r.csv",
                                  {"train": make_rows(labels=("①", "²"))}),
    "Chinese under unknown names": (
        write("r.csv", csv([(f"今天天气很好第{i}天", "ab"[i % 2]) for i in range(60)], "内容,标签")), "r.csv",
        {"train": [(f"今天天气很好第{i}天", "ab"[i % 2]) for i in range(60)]}),
    "names of persons": (
        write("r.csv", csv([(f"Name{i}", "ab"[i % 2]) for i in range(60)], "name,language")), "r.csv",
        {"train": [(f"Name{i}", "ab"[i % 2]) for i in range(60)]}),
    "times beside texts": (
        lambda here: frame(ROWS, date=pd.Timestamp("2020-01-01 10:00")).to_parquet(here / "r.parquet"), "r.parquet",
        {"train": ROWS}),
    "labels of many words": (write("r.csv", csv(make_rows(labels=PHRASES))), "r.csv",
                             {"train": make_rows(labels=PHRASES)}),
    "a test file without labels": (
        together(write("train.csv", csv(ROWS)), write("test.csv", csv([("an unknown text",)] * 5, "text"))),  # type: ignore[list-item]
        "train.csv", {"train": ROWS}),
    "a test file of -1": (together(write("train.csv", csv(ROWS)), write("test.csv", csv([("a text", "-1")] * 5))),
                          "train.csv", {"train": ROWS}),
}  # fmt: skip


@pytest.mark.parametrize("what", LAYOUTS)
def test_every_row_is_read_as_it_was_written(what: str, here: Path) -> None:
    check_rows(LAYOUTS[what], here)


def test_what_is_left_out_is_said(here: Path) -> None:
    write("train.csv", csv(ROWS))(here)
    write("test.csv", "text\nan unknown text\n")(here)
    assert "test.csv has no labels ('label'), so it is left out." in declare(Wishes("train.csv", name="own")).told
    with pytest.raises(UserError, match="has no column 'label'"):
        declare(Wishes("train.csv", name="mine", test="test.csv"))


def test_classes_have_the_order_of_the_file(here: Path) -> None:
    """A file of teacher outputs with columns class_0, class_1 is in that order."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    rows = {"text": [text for text, _ in ROWS], "label": [["pos", "neg"].index(label) for _, label in ROWS]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(here / "r.parquet"))
    assert tomllib.loads(declare(Wishes("r.parquet")).text)["labels"] == ["pos", "neg"]


def test_a_fraction_late_in_a_file_makes_a_regression(here: Path) -> None:
    rows = make_rows(9001, labels=("1", "2", "3"))
    write("r.csv", csv([*rows[:9000], ("the last one", "2.5")]))(here)
    assert tomllib.loads(declare(Wishes("r.csv")).text)["kind"] == "regression"


def test_the_same_file_by_another_name(here: Path) -> None:
    write("d/r.csv", csv(ROWS))(here)
    declare(Wishes("d/r.csv")).write()
    for name in ("./d/r.csv", "d/../d/r.csv", str(here / "d/r.csv")):
        TASKS._found = None
        assert "is declared in" in declare(Wishes(name)).told[0]


@pytest.mark.parametrize(("file", "start"), [("отзывы.csv", "data-"), ("été.csv", "ete")])
def test_names_in_other_letters(file: str, start: str, here: Path) -> None:
    write(file, csv(ROWS))(here)
    assert declare(Wishes(file)).name.startswith(start)


PROSE = "".join(f"{word} film and the {word} end of it {i}\n" for i in range(30) for word in ("the", "and"))
SEVERAL = "".join(f"__label__neg __label__x {text}\n" for text, _ in ROWS)
REFUSED: dict[str, tuple[Callable[[Path], Any], str, dict[str, Any], str]] = {
    "several labels": (write("r.txt", SEVERAL), "r.txt", {}, "has several labels; a row has one class"),
    "prose": (write("r.txt", PROSE), "r.txt", {}, "no format that is known"),
    "one class": (write("r.csv", csv([(text, "pos") for text, _ in ROWS])), "r.csv", {}, "All rows of train have"),
    "a class a row": (write("r.csv", csv([(text, f"c{i}") for i, (text, _) in enumerate(ROWS)])), "r.csv", {},
                      "60 different values in 60 rows, too many for classes"),
    "a column named twice": (write("r.csv", csv(ROWS)), "r.csv", {"text": ("label",), "label": "label"},
                             "'label' is named twice"),
    "two tables": (together(write("d/one.csv", csv(ROWS)), write("d/two.csv", csv(ROWS))), "d", {},
                   r"several files could be read \(one.csv, two.csv\)"),
    "gzip": (lambda here: (here / "r.csv").write_bytes(gzip.compress(csv(ROWS).encode())), "r.csv", {},
             "compressed by gzip, and its name does not end in .gz"),
    "pickle": (lambda here: (here / "r.pkl").write_bytes(pickle.dumps(ROWS)), "r.pkl", {}, "it is a pickle of Python"),
    "bzip2": (lambda here: (here / "r.csv.bz2").write_bytes(bz2.compress(csv(ROWS).encode())), "r.csv.bz2", {},
              "compressed by bzip2"),
    "Chinese of GBK": (lambda here: (here / "r.csv").write_bytes(
        csv([("今天天气很好，我们去公园玩", "好"), ("这个电影太难看了", "坏")] * 30).encode("gbk")), "r.csv", {},
        "--encoding gb18030"),
    "no encoding of texts": (write("r.csv", csv(ROWS)), "r.csv", {"encoding": "hex"}, "encoding 'hex' is not known"),
    "a ragged line": (write("r.txt", csv([*ROWS, ("one", "two", "three")], "", "\t")), "r.txt", {},  # type: ignore[list-item]
                      "line 61: 3 fields where there are 2"),
    "a web address": (lambda here: None, "https://example.org/r.csv", {}, "give a file of this machine"),
    "infinite": (write("r.jsonl", '{"text": "a b", "label": Infinity}\n{"text": "c d", "label": 1}\n' * 9), "r.jsonl",
                 {}, "the label inf is no whole number"),
    "two rows": (write("r.csv", csv([("one text", "a"), ("two texts", "b")])), "r.csv", {},
                 "no row is left for held-out"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused(what: str, here: Path) -> None:
    make, data, wishes, said = REFUSED[what]
    make(here)
    with pytest.raises(UserError, match=said):
        declare(Wishes(data, **({"name": "own"} | wishes)))
