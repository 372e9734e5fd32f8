"""What is said of data before training."""

from __future__ import annotations

import pytest

from kdbench.data.data_checks import data_remarks
from kdbench.data.task import Examples, TaskData


def test_what_is_seen_in_the_data() -> None:
    train = Examples(["a", "a", "a", "b", " ", "c"], None, [0, 0, 1, 1, 1, 2])
    test = Examples(["a", "z"], None, [0, 1])
    assert data_remarks("T", TaskData({"train": train, "test": test}), ("x", "y", "z"), ("test",)) == [
        "T: 2 of 6 rows of train (1 text with different labels) repeat the text of another row.",
        "T: 1 of 2 rows of test have a text that is in train too.",
        "T: 1 of 6 rows of train have an empty text.",
        "T train: class z occurs once only.",
        "T test: no row of class z.",
    ]
    # rows that select, and are reported
    spare = {"train": train, "validation": Examples(["q", "z"], None, [0, 1]), "test": test}
    assert "T: 1 of 2 rows of test have a text that is in validation too." in data_remarks(
        "T", TaskData(spare), ("x", "y", "z"), ("test",)
    )
    # rows of train that select
    selects = {"train": train, "validation": Examples(["a", "q"], None, [0, 1]), "test": test}
    assert "T: 1 of 2 rows of validation and 1 of 2 rows of test have a text that is in train too." in data_remarks(
        "T", TaskData(selects), ("x", "y", "z"), ("test",)
    )
    # of several splits, one sentence
    pairs = {"train": Examples(["a", "a"], ["b", "b"], [0, 1]), "test_own": Examples(["a", "a"], ["", ""], [0, 1])}
    assert data_remarks("T", TaskData(pairs), ("x", "y"), ("test_own",))[:2] == [
        "T: 1 of 2 rows of train (1 text with different labels) and 1 of 2 rows of test-own (1 text with different "
        "labels) repeat the text of another row.",
        "T: 2 of 2 rows of test-own have an empty text.",
    ]
    clean = {"train": Examples(list("abcd"), None, [0, 1, 0, 1]), "test": Examples(list("ef"), None, [0, 1])}
    assert data_remarks("T", TaskData(clean), ("x", "y"), ("test",)) == []


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("1", "01", "2"), "T: classes may be one that is written in two ways: '1' and '01'."),
        (("1", "1.0", "2"), "T: classes may be one that is written in two ways: '1' and '1.0'."),
        (("\u00e9", "e\u0301", "x"), "T: classes may be one that is written in two ways: '\u00e9' and 'e\u0301'."),
        (("a b", "a  b", "x"), "T: classes may be one that is written in two ways: 'a b' and 'a  b'."),
        (("a", "b", "a, b"), "T: 'a, b' is a class of its own beside 'a' and 'b'; a row has one class here."),
        (("9223372036854775808", "9223372036854775809", "2"), ""),  # one float, and two numbers
        (("a", "c", "a, b"), ""),  # b is no class, so that the comma is of a name
        (("nan", "1", "inf"), "T: a class is called 'nan', which may stand for a missing label."),
    ],
)  # fmt: skip
def test_names_of_classes_that_may_mean_something_else(labels: tuple[str, ...], said: str) -> None:
    data = TaskData({"train": Examples(list("abcdef"), None, [0, 1, 2, 0, 1, 2])})
    assert data_remarks("T", data, labels, ()) == ([said] if said else [])
