"""`kdbench new-task` with splits that do not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.data.new_declaration import Wishes, declare
from tests.data.test_new_task import csv_rows


def test_a_test_file_with_other_columns_names_a_way_out_that_works(here: Path) -> None:
    (here / "reviews.csv").write_text(csv_rows(30))
    (here / "other.csv").write_text(csv_rows(12, 30).replace("review", "body"))
    with pytest.raises(UserError, match=r"has no column 'review' \(found: id, body, stars\); every split has the same"):
        declare(Wishes("reviews.csv", test="other.csv"))
    (here / "other.csv").write_text(csv_rows(12, 30))  # renamed, as the sentence says
    assert "test 12" in declare(Wishes("reviews.csv", test="other.csv")).told[0]


def test_rows_of_train_that_select_are_told(here: Path) -> None:
    (here / "reviews.csv").write_text(csv_rows(30))
    (here / "mine.csv").write_text(csv_rows(5))
    (here / "other.csv").write_text(csv_rows(12, 30).replace("film", "book"))
    made = declare(Wishes("reviews.csv", dev="mine.csv", test="other.csv"))
    assert made.remarks == ("Reviews: 5 of 5 rows of validation have a text that is in train too.",)
