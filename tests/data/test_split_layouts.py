"""Splits in folders, beside files and in columns, and first lines that are examples: every row, once, on its side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.core.errors import UserError
from kdbench.data.new_declaration import Wishes, declare
from tests.data.test_layouts import (
    BOTH,
    ROWS,
    TEST,
    Rows,
    check_rows,
    csv,
    frame,
    make_rows,
    read,
    together,
    write,
    write_texts,
)

DEV = make_rows(12, 100_000)
MANY = make_rows(20_000)
THREE = {"train": ROWS, "validation": DEV, "test": TEST}


def split_csv(name: str, column: str = "split", **rows: Rows) -> Callable[[Path], None]:
    """Write a file with a column of splits, whose rows are mixed."""
    several = pd.concat([frame(some, **{column: word}) for word, some in rows.items()]).sample(frac=1, random_state=0)

    def make(here: Path) -> None:
        (here / name).parent.mkdir(exist_ok=True)
        several.to_csv(here / name, index=False)

    return make


SPAM = make_rows(labels=("spam", "ham"))
BLANK = [("neg", " one that begins so"), *((label, text) for text, label in ROWS)]
QUOTED = "".join(f'"{text}"\t"{label}"\n' for text, label in [("text", "label"), *ROWS])
LATE = [*make_rows(700), *((f'he said "{text}"', label) for text, label in make_rows(5, 700))]
# what it is -> writer, --data, rows by split
LAYOUTS: dict[str, tuple[Callable[[Path], Any], str, dict[str, Rows]]] = {
    "a column of splits in parts": (
        together(split_csv("d/part-0.csv", train=ROWS[:30], test=TEST[:9]),
                 split_csv("d/part-1.csv", train=ROWS[30:], test=TEST[9:])), "d", BOTH),
    "other words for splits": (split_csv("r.csv", "set", Train=ROWS, dev=DEV[:5], valid=DEV[5:], TEST=TEST), "r.csv",
                               THREE),
    "splits that no sample sees": (split_csv("r.csv", train=MANY, dev=DEV[:1], validation=DEV[1:2]), "r.csv",
                                   {"train": MANY, "validation": DEV[:2]}),
    "numbered parts without numbers in test": (
        together(write("d/train_1.csv", csv(ROWS[:9])), write("d/train_2.csv", csv(ROWS[9:])),
                 write("d/test.csv", csv(TEST))), "d", BOTH),
    "two names for a split": (
        together(write("d/train.csv", csv(ROWS)), write("d/dev_one.csv", csv(DEV[:5])),
                 write("d/dev_two.csv", csv(DEV[5:]))), "d", {"train": ROWS, "validation": DEV}),
    "a table beside other folders": (
        together(write("d/r.csv", csv(ROWS)), write("d/docs/a.md", "x"), write("d/src/a.py", "x")), "d",
        {"train": ROWS}),
    "classes beside hidden folders": (
        lambda here: [write_texts(here / "d", ROWS), write("d/.ipynb_checkpoints/x.txt", "no")(here),
                      write("d/__MACOSX/x.txt", "no")(here), write("d/neg/Thumbs.db", "no")(here)], "d",
        {"train": ROWS}),
    "programs beside the file": (together(write("train.csv", csv(ROWS)), write("eval.py", "x"), write("test.png", "x")),
                                 "train.csv", {"train": ROWS}),
    "one JSON file in a folder": (
        write("d/all.json", json.dumps({split: frame(rows).to_dict("records") for split, rows in BOTH.items()})), "d",
        BOTH),
    "splits in place of a format": (
        together(write("d/Q.train", "".join(f"{lab}:x {text}\n" for text, lab in ROWS)),
                 write("d/Q.test", "".join(f"{lab}:x {text}\n" for text, lab in TEST))), "d",
        {split: [(text, f"{lab}:x") for text, lab in rows] for split, rows in BOTH.items()}),
    "labelled in the name": (together(write("d/train_labelled.txt", csv(ROWS, "", "\t")),
                                      write("d/test_labelled.txt", csv(TEST, "", "\t"))), "d", BOTH),
    "the folder of a split": (together(write("d/train/a.csv", csv(ROWS)), write("d/test/a.csv", csv(TEST))), "d/train",
                              BOTH),
    "empty lines at the end": (together(write("d/train_text.txt", "".join(f"{text}\n" for text, _ in ROWS)),
                                        write("d/train_labels.txt", "".join(f"{lab}\n" for _, lab in ROWS) + "\n")),
                               "d", {"train": ROWS}),
    "-1 is a class, and a split has only that": (
        split_csv("r.csv", train=make_rows(labels=("-1", "0", "1")), dev=[("one of them", "-1")]), "r.csv",
        {"train": make_rows(labels=("-1", "0", "1")), "validation": [("one of them", "-1")]}),
    "all fields of a TSV quoted": (write("r.tsv", QUOTED), "r.tsv", {"train": ROWS}),
    "quotes late in a TSV": (lambda here: frame(LATE).to_csv(here / "r.tsv", sep="\t", index=False), "r.tsv",
                             {"train": LATE}),
    "no names, a number as first text": (write("r.csv", csv([("2012", "neg"), *ROWS], "")), "r.csv",
                                         {"train": [("2012", "neg"), *ROWS]}),
    "names 0 and 1, and an index": (lambda here: pd.DataFrame(ROWS).to_csv(here / "r.csv"), "r.csv", {"train": ROWS}),
    "an unknown name, and a class as name": (write("r.csv", csv(SPAM, "tekst,spam")), "r.csv", {"train": SPAM}),
    "a blank before the first text": (write("r.tsv", csv(BLANK, "", "\t")), "r.tsv",
                                      {"train": [(" one that begins so", "neg"), *ROWS]}),
    "a line break in the first field": (
        write("r.csv", csv([('"two\nlines; of a text"', "neg"), *ROWS], "", ";")), "r.csv",
        {"train": [("two\nlines; of a text", "neg"), *ROWS]}),
    "decimals": (lambda here: pq.write_table(pa.table({"text": [t for t, _ in ROWS],
                                                       "label": [Decimal(f"{i % 2}.00") for i in range(60)]}),
                                             here / "r.parquet"), "r.parquet",
                 {"train": [(text, str(i % 2)) for i, (text, _) in enumerate(ROWS)]}),
    "a label, and classes of another column": (
        lambda here: frame(ROWS, lang=pd.Categorical(["en", "de"] * 30)).to_parquet(here / "r.parquet"), "r.parquet",
        {"train": ROWS}),
}  # fmt: skip


@pytest.mark.parametrize("what", LAYOUTS)
def test_every_row_is_on_its_side(what: str, here: Path) -> None:
    check_rows(LAYOUTS[what], here)


def test_a_test_file_wins_over_a_column_of_splits(here: Path) -> None:
    together(split_csv("r.csv", train=ROWS, test=DEV), write("q.csv", csv(TEST)))(here)
    assert read(here, "r.csv", test="q.csv") == {split: Counter(rows) for split, rows in BOTH.items()}


def test_rows_of_no_split_are_left_out_and_said(here: Path) -> None:
    split_csv("r.csv", train=ROWS, test=TEST, unsup=DEV)(here)
    told = declare(Wishes("r.csv", name="own")).told
    assert "Left out, as no split is called so: split 'unsup' (12 rows)." in told
    assert "rows: train 60, test 20." in told[0]


def test_a_regression_without_names_keeps_its_first_row(here: Path) -> None:
    write("r.csv", "".join(f"film{i},{i / 7:.3f}\n" for i in range(1, 60)))(here)
    made = declare(Wishes("r.csv", name="own"))
    assert "header = false" in made.text
    assert "a regression, on numbers from 0.143 to 8.429" in made.told[0]


@pytest.mark.parametrize("name", ["./r.csv", "../here/r.csv"])
@pytest.mark.parametrize("encoding", ["UTF-8", "utf8"])
def test_the_same_wishes_in_other_words(
    name: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    together(write("here/r.csv", csv(ROWS)), write("here/t.csv", csv(TEST)))(tmp_path)
    declare(Wishes("r.csv", test="t.csv")).write()
    again = declare(Wishes(name, test=str(tmp_path / "here/t.csv"), encoding=encoding))
    assert "is declared in" in again.told[0]
    with pytest.raises(UserError, match="encoding 'utf-88' is not known"):
        declare(Wishes(name, encoding="utf-88"))


REFUSED: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "dates and scores": (lambda here: frame(ROWS, date=[f"2020-01-{i % 28 + 1:02}" for i in range(60)]).rename(
        columns={"label": "about"}).assign(about=[f"{i}.5" for i in range(60)]).drop(columns="about").to_csv(
            here / "r.csv", index=False), "r.csv", "no column is clearly the label"),
    "a score beside a genre": (lambda here: frame(ROWS, genre=["a", "b"] * 30, score=[i / 4 for i in range(60)]).drop(
        columns="label").to_csv(here / "r.csv", index=False), "r.csv", r"could be the label \(score, genre\)"),
    "a label that is mostly empty": (lambda here: frame(ROWS, source=["a", "b"] * 30).assign(
        label=["x", "", "", "y", "", ""] * 10).to_csv(here / "r.csv", index=False), "r.csv",
        r"could be the label \(label, source\)"),
    "folds": (together(*(write(f"d/{split}_{i}.csv", csv(ROWS)) for split in ("train", "test") for i in (0, 1))), "d",
              "parts or folds"),
    "versions": (together(write("d/train_v1.csv", csv(ROWS)), write("d/train_v2.csv", csv(ROWS))), "d",
                 r"several files could be read \(train_v1.csv, train_v2.csv\)"),
    "several folders": (together(write("d/de/train.csv", csv(ROWS)), write("d/en/train.csv", csv(ROWS))), "d",
                        r"no file with train in its name \(found: de, en\)"),
    "no train": (together(write("d/dev.csv", csv(ROWS)), write("d/test.csv", csv(TEST))), "d",
                 r"no file with train in its name \(found: dev.csv, test.csv\)"),
    "a test file of other columns": (
        together(write("train.csv", csv(ROWS)), write("test.csv", csv(TEST, "text,sentiment"))), "train.csv",
        r"test.csv has no column 'label' \(found: text, sentiment\)"),
    "three texts": (lambda here: frame(ROWS, b="x", c="y").to_csv(here / "r.csv", index=False), "r.csv",
                    "--text names 3"),
    "several labels late": (write("r.txt", "".join(f"__label__a film {i}\n" for i in range(2500))
                                  + "__label__a  __label__b a film\n"), "r.txt", "line 2,501: .* does not match"),
    "half a character": (write("r.jsonl", "".join(f'{{"text": "a b {i}", "label": "neg\\ud83d"}}\n' for i in range(9))),
                         "r.jsonl", "holds half a character"),
    "a number of 400 digits": (write("r.jsonl", "".join(
        f'{{"text": "a b {i}", "label": {"9" * (400 + i)}}}\n' for i in range(9))), "r.jsonl",
        "no row is left|different values"),
    "a date beyond Python's": (lambda here: pq.write_table(pa.table({
        "text": [t for t, _ in ROWS], "label": ["a", "b"] * 30,
        "when": pa.array([2**55] * 60, pa.timestamp("ms"))}), here / "r.parquet"), "r.parquet", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_clear_is_refused(what: str, here: Path) -> None:
    make, data, said = REFUSED[what]
    make(here)
    with pytest.raises(UserError, match=said):
        declare(Wishes(data, name="own", text=("text", "b", "c") if what == "three texts" else ()))


def test_a_file_of_classes_wins_where_nothing_is_called_label(here: Path) -> None:
    """Of the columns that `datasets` says hold classes."""
    import datasets

    columns = {
        "text": datasets.Value("string"),
        "about": datasets.ClassLabel(names=["x", "y"]),
        "src": datasets.Value("string"),
    }
    rows = {"text": [text for text, _ in ROWS], "about": [0, 1] * 30, "src": ["a", "b"] * 30}
    datasets.Dataset.from_dict(rows, features=datasets.Features(columns)).to_parquet(str(here / "r.parquet"))
    assert "label 'about' (2 classes: x, y)" in declare(Wishes("r.parquet", name="own")).told[0]
