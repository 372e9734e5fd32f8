"""From a file to a table: splits and columns are found, what is guessed is said, what is not clear stops."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.data import new_declaration
from kdbench.data.declaration import Declaration
from kdbench.data.declared_rows import read_declared
from kdbench.data.find_splits import find_splits
from kdbench.data.guess_columns import guess_columns
from kdbench.data.new_declaration import Wishes, declare
from kdbench.data.task_registry import TASKS
from tests.commands.test_commands import call_here

WORDS = {"pos": ("great", "lovely", "warm", "fine"), "neg": ("awful", "dull", "weak", "poor")}


def csv_rows(number: int, start: int = 0) -> str:
    labels = ["pos", "neg", "pos"]
    lines = (
        f"{i},film number {i * 7919 % 10007} was {WORDS[labels[i % 3]][i % 4]},{labels[i % 3]}" for i in range(number)
    )
    return "id,review,stars\n" + "".join(f"{line}\n" for line in lines)


def write_columns(path: Path, columns: dict[str, str]) -> None:
    """Write 60 rows whose values are made from the row's number i."""
    lines = [",".join(eval(f"f{pattern!r}", {"i": i}) for pattern in columns.values()) for i in range(60)]
    path.write_text("\n".join([",".join(columns), *lines]))


@pytest.mark.parametrize(
    ("files", "data", "found"),
    [
        (["a.csv"], "a.csv", {"train": "a.csv"}),
        (["d/train.tsv", "d/dev.tsv", "d/test.tsv"], "d",
         {"train": "d/train.tsv", "validation": "d/dev.tsv", "test": "d/test.tsv"}),
        (["x_train.csv", "x_val.csv"], "x_train.csv", {"train": "x_train.csv", "validation": "x_val.csv"}),
        (["TREC.Train.csv", "TREC.Test.csv"], "TREC.Train.csv", {"train": "TREC.Train.csv", "test": "TREC.Test.csv"}),
        (["constraint.csv", "contest.csv"], "constraint.csv", {"train": "constraint.csv"}),  # no words of splits
        (["train_text.txt", "train_labels.txt", "val_text.txt", "val_labels.txt"], "train_text.txt",
         {"train": {"text": "train_text.txt", "label": "train_labels.txt"},
          "validation": {"text": "val_text.txt", "label": "val_labels.txt"}}),
    ],
)  # fmt: skip
def test_splits_are_found_by_their_names(files: list[str], data: str, found: dict[str, object], here: Path) -> None:
    for name in files:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("x")
    assert find_splits(data, here) == found


def test_parts_of_a_json_file(here: Path) -> None:
    (here / "all.json").write_text(json.dumps({"val": [], "train": [], "test": [], "oos_train": []}))
    assert find_splits("all.json", here) == {
        "train": "all.json#train", "validation": "all.json#val", "test": "all.json#test",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"id": "{i}", "review": "a text of {i} words", "stars": "{i%3}"}, ("review",), "stars"),
        ({"premise": "one {i} two", "hypothesis": "three {i}", "gold_label": "{i%2}"}, ("premise", "hypothesis"),
         "gold_label"),
        ({"text": "w{i}", "label": "{i%2}", "label_text": "{'ab'[i%2]}"}, ("text",), "label_text"),
        ({"title": "title of {i}", "what": "{i%4}"}, ("title",), "what"),
    ],
)  # fmt: skip
def test_columns_are_guessed(columns: dict[str, str], text: tuple[str, ...], label: str, here: Path) -> None:
    write_columns(here / "a.csv", columns)
    guess = guess_columns("a.csv", here)
    assert (guess.text, guess.label, guess.form.header) == (text, label, True)


@pytest.mark.parametrize(
    ("columns", "label", "kind"),
    [
        ({"sentence1": "one {i}", "sentence2": "two {i}", "score": "{i/4}"}, "score", "regression"),
        ({"text": "a text {i}", "label": "{i/4}"}, "label", "regression"),
        ({"text": "a text {i}", "kind": "{i%2}", "label": "{i/4}"}, "label", "regression"),
        ({"text": "a text {i}", "label": "{i%5+1}"}, "label", "classification"),
        ({"text": "a text {i}", "label": "{i%2}", "score": "{i/4}"}, "label", "classification"),
    ],
)  # fmt: skip
def test_labels_with_fractions_are_numbers(columns: dict[str, str], label: str, kind: str, here: Path) -> None:
    write_columns(here / "a.csv", columns)
    guess = guess_columns("a.csv", here)
    assert (guess.label, guess.kind) == (label, kind)


