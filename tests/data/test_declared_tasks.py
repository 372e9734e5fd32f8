"""Declared tasks: from files to splits, classes and metrics; what is held out; what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.data import declared_rows
from kdbench.data.declaration import Declaration
from kdbench.data.declared_rows import HOLD_OUT, LabelledRow, _hold_out, hash_share, read_declared
from kdbench.data.declared_task import DeclaredTask, declared_task
from kdbench.data.task import Task
from kdbench.data.task_registry import TASKS, TaskRegistry
from tests.kdbench.small_runs import plan, the_run

BASE = {"train": "train.csv", "text": "text", "label": "label"}
SHARED = Path(os.environ.get("KDBENCH_DATA_DIR") or Path(__file__).resolve().parents[3] / "shared/data")


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))


def task_of(folder: Path, **values: Any) -> type[DeclaredTask]:
    made = declared_task("mine", Declaration.parse({**BASE, **values}, "mine.toml"), "mine.toml", (folder,))
    made.name = "mine"
    return made


def test_splits_classes_and_metrics(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [("a", "no"), ("b", "yes"), ("c", "no"), ("d", "no")])
    write(tmp_path / "dev.csv", [("e", "yes")])
    write(tmp_path / "test.csv", [("f", "no"), ("g", "yes")])
    task = task_of(tmp_path, validation="dev.csv", test="test.csv")
    assert (task.labels, task.metrics) == (("no", "yes"), ("accuracy", "macro_f1"))  # three times as many no
    assert (task.report_splits, task.validation_split, task.report_note) == (("test",), "validation", "")
    location = task.locate(DataLocation("generated"), None)
    data = task().load(location)
    assert {name: list(split.labels) for name, split in data.splits.items()} == {
        "train": [0, 1, 0, 0], "validation": [1], "test": [0, 1],
    }  # fmt: skip
    named = task_of(tmp_path, test="test.csv", labels={"yes": "good", "no": "bad"}, metrics=["f1:good"])
    assert named.labels == ("good", "bad")
    assert list(named().load(location).splits["test"].labels) == [1, 0]
    # the order of classes, the metrics and the reported splits are part of the identity
    prints = {kind().fingerprint(location) for kind in (
        task, named, task_of(tmp_path, test="test.csv"),
        task_of(tmp_path, validation="dev.csv", test="test.csv", report=["test", "validation"]),
        task_of(tmp_path, validation="dev.csv", test="test.csv", metrics=["macro_f1", "accuracy"]),
    )}  # fmt: skip
    assert len(prints) == 5


def test_a_regression(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [(f"t{i}", "2.75" if i % 2 else "-1") for i in range(40)])
    task = task_of(tmp_path, kind="regression")
    assert (task.kind, task.labels, task.metrics) == ("regression", ("label",), ("pearson", "spearman"))
    splits = task().load(task.locate(DataLocation("generated"), None)).splits
    assert {type(label) for split in splits.values() for label in split.labels} == {float}
    assert set(splits["train"].labels) == {2.75, -1.0}
    assert 3 <= len(splits["held_out"]) <= 14
    # whole numbers too, if the declaration says so; a machine that does not know it learns it from its description
    write(tmp_path / "train.csv", [(f"t{i}", str(i % 5)) for i in range(40)])
    assert task_of(tmp_path).labels == ("0", "1", "2", "3", "4")
    whole = task_of(tmp_path, kind="regression", test="train.csv")
    assert list(whole().load(whole.locate(DataLocation("generated"), None)).splits["test"].labels[:3]) == [
        0.0,
        1.0,
        2.0,
    ]
    assert Declaration.parse(whole.describe(), "x").kind == "regression"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,1.5\nb,high\n", "line 3: the label 'high' is no finite number, and the kind is regression"),
        ("a,1.5\nb,nan\n", "line 3: the label 'nan' is no finite number"),
        ("a,1.5\nb,\n", "line 3: the label '' is no finite number"),
        ("a,1.5\nb,1_5\n", "line 3: the label '1_5' is no finite number"),
        ("a,1.5\nb,1.50\n", "All rows of train have the same 'label'"),
    ],
)
def test_bad_numbers(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + content)
    with pytest.raises(UserError, match=said):
        read_declared(Declaration.parse({**BASE, "kind": "regression", "test": "train.csv"}, "x"), tmp_path)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_train_without_rows(kind: str, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [("a", "0")])
    declared = {**BASE, "kind": kind, "test": "train.csv", "drop_labels": ["0"]}
    with pytest.raises(UserError, match=r"train.csv: train has no row that drop_labels leaves; give"):
        read_declared(Declaration.parse(declared, "x"), tmp_path)
    (tmp_path / "train.csv").write_text("text,label\n")
    with pytest.raises(UserError, match=r"train.csv: train has no row; give"):
        read_declared(Declaration.parse({**declared, "drop_labels": []}, "x"), tmp_path)


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [(f"t{i}", str(i % 11)) for i in range(44)])
    assert task_of(tmp_path).labels == tuple(map(str, range(11)))


def test_labels_that_are_one_number_have_an_order(tmp_path: Path) -> None:
    """The order of a set of words differs from process to process."""
    words = [f"{'0' * zeros}{number}" for number in (1, 2) for zeros in range(8)]
    write(tmp_path / "train.csv", [(f"t{i}", words[i % 16]) for i in range(160)])
    assert task_of(tmp_path).labels == (*sorted(words[:8]), *sorted(words[8:]))


def test_several_files_pairs_and_dropped_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("p,h,y\nP1,H1,in\nP2,H2,out\n")
    (tmp_path / "b.csv").write_text("p,h,y\nP3,H3,none\nP4,H4,in\n")
    found = read_declared(
        Declaration.parse({"train": ["a.csv", "b.csv"], "test": "a.csv", "text": ["p", "h"], "label": "y",
                           "drop_labels": ["none"]}, "x"), tmp_path,
    )  # fmt: skip
    train = found.splits["train"]
    assert (train.text_a, train.text_b, train.labels) == (["P1", "P2", "P4"], ["H1", "H2", "H4"], [0, 1, 0])


@pytest.mark.parametrize("dropped", [[-1, "n/a"], ["-1", "n/a"], ["-1.0", "n/a"]])
def test_numbers_that_are_dropped_in_any_way_of_writing(dropped: list[int | str], tmp_path: Path) -> None:
    values = (0.5, -1.0, -1, "-1", "-1.00", "n/a", 2)
    lines = (json.dumps({"text": f"t{i}", "label": value}) for i, value in enumerate(values))
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    declared = {**BASE, "train": "train.jsonl", "test": "train.jsonl", "kind": "regression", "drop_labels": dropped}
    assert read_declared(Declaration.parse(declared, "x"), tmp_path).splits["train"].labels == [0.5, 2.0]


rows = st.lists(st.tuples(st.text(max_size=4), st.sampled_from("abc")), min_size=1, max_size=60)


@settings(deadline=None)
@given(rows, st.floats(0.05, 0.6), st.randoms())
def test_what_is_held_out_depends_on_the_text_alone(some: list[tuple[str, str]], share: float, random: Any) -> None:
    made = [LabelledRow((text, None), label, "") for text, label in some]
    kept, held = _hold_out(made, share)
    assert len(kept) + len(held) == len(made)
    shuffled = list(made)
    random.shuffle(shuffled)
    assert {(row.texts, row.label) for row in _hold_out(shuffled, share)[1]} == {(r.texts, r.label) for r in held}
    for label in "abc":
        own = {row.texts for row in made if row.label == label}
        if own:  # every class stays in train, and is reported when it has two texts
            assert any(row.label == label for row in kept)
            assert any(row.label == label for row in held) == (len(own) > 1)
    # equal rows are on one side
    assert not {(r.texts, r.label) for r in kept} & {(r.texts, r.label) for r in held}


def test_growth_moves_no_row(tmp_path: Path) -> None:
    first = [LabelledRow((f"text {i}", None), "ab"[i % 2], "") for i in range(500)]
    more = [LabelledRow((f"new {i}", None), "ab"[i % 2], "") for i in range(500)]
    before, after = _hold_out(first, 0.2)[1], _hold_out(first + more, 0.2)[1]
    assert {r.texts for r in before} == {r.texts for r in after} & {r.texts for r in first}
    assert 160 < len(after) < 240
    assert all(hash_share(row, HOLD_OUT) < 0.2 for row in after)


def test_a_part_of_a_large_file_is_drawn_by_hash(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [(f"text {i}", "ab"[i % 2]) for i in range(400)])
    found = read_declared(Declaration.parse({**BASE, "max_rows": 100}, "x"), tmp_path)
    assert sum(len(split) for split in found.splits.values()) == 100
    assert 8 < len(found.splits["held_out"]) < 35  # the two hashes are independent


def test_a_pair_of_files_counts_for_the_limit_of_what_is_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.txt").write_text("".join(f"text {i:02}\n" for i in range(40)))  # 320 bytes
    (tmp_path / "l.txt").write_text("".join(f"{i % 2}\n" for i in range(40)))  # 80 bytes
    pair = {**BASE, "train": {"text": "t.txt", "label": "l.txt"}}
    monkeypatch.setattr(declared_rows, "LARGEST", 400)
    assert len(read_declared(Declaration.parse(pair, "x"), tmp_path).splits["train"]) < 40
    monkeypatch.setattr(declared_rows, "LARGEST", 399)
    with pytest.raises(UserError, match=r"/t.txt, .*/l.txt: .* too much to be read as a whole; set max_rows"):
        read_declared(Declaration.parse(pair, "x"), tmp_path)
    part = read_declared(Declaration.parse({**pair, "max_rows": 10}, "x"), tmp_path)
    assert sum(len(split) for split in part.splits.values()) == 10


REFUSED: dict[str, tuple[str, str]] = {  # rows of train -> part of the message
    "one class": ("a,x\nb,x\n", "All rows of train have the label 'x'"),
    "no label": ("a,x\nb,\n", "line 3: no label"),
    "a class an example": ("".join(f"text {i},label {i}\n" for i in range(80)), "80 different values in 80 rows"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_labels(what: str, tmp_path: Path) -> None:
    content, said = REFUSED[what]
    (tmp_path / "train.csv").write_text("text,label\n" + content)
    with pytest.raises(UserError, match=said):
        read_declared(Declaration.parse(BASE, "x"), tmp_path)


def test_labels_of_other_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [("a", "x"), ("b", "y")])
    write(tmp_path / "test.csv", [("c", "x"), ("d", "z")])
    with pytest.raises(UserError, match=r"test.csv, line 3: the label 'z' is not among those of train \(x, y\)"):
        read_declared(Declaration.parse({**BASE, "test": "test.csv"}, "x"), tmp_path)
    with pytest.raises(UserError, match=r"test.csv, line 3: train has no row of class 'z'"):
        read_declared(Declaration.parse({**BASE, "test": "test.csv", "labels": ["x", "y", "z"]}, "x"), tmp_path)


@pytest.mark.parametrize(("known", "given"), [("yes", "Yes"), ("0", "0.0")])
def test_a_class_that_is_written_almost_the_same_is_named(known: str, given: str, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [("a", known), ("b", "other")])
    write(tmp_path / "test.csv", [("c", "other"), ("d", given)])
    said = f"line 3: the label '{given}' is not among .*, where '{known}' is written almost the same; correct the row"
    with pytest.raises(UserError, match=said):
        read_declared(Declaration.parse({**BASE, "test": "test.csv"}, "x"), tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b", "label": "1"}\n', "line 2: the label is a word .* in line 1"),
        ('{"text": "a", "label": 0.5}\n', "line 1: the label 0.5 is no whole number"),
        ('{"text": "a", "label": NaN}\n', "line 1: no label"),
        ('{"text": "a", "label": [0, 2]}\n', r"line 1: the column 'label' holds several labels \(\[0, 2\]\)"),
        ('{"text": "a", "label": {"name": "x"}}\n', "line 1: the column 'label' holds no word and no number"),
        ('{"text": null, "label": 1}\n', "line 1: the column 'text' holds nothing"),
        ('{"text": NaN, "label": 1}\n', "line 1: the column 'text' holds nothing"),
        ('{"text": ["a"], "label": 1}\n', "line 1: the column 'text' holds a list"),
        ('{"words": "a", "label": 1}\n', r"no column 'text' \(found: words, label\)"),
    ],
)
def test_bad_values(lines: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines)
    with pytest.raises(UserError, match=said):
        read_declared(Declaration.parse({**BASE, "train": "a.jsonl"}, "x"), tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"txt": "a"}, "Unknown key of mine.toml 'txt'. Did you mean 'text'"),
        ({"text": ["a", "b", "c"]}, "mine.toml: text:"),
        ({"labels": ["x"]}, "two or more different classes"),
        ({"kind": "regression", "labels": ["x", "y"]}, "labels name classes, and the kind is regression"),
        ({"kind": "numbers"}, "mine.toml: kind: input should be 'classification' or 'regression'"),
        ({"labels": ["x", "x"]}, "two or more different classes"),
        ({"report": "dev"}, "report names 'dev'"),
        ({"report": "test"}, "report names 'test'"),
        ({"holdout": 1.5}, "mine.toml: holdout:"),
        ({"train": []}, "train is empty"),
    ],
)
def test_bad_declarations(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        Declaration.parse({**BASE, **values}, "mine.toml")
    assert said in str(error.value)
    with pytest.raises(UserError, match="lacks the key 'label'"):
        Declaration.parse({"train": "a.csv", "text": "text"}, "mine.toml")


def registry() -> TaskRegistry:
    return TaskRegistry("task", "kdbench.tasks", Task, "tasks")  # type: ignore[type-abstract]


def test_declarations_are_found_and_broken_ones_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").mkdir()
    write(tmp_path / "train.csv", [("a", "x"), ("b", "y")])
    good = 'train = "train.csv"\ntext = "text"\nlabel = "label"\n'
    (tmp_path / "tasks/good.toml").write_text(good)
    (tmp_path / "tasks/bad.toml").write_text("train = ")
    (tmp_path / "tasks/rte.toml").write_text(good)
    (tmp_path / "kdbench.toml").write_text(f'[task.inline]\ntitle = "Inline"\n{good}[task.wrong]\n{good}f = 1\n')
    found = registry()
    assert found.get("good").labels == ("x", "y")
    assert found.get("inline").title == "Inline"
    assert "is not valid TOML" in found.broken["bad"]
    assert "two files define a task 'rte'" in found.broken["rte"]
    assert "Unknown key" in found.broken["wrong"]
    assert found.get("mrpc").title == "MRPC"


@pytest.mark.parametrize(
    ("name", "rows", "classes"),
    [("banking77", 10003, 77), ("clinc150", 15100, 151), ("trec", 5452, 6), ("trec50", 5452, 50),
     ("tweeteval-emotion", 3257, 4)],
)  # fmt: skip
def test_ready_made_declarations_read_the_published_files(name: str, rows: int, classes: int) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no data sets in {SHARED}; set KDBENCH_DATA_DIR")
    task = registry().get(name)
    data = task().load(task.locate(DataLocation("generated"), SHARED))
    assert len(data.splits["train"]) == rows
    assert len(task.labels) == len(set(data.splits["train"].labels)) == classes
    assert {split: len(some) for split, some in data.splits.items()} == dict(task.official_rows)


def test_ready_made_declarations_say_where_the_files_can_be_had(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"banking77/train.csv \(from https.*--data-dir DIR"):
        registry().get("banking77").locate(DataLocation("generated"), tmp_path)


def test_stored_declarations_make_a_task_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(tmp_path, methods="finetune", tasks="rte")
    declared = {**BASE, "title": "Far", "labels": ["x", "y"], "metrics": ["accuracy"]}
    spec = the_run(planned).model_copy(update={"task": "far", "declaration": declared})
    monkeypatch.setattr(TASKS, "_found", dict(TASKS.all()))
    TASKS.learn([spec])
    assert (TASKS.get("far").title, TASKS.get("far").labels) == ("Far", ("x", "y"))
    # what is known here wins, but for workers, which train what was planned
    other = spec.model_copy(update={"declaration": {**declared, "title": "Other"}})
    TASKS.learn([other])
    assert TASKS.get("far").title == "Far"
    TASKS.learn([other], replace=True)
    assert TASKS.get("far").title == "Other"
    assert "declaration" not in the_run(planned).model_dump(mode="json")
