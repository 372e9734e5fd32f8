"""Mistakes in a user's own files and networks: one sentence that names the place, before anything is trained."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.core.spec import DataRef
from kdbench.data.data_checks import data_remarks
from kdbench.data.example_checks import check_examples
from kdbench.data.new_declaration import Wishes, declare
from kdbench.data.task import Examples, TaskData
from kdbench.data.task_registry import TASKS
from kdbench.distill.hidden_states import layer_mismatch
from kdbench.distill.method_registry import METHODS
from kdbench.models.padding_check import check_padding, of_lengths
from kdbench.models.reference import Shape, is_causal
from kdbench.planning.inputs import clear_caches, load_data, load_tokens
from kdbench.training import preflight
from tests.kdbench.architectures import TOKENIZERS
from tests.kdbench.small_runs import CPU, plan, refusal
from tests.kdbench.test_method_files import forget
from tests.kdbench.test_padding_check import network, read

METHOD = '''from kdbench import Method
from kdbench.distill.method import Distillation


class Mine(Distillation):
    """Learn."""

    {title}

    def loss(self, batch):
        return self.student.logits(batch).mean()
'''
TASK = """from kdbench import Task
from kdbench.data.task import Examples, TaskData


class Spam(Task):
    title, labels, metrics = "Spam", ("ham", "spam"), ("accuracy",)

    def load(self, location):
        labels = {labels}
        part = Examples(["a b"] * 4, None, labels)
        return TaskData({{"train": part, "validation": part}})"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    forget(monkeypatch)
    for name, empty in (("_found", None), ("broken", {}), ("files", {}), ("_failed", {})):
        monkeypatch.setattr(TASKS, name, empty)
    (tmp_path / "methods").mkdir()
    (tmp_path / "tasks").mkdir()
    yield tmp_path
    load_data.cache_clear()


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("", "Mine has no title"),
        ("title = 'KD'", "its title 'KD' is that of the method 'kd'; give it another"),
        ("title = 'LGTM (as printed)'", "its title 'LGTM (as printed)' is that of the method 'lgtm'"),
    ],
)
def test_rows_of_tables_can_be_told_apart(title: str, said: str, here: Path) -> None:
    (here / "methods" / "mine.py").write_text(METHOD.format(title=title))
    assert said in refusal("run", "--methods", "mine", "--tasks", "rte", "--dry-run")
    assert said in METHODS.broken["mine"]
    (here / "methods" / "mine.py").unlink()
    (here / "mine.py").write_text(METHOD.format(title=title))
    assert said in refusal("run", "--methods", "./mine.py", "--tasks", "rte", "--dry-run")


def test_a_base_class_of_ones_own_is_no_method(here: Path) -> None:
    (here / "methods" / "shared.py").write_text(METHOD.format(title='title = ""'))
    assert "shared" not in METHODS.all()
    assert "shared" not in METHODS.broken


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("['ham', 'spam', 'ham', 'spam']", "Task 'spam', train, row 0: the label is 'ham', where a class index from 0"),
        ("[0, 1, 0]", "Task 'spam', train: texts and labels must pair up, and there are 4 and 3 of them."),
        (
            "[0, 1, None, 1]",
            "Task 'spam', train, row 2: the label is None, where a class index from 0 to 1 is expected.",
        ),
        ("[0, 1, 2, 1]", "Task 'spam', train, row 2: the label is 2, where"),
        ("[0, 1, -1, 1]", "Task 'spam', train, row 2: the label is -1, where"),
        ("[0, 1, 1.0, 1]", "Task 'spam', train, row 2: the label is 1.0, where"),
        ("[0, [1], 0, 1]", "Task 'spam', train, row 1: the label is [1], where"),
        ("[0, True, 0, 1]", "Task 'spam', train, row 1: the label is True, where"),
        ("[-1] * 4", "Task 'spam', train, row 0: the label is -1, where"),
        ("open('/nowhere').read()", "Task 'spam' does not load its data: FileNotFoundError: [Errno 2] No such file or"),
        ("1 / 0", "Task 'spam' does not load its data: ZeroDivisionError: division by zero (spam.py, line 9)."),
    ],
)
def test_a_task_of_ones_own_gives_examples(labels: str, said: str, here: Path) -> None:
    (here / "tasks" / "spam.py").write_text(TASK.format(labels=labels))
    assert said in refusal("run", "--methods", "finetune", "--tasks", "spam", "--set", "epochs=1")