@pytest.mark.parametrize(
    ("label", "kind", "found"),
    [
        ("{i%5}", "", "classification"), ("{i%5}", "regression", "regression"),
        ("{i%5/2}", "", "regression"), ("{i%5/2}", "classification", "classification"),
    ],
)  # fmt: skip
def test_the_kind_can_be_named(label: str, kind: str, found: str, here: Path) -> None:
    write_columns(here / "stars.csv", {"text": "a text {i}", "stars": label})
    made = declare(Wishes("stars.csv", label="stars", kind=kind))
    assert tomllib.loads(made.text).get("kind", "classification") == found
    is_hinted = any("--kind regression predicts them as numbers" in line for line in made.told)
    assert is_hinted == ("/" not in label and not kind)


def test_a_kind_that_is_none_or_not_that_of_the_declaration(here: Path) -> None:
    write_columns(here / "stars.csv", {"text": "a text {i}", "stars": "{i%5}"})
    with pytest.raises(UserError, match=r"Unknown kind 'numbers'\. Valid: classification, regression"):
        declare(Wishes("stars.csv", kind="numbers"))
    declare(Wishes("stars.csv")).write()
    with pytest.raises(UserError, match="--kind differs from the declaration"):
        declare(Wishes("stars.csv", kind="regression"))


def test_a_test_file_with_numbers_of_rows_and_without_labels_is_left_out(here: Path) -> None:
    write_columns(here / "train.csv", {"text": "a text {i}", "label": "{i%2}"})
    write_columns(here / "test.csv", {"index": "{i}", "text": "another text {i}"})
    made = declare(Wishes("train.csv"))
    assert "test.csv has no labels ('label'), so it is left out." in made.told
    assert "test" not in tomllib.loads(made.text)


def test_a_further_column_of_lists_does_not_harm(here: Path) -> None:
    rows = [{"text": f"a text {i}", "label": "ab"[i % 2]} for i in range(60)]
    (here / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    unlabelled = [{"text": f"another {i}", "words": ["another", str(i)]} for i in range(60)]
    (here / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in unlabelled))
    assert "test.jsonl has no labels ('label'), so it is left out." in declare(Wishes("train.jsonl")).told


def test_a_regression_from_a_file_to_a_declaration(here: Path) -> None:
    rows = [f"text {i},{i / 4},{i / 8}\n" for i in range(80)]
    (here / "sts.csv").write_text("text,score,other\n" + "".join(rows))
    made = declare(Wishes("sts.csv"))
    assert "label 'score' (a regression, on numbers from 0 to 19.75)" in made.told[0]
    declared = tomllib.loads(made.text)
    assert declared["kind"] == "regression"
    assert declared["metrics"] == ["pearson", "spearman"]
    assert "labels" not in declared
    # two columns of numbers, neither called as labels are: the user decides
    (here / "sts.csv").write_text("text,first,second\n" + "".join(rows))
    with pytest.raises(UserError, match=r"several columns could be the label \(first, second\); name it by --label"):
        guess_columns("sts.csv", here)
    assert guess_columns("sts.csv", here, label="second").kind == "regression"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("summary of it,body of it,label", "several columns could be the text .*summary of it, body of it.*--text"),
        ("text,kind,sort", "several columns could be the label .*kind, sort.*--label"),
        ("text,score,kind", "several columns could be the label .*score, kind.*--label"),
    ],
)
def test_what_is_not_clear_stops_with_the_choices(head: str, said: str, here: Path) -> None:
    middle = "other text {i}" if "body" in head else "{i}.5" if "score" in head else "kind"
    rows = [f"some text {i},{middle.format(i=i).replace('kind', str(i % 3))},{i % 2}" for i in range(60)]
    (here / "a.csv").write_text("\n".join([head, *rows]))
    with pytest.raises(UserError, match=said):
        guess_columns("a.csv", here)


def test_a_file_without_names_of_columns(here: Path) -> None:
    (here / "a.csv").write_text(csv_rows(60).partition("\n")[2])
    guess = guess_columns("a.csv", here)
    assert (guess.text, guess.label, guess.form.header) == (("2",), "3", False)


def test_a_first_line_with_equal_fields_can_be_an_example(here: Path) -> None:
    (here / "a.csv").write_text("".join(f"{i % 2 * 4},{i},a text number {i}\n" for i in range(30)))
    assert guess_columns("a.csv", here) == replace(guess_columns("a.csv", here), text=("3",), label="1")


