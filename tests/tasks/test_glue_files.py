"""The reader keeps the text of the classic files exactly, whatever stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.data.task import Task
from kdbench.tasks import tsv
from kdbench.tasks.mnli import Mnli
from kdbench.tasks.mrpc import Mrpc
from kdbench.tasks.qnli import Qnli
from kdbench.tasks.qqp import Qqp
from kdbench.tasks.rte import Rte
from kdbench.tasks.sst2 import Sst2
from kdbench.tasks.stsb import Stsb

WORDS = ("0", "1")


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "train.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        'he said " no',
        '"quoted"',
        '"',
        'two "" marks and one "',
        "n/a",
        "NA",
        "null",
        "nan",
        "",
        " leading and trailing ",
        "a \ufffd sign",
        "a \u2028 separator and a \x85 one",
        "café 東京 🙂",
        "back\\slash",
        "# not a comment",
    ],
)
def test_text_is_kept_exactly(tmp_path: Path, text: str) -> None:
    path = put(tmp_path, f"index\ta\tb\tlabel\n0\t{text}\tother\t1\n1\tplain\t{text}\t0\n")
    examples = tsv.read(path, ("a", "b", "label"), WORDS)
    assert examples.text_a == [text, "plain"]
    assert examples.text_b == ["other", text]
    assert examples.labels == [1, 0]


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = put(tmp_path, b"\xef\xbb\xbfQuality\t#1 String\t#2 String\n1\tone\ttwo\n")
    assert tsv.read(path, Mrpc.columns, WORDS).labels == [1]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n"])
def test_last_line_may_end_as_it_likes(tmp_path: Path, end: str) -> None:
    assert len(tsv.read(put(tmp_path, "s\tlabel\none\t0\ntwo\t1" + end), ("s", None, "label"), WORDS)) == 2


def test_windows_line_ends_do_not_reach_the_label(tmp_path: Path) -> None:
    examples = tsv.read(put(tmp_path, "s\tlabel\r\none \t1\r\n"), ("s", None, "label"), WORDS)
    assert (examples.text_a, examples.text_b, examples.labels) == (["one "], None, [1])


def test_columns_are_found_by_name_and_blank_ones_ignored(tmp_path: Path) -> None:
    narrow = put(tmp_path, "index\tpromptID\tsentence1\tsentence2\tgold_label\n0\t\tp\th\tneutral\n")
    first = tsv.read(narrow, Mnli.columns, Mnli.label_words)
    wide = put(tmp_path, "sentence2\tlabel1\tlabel2\tgold_label\tsentence1\nh\tneutral\t\tneutral\tp\n")
    assert tsv.read(wide, Mnli.columns, Mnli.label_words) == first


def test_duplicate_rows_stay(tmp_path: Path) -> None:
    path = put(tmp_path, "s\tlabel\nsame\t0\nsame\t0\nsame\t1\n")
    assert tsv.read(path, ("s", None, "label"), WORDS).labels == [0, 0, 1]


def test_published_qqp_rows_that_are_broken_off_are_skipped(tmp_path: Path) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    rows = '1\t1\t2\tone ?\ttwo ?\t1\n2\t3\t4\tbroken\n"\trest ?\t0\n3\t5\t6\tthree ?\tfour ?\t0\n'
    examples = tsv.read(put(tmp_path, header + rows), Qqp.columns, WORDS, Qqp.broken_rows)
    assert examples.text_a == ["one ?", "three ?"]


@pytest.mark.parametrize(
    ("task", "header", "rows", "labels"),
    [
        (Mrpc, "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", ["0\t1\t2\ta\tb", "1\t1\t2\ta\tb"], [0, 1]),
        (Rte, "index\tsentence1\tsentence2\tlabel", ["0\ta\tb\tnot_entailment", "1\ta\tb\tentailment"], [1, 0]),
        (Qnli, "index\tquestion\tsentence\tlabel", ["0\ta\tb\tnot_entailment", "1\ta\tb\tentailment"], [1, 0]),
        (Qqp, "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", ["7\t\t\ta\tb\t1", "8\t\t\ta\tb\t0"], [1, 0]),
        (
            Mnli,
            "index\tsentence1\tsentence2\tgold_label",
            ["0\ta\tb\tcontradiction", "1\ta\tb\tneutral", "2\ta\tb\tentailment"],
            [2, 1, 0],
        ),
    ],
)
def test_pair_tasks_map_columns_and_label_words(
    tmp_path: Path, task: type[Task], header: str, rows: list[str], labels: list[int]
) -> None:
    folder = tmp_path / task.title
    folder.mkdir()
    for name in ("train.tsv", "dev.tsv", "dev_matched.tsv", "dev_mismatched.tsv"):
        (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    data = task().load(DataLocation("glue-dir", tmp_path))
    assert set(data.splits) == {"train", *task.report_splits}
    assert not data.vocabulary
    for split in data.splits.values():
        assert split.labels == labels
        assert split.text_a == ["a"] * len(labels)
        assert split.text_b == ["b"] * len(labels)


def test_sst2_has_one_text_and_keeps_its_trailing_space(tmp_path: Path) -> None:
    (tmp_path / "SST-2").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "SST-2" / name).write_text("sentence\tlabel\na fine film . \t1\n", encoding="utf-8")
    split = Sst2().load(DataLocation("glue-dir", tmp_path)).splits["validation"]
    assert (split.text_a, split.text_b, split.labels) == (["a fine film . "], None, [1])


def test_fingerprint_follows_the_examples_and_not_the_folder(tmp_path: Path) -> None:
    prints = []
    for name, text in (("one", "a film"), ("two", "a film"), ("three", "a film ")):
        folder = tmp_path / name / "SST-2"
        folder.mkdir(parents=True)
        for file in ("train.tsv", "dev.tsv"):
            (folder / file).write_text(f"sentence\tlabel\n{text}\t1\n", encoding="utf-8")
        prints.append(Sst2().fingerprint(DataLocation("glue-dir", folder.parent)))
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("word", ["5.1", "-0.1", "nan", "high", ""])
def test_a_score_outside_its_limits_is_named(tmp_path: Path, word: str) -> None:
    path = put(tmp_path, f"sentence1\tsentence2\tscore\na\tb\t2.750\na\tb\t{word}\n")
    with pytest.raises(UserError, match=f"line 3: '{word}' is no label of column 'score' .valid: a number from 0 to 5"):
        tsv.read(path, Stsb.columns, (), limits=(0.0, 5.0))
    good = put(tmp_path, "sentence1\tsentence2\tscore\na\tb\t2.750\na\tb\t5\n")
    assert tsv.read(good, Stsb.columns, (), limits=(0.0, 5.0)).labels == [2.75, 5.0]
