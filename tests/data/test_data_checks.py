"""What is said of data before training."""

from __future__ import annotations

from kdbench.data.data_checks import data_remarks
from kdbench.data.task import Examples, TaskData


def test_what_is_seen_in_the_data() -> None:
    train = Examples(["a", "a", "a", "b", " ", "c"], None, [0, 0, 1, 1, 1, 2])
    test = Examples(["a", "z"], None, [0, 1])
    assert data_remarks("T", TaskData({"train": train, "test": test}), ("x", "y", "z"), ("test",)) == [
        "T train: 2 of 6 rows repeat the text of another row, 1 text with different labels.",
        "T test: 1 of 2 rows have a text that is in train too.",
        "T train: 1 of 6 rows have an empty text.",
        "T train: class z occurs once only.",
        "T test: no row of class z.",
    ]
    # rows that select, and are reported
    spare = {"train": train, "validation": Examples(["q", "z"], None, [0, 1]), "test": test}
    assert "T test: 1 of 2 rows have a text that is in validation too." in data_remarks(
        "T", TaskData(spare), ("x", "y", "z"), ("test",)
    )
    clean = {"train": Examples(list("abcd"), None, [0, 1, 0, 1]), "test": Examples(list("ef"), None, [0, 1])}
    assert data_remarks("T", TaskData(clean), ("x", "y"), ("test",)) == []