def test_columns_without_a_name_have_their_number(here: Path) -> None:
    rows = "".join(
        f'{("ham", "spam")[i % 2]},"text number {i}",{"and more" if i % 9 == 0 else ""},,\n' for i in range(60)
    )
    (here / "spam.csv").write_text(f"v1,v2,,,\n{rows}")
    assert declare(Wishes("spam.csv")).told[0].startswith("spam.csv: text 'v2', label 'v1' (2 classes: ham, spam)")


def test_fasttext_lines(here: Path) -> None:
    (here / "a.txt").write_text("".join(f"__label__{'ab'[i % 2]} text {i}\n" for i in range(60)))
    made = declare(Wishes("a.txt"))
    assert "2 classes: a, b" in made.told[0]


def test_lines_that_begin_with_a_label(here: Path) -> None:
    (here / "some.all").write_text("".join(f"{['NUM:dist', 'LOC:city'][i % 2]} question {i} ?\n" for i in range(60)))
    made = declare(Wishes("some.all"))
    assert "2 classes: LOC:city, NUM:dist" in made.told[0]
    (here / "prose.all").write_text("".join(f"word{i} begins this line\n" for i in range(60)))
    with pytest.raises(UserError, match="has no format that is known"):
        declare(Wishes("prose.all"))


def write_classes(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(6):
            (folder / name / f"{number}.txt").write_text(f"a text of {name},\nnumber {number} in {folder.name}\n")


def test_a_folder_of_a_subfolder_for_each_class(here: Path) -> None:
    write_classes(here / "imdb_small" / "train", "pos", "neg", "unsup")
    write_classes(here / "imdb_small" / "test", "pos", "neg")
    (here / "imdb_small" / "README.txt").write_text("about the data")
    made = declare(Wishes("imdb_small"))
    assert made.told[0].endswith("text 'text', label 'label' (2 classes: neg, pos); rows: train 12, test 12.")
    assert "Left out, as no other split has the class: unsup (drop_labels in the declaration)." in made.told
    data = read_declared(Declaration.parse(tomllib.loads(made.text), "here"), here)
    assert data.splits["train"].text_a[:2] == [f"a text of {name},\nnumber 0 in train\n" for name in ("neg", "pos")]
    assert data.splits["train"].labels[:4] == [0, 1, 0, 1]
    assert data.splits["test"].text_a[-1] == "a text of pos,\nnumber 5 in test\n"


def test_class_folders_without_splits(here: Path) -> None:
    write_classes(here / "news", "sport", "politics")
    (here / "news" / "sport" / ".hidden").write_text("no example")
    (here / "news" / "README.TXT").write_text("about the data")
    made = declare(Wishes("news"))
    assert "(2 classes: politics, sport); rows: train " in made.told[0]
    (here / "news" / "sport" / "6.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"news/sport/6.txt, line 1: not utf-8 .*--encoding cp1252"):
        read_declared(Declaration.parse(tomllib.loads(made.text), "here"), here)


def test_a_group_of_tasks_keeps_its_name(here: Path) -> None:
    (here / "questions.csv").write_text("text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(20)))
    with pytest.raises(UserError, match=r"'questions' is the name of a group of tasks.*--name NAME"):
        declare(Wishes("questions.csv"))
    assert declare(Wishes("questions.csv", name="mine")).name == "mine"


def test_a_folder_of_texts_and_labels(here: Path) -> None:
    (here / "d").mkdir()
    for split in ("train", "test"):
        (here / f"d/{split}_text.txt").write_text("".join(f"text {i}\n" for i in range(20)))
        (here / f"d/{split}_labels.txt").write_text("".join(f"{i % 2}\n" for i in range(20)))
    assert find_splits("d", here)["test"] == {"text": "d/test_text.txt", "label": "d/test_labels.txt"}


@pytest.mark.parametrize("data", ["train.csv", "train_text.txt"])
def test_of_a_large_file_or_pair_of_files_a_part_is_read(
    data: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "train.csv").write_text(csv_rows(60))
    (here / "train_text.txt").write_text("".join(f"text {i:02}\n" for i in range(60)))
    (here / "train_labels.txt").write_text("".join(f"{i % 2}\n" for i in range(60)))
    files = ["train.csv"] if data == "train.csv" else ["train_text.txt", "train_labels.txt"]
    size = sum((here / name).stat().st_size for name in files)
    first = here / files[0]
    rows = (size - 1) // (first.stat().st_size // len(first.read_text().splitlines()))  # as many as have that size
    for limit, said in ((size, False), (size - 1, True)):
        monkeypatch.setattr(new_declaration, "LARGE", limit)
        made = declare(Wishes(data, name=f"of-{limit}"))
        assert (f"max_rows = {rows}\n" in made.text) is said
        assert any(f"The file is large; {rows} of its rows are read" in text for text in made.told) is said


def test_from_a_file_to_a_table(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "reviews.csv").write_text(csv_rows(240))
    words = ["run", "--data", "reviews.csv", "--methods", "finetune", "--epochs", "1", "--student", "tiny-2x32"]
    assert call_here([*words, "--dry-run"], monkeypatch) == 0
    assert "would write tasks/reviews.toml" in capsys.readouterr().out
    assert not (here / "tasks").exists()
    monkeypatch.setattr(TASKS, "_found", None)
    assert call_here(words, monkeypatch) == 0
    out = capsys.readouterr().out
    assert "text 'review', label 'stars' (2 classes: neg, pos)" in out
    assert "about 20 % of the rows of each class are held out, by a hash of each text" in " ".join(out.split())
    declared = tomllib.loads((here / "tasks/reviews.toml").read_text())
    assert declared["labels"] == ["neg", "pos"]
    saved = next((here / "results/runs").glob("reviews-finetune-*/model/config.json"))
    assert json.loads(saved.read_text())["id2label"] == {"0": "neg", "1": "pos"}
    # the same again trains nothing; other columns are refused, not ignored
    monkeypatch.setattr(TASKS, "_found", None)
    assert call_here(words, monkeypatch) == 0
    assert "0 trained, 1 done before" in capsys.readouterr().out
    assert call_here([*words, "--label", "id"], monkeypatch) == 2
    assert "--label differs from the declaration in" in capsys.readouterr().err
    # the results are shown where nobody knows the task
    (here / "tasks/reviews.toml").unlink()
    monkeypatch.setattr(TASKS, "_found", None)
    assert call_here(["table", "1"], monkeypatch) == 0
    assert "Reviews" in capsys.readouterr().out


def test_run_names_the_task_of_its_data(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "rte.csv").write_text(csv_rows(60))
    words = ["run", "--data", "rte.csv", "--methods", "finetune", "--dry-run"]
    assert call_here(words, monkeypatch) == 2
    assert "Two files define a task 'rte'" in (said := capsys.readouterr().err)
    assert said.endswith("Name the task of rte.csv by --name NAME.\n")
    assert call_here([*words, "--name", "mine"], monkeypatch) == 0
    assert "mine-finetune-s0" in capsys.readouterr().out
    assert call_here(["run", "--name", "mine", "--dry-run"], monkeypatch) == 2
    assert "--name describes the data of --data FILE" in capsys.readouterr().err


def test_a_split_of_ones_own_selects(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, rows in (("train", 60), ("dev", 12), ("test", 12)):
        (here / f"{split}.csv").write_text(csv_rows(rows))
    words = ["run", "--data", "train.csv", "--methods", "finetune", "--epochs", "1", "--student", "tiny-2x32"]
    assert call_here(words, monkeypatch) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Checkpoints selected on the validation split, which is not reported." in out
    assert "12 of 12 rows of test have a text that is in train too." in out
    assert "optimistic" not in out


def test_options_of_data_need_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_here(["run", "--label", "x", "--dry-run"], monkeypatch) == 2
    assert "--label describes the data of --data FILE" in capsys.readouterr().err


def test_new_task_takes_no_name_that_is_taken(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "rte.csv").write_text(csv_rows(60))
    assert call_here(["new-task", "rte.csv"], monkeypatch) == 2
    assert "Two files define a task 'rte'" in capsys.readouterr().err
    assert call_here(["new-task", "rte.csv", "--name", "mine"], monkeypatch) == 0
    assert (here / "tasks/mine.toml").exists()


def test_torch_is_not_needed_to_look_at_a_file(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "a.csv").write_text(csv_rows(60))
    code = "import sys; from kdbench.data.new_declaration import Wishes, declare; declare(Wishes('a.csv'));"
    done = subprocess.run([sys.executable, "-c", f"{code} print('torch' in sys.modules)"], cwd=tmp_path, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "False"