LOAD = """
        def part(rows, second=None):
            return Examples(["a b"] * rows, second, ([0, 1] * rows)[:rows])
        return TaskData({splits})
"""


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ("{'train': part(4)}",
         "Task 'spam' has no split 'validation', only train; return it from `load`, or name others in `report_splits`"),
        ("{'validation': part(4)}", "Task 'spam' has no split 'train', only validation; return it from `load`."),
        ("{'train': part(4), 'validation': part(0)}",
         "Task 'spam', validation: there are no rows; train and validation need some."),
        ("{'train': part(4), 'validation': part(4, ['c'] * 4)}",
         "Task 'spam' has pairs of texts in validation and single texts in train; give every split second texts"),
    ],
)  # fmt: skip
def test_a_task_of_ones_own_has_the_splits_it_declares(splits: str, said: str, here: Path) -> None:
    text = TASK.format(labels="[0, 1, 0, 1]").partition("\n        labels")[0] + LOAD.format(splits=splits)
    (here / "tasks" / "spam.py").write_text(text)
    assert said in refusal("run", "--methods", "finetune", "--tasks", "spam", "--dry-run")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "Task 'spam' has no split 'dev', only train, validation; return it"),
        ("[-1] * 4", "Task 'spam', dev, row 0: the label is -1, where a class index from 0 to 1 is expected."),
    ],
)
def test_the_validation_split_that_a_task_names_is_there_and_labelled(
    labels: str | None, said: str, here: Path
) -> None:
    text = TASK.format(labels="[0, 1, 0, 1]").replace("    def load", "    validation_split = 'dev'\n\n    def load")
    if labels:
        text = text.replace('"validation": part', f'"validation": part, "dev": Examples(["a"] * 4, None, {labels})')
    (here / "tasks" / "spam.py").write_text(text)
    assert said in refusal("run", "--methods", "finetune", "--tasks", "spam", "--dry-run")


def test_two_classes_of_one_name_are_refused(here: Path) -> None:
    (here / "tasks" / "spam.py").write_text(TASK.format(labels="[0]").replace('("ham", "spam")', '("spam", "spam")'))
    assert "Spam.labels is wrong: ('spam', 'spam'): two classes are called 'spam'" in refusal("run", "--tasks", "spam")


def test_the_list_of_tasks_says_which_class_f1_is_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "tasks" / "spam.py").write_text(TASK.format(labels="[0]").replace('"accuracy"', '"f1"'))
    app(["list", "tasks"], standalone_mode=False)
    assert "f1 is that of the second label" in capsys.readouterr().out


@given(st.lists(st.integers(0, 3), min_size=1), st.booleans())
def test_examples_with_class_indices_are_taken(labels: list[int], is_array: bool) -> None:
    given_labels: Any = np.array(labels) if is_array else labels
    check_examples("here", Examples(["a"] * len(labels), ["b"] * len(labels), given_labels), ("a", "b", "c", "d"))
    bare = Examples(["a"] * len(labels), None, [-1] * len(labels))
    check_examples("here", bare, ("a", "b"), is_labelled=False)
    with pytest.raises(UserError, match="row 0: the label is -1"):
        check_examples("here", bare, ("a", "b"))
    with pytest.raises(UserError, match="row 0: a text is 7, where a str is expected"):
        check_examples("here", Examples(["a"], [7], [0]), ("a", "b"))  # type: ignore[list-item]


def test_numbers_of_a_regression_are_finite() -> None:
    check_examples("here", Examples(["a"] * 3, None, [1, -1.5, np.float32(2)]), ("score",))  # type: ignore[list-item]
    for label in (np.nan, np.inf, 1j, "1"):
        with pytest.raises(UserError, match=r"row 0: the label is .*, where a number is expected"):
            check_examples("here", Examples(["a"], None, [label]), ("score",))  # type: ignore[list-item]


def test_class_indices_may_be_those_of_numpy(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kdbench.cli.app import app

    (here / "tasks" / "spam.py").write_text(
        "import numpy as np\n" + TASK.format(labels="np.arange(40) % 2").replace("* 4", "* 40")
    )
    assert not app(["run", "--methods", "finetune", "--tasks", "spam", "--dry-run"], standalone_mode=False)
    assert "1 run for 1 cell" in capsys.readouterr().out


def test_classes_that_may_be_one_are_named() -> None:
    part = Examples(["one", "two", "three", "four"], None, [0, 1, 2, 3])
    said = data_remarks("T", TaskData({"train": part}), ("joy", "Joy", "sad", "NaN"), ())
    assert "T: classes may be one that is written in two ways: 'joy' and 'Joy'." in said
    assert "T: a class is called 'NaN', which may stand for a missing label." in said


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            "n/a",
            "scores.csv, line 7: the label 'n/a' is no finite number, and the kind is regression; correct the row, or",
        ),
        ("nan", "scores.csv, line 7: the label 'nan' is no finite number"),
        (
            "0,5",
            "line 7: the label '0,5' is no finite number, and the kind is regression; correct the row, with a point",
        ),
    ],
)
def test_one_bad_value_among_numbers_is_named_with_its_line(bad: str, said: str, here: Path) -> None:
    rows = [f"a text {i};{bad if i == 5 else i / 7}" for i in range(60)]
    (here / "scores.csv").write_text("\n".join(["text;rating", *rows]))
    with pytest.raises(UserError) as caught:
        declare(Wishes("scores.csv", name="scores"))
    assert said in str(caught.value)
    (here / "scores.csv").write_text("\n".join(["text;rating", *(row for row in rows if bad not in row)]))
    assert "a regression, on numbers from 0 to" in " ".join(declare(Wishes("scores.csv", name="scores")).told)


def test_a_column_with_a_comma_in_its_name(here: Path) -> None:
    from kdbench.cli.app import app

    rows = "".join(f"a text {i},more text {i},{'xy'[i % 2]}\n" for i in range(60))
    (here / "long.csv").write_text(f'"title, long",body,label\n{rows}')
    app(["new-task", "long.csv", "--text", r"title\, long,body"], standalone_mode=False)
    assert tomllib.loads((here / "tasks/long.toml").read_text())["text"] == ["title, long", "body"]


def test_new_task_says_what_it_saw_in_the_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kdbench.cli.app import app

    rows = [f"{'' if i % 10 == 0 else f'a text {i}'},{'yes' if i % 3 else 'no'}" for i in range(60)]
    (here / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    assert not app(["new-task", "reviews.csv", "--name", "reviews"], standalone_mode=False)
    assert "have an empty text." in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "bert", "roberta", "xlnet", "deberta-v2", "modernbert"])
def test_first_tokens_of_causal_networks_are_not_compared(kind: str) -> None:
    """There the first token sees none of the text, so its state is the same for every row."""
    bert, other = Shape("one", 4, 32, 64, ""), Shape("other", 4, 32, 64, "", kind)
    assert is_causal(kind) is (kind in ("gpt2", "llama", "mistral"))
    for pair in ((bert, other), (other, bert)):
        problem = layer_mismatch(*pair, "beta=0")
        assert problem.startswith(f"it compares the states of first tokens, and in other ({kind})") is is_causal(kind)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("sizes", [(1, 2), (3, 9), (40, 20)])
def test_test_rows_begin_and_end_as_the_tokenizer_s_rows_do(kind: str, sizes: tuple[int, int]) -> None:
    """BART, for one, looks for as many tokens of the end in every row."""
    tokens = read(TOKENIZERS[kind]())
    own, made = tokens.ids, of_lengths(tokens, sizes)
    for row, size in enumerate(sizes):
        ids = made.ids[made.starts[row] : made.starts[row + 1]]
        assert len(ids) == size
        assert ids[0] == own[0]
        assert size < 2 or ids[-1] == own[-1]
        assert not {own[0], own[-1]} & set(ids[1:-1].tolist()) or set(own.tolist()) <= {own[0], own[-1]}


def test_a_network_with_nan_weights_is_said_to_have_them(tmp_path: Path) -> None:
    module = network(tmp_path, "bert")
    with torch.no_grad():
        module.classifier.weight.fill_(torch.nan)
    with pytest.raises(UserError, match=r"^The logits of mine are not finite; its weights are damaged, or too "):
        check_padding(module, read(TOKENIZERS["bert"]()), "mine")


def test_methods_that_do_not_fit_do_not_hide_those_that_do(tmp_path: Path) -> None:
    made = plan(tmp_path, "student=tiny-2x64", methods="kd,pkd,dist,tinybert", tasks="rte")
    with pytest.raises(UserError, match=r"Method 'pkd' cannot teach .* The others fit: --methods kd,dist\."):
        preflight.check_plan(made, [CPU])


def test_a_folder_that_is_not_there_is_not_whole(tmp_path: Path) -> None:
    assert f"There is no results folder {tmp_path / 'no'}" in refusal("verify", "--results", str(tmp_path / "no"))


def test_data_of_a_task_that_is_not_there_are_refused() -> None:
    with pytest.raises(UserError, match="Unknown task 'no'"):
        load_data("no", DataRef(source="files", path=None, fingerprint=""))


WHOLE_NUMBERS = """
from kdbench.data.task import Examples, Task, TaskData


class Stars(Task):
    title, kind, labels, metrics = "Stars", "regression", ("stars",), ("pearson",)

    def load(self, location):
        some = Examples([f"a film of {i % 5} stars" for i in range(20)], None, [i % 5 - 1 for i in range(20)])
        return TaskData({"train": some, "validation": some})
"""


def test_whole_numbers_are_numbers_and_rows_that_are_left_out_have_none(here: Path) -> None:
    (here / "tasks" / "stars.py").write_text(WHOLE_NUMBERS)
    (spec,) = plan(here, tasks="stars", methods="finetune").runs.values()
    for _ in range(2):  # made, and read from the cache
        clear_caches()
        labels = load_tokens(here / "cache", spec, "train").keep_rows(np.array([1, 5])).labels
        assert labels[[1, 5]].tolist() == [0.0, -1.0]
        assert np.isnan(labels).sum() == 18
