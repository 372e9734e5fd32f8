"""Tasks that report scores on the same texts are named wherever they are averaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.data.declaration import Declaration
from kdbench.data.declared_task import declared_task
from kdbench.data.shared_texts import shared_text_notes
from kdbench.data.task_registry import TASKS
from kdbench.reporting.show_figure import FigureChoice, find_figures
from kdbench.reporting.tables import TABLES
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import Made, spec

TREC = "TREC and TREC-50 have the same texts: an average counts these 2 times, "


def noted(*names: str) -> list[str]:
    return shared_text_notes(map(TASKS.get, names))


def test_the_tasks_of_the_package_that_share_texts() -> None:
    assert noted("trec", "trec50", "mrpc") == [f"{TREC}and its intervals and tests take the tasks as independent."]
    assert noted("trec", "mrpc", "banking77") == noted("trec50") == []
    assert noted(*TASKS.all()) == noted("trec", "trec50")


@pytest.mark.parametrize(
    ("change", "alike"),
    [({"label": "topic"}, True), ({"text": "body"}, False), ({"test": "c.csv"}, False), ({"test": ""}, False),
     ({"train": "c.csv"}, True)],
)  # fmt: skip
def test_the_same_texts_are_the_same_file_and_column(change: dict[str, str], alike: bool, tmp_path: Path) -> None:
    own = {"train": "a.csv", "test": "b.csv", "text": "text", "label": "label"}
    other = {key: value for key, value in {**own, **change}.items() if value}
    tasks = [
        declared_task(f"t{number}", Declaration.parse(values, "here"), "here", [tmp_path])
        for number, values in enumerate((own, other))
    ]
    assert bool(shared_text_notes(tasks)) == alike
    elsewhere = declared_task("t2", Declaration.parse(own, "there"), "there", [tmp_path / "other"])
    assert shared_text_notes([tasks[0], elsewhere]) == []  # a file of that name in another folder


def test_tables_figures_and_the_study_name_them(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for task in ("trec", "trec50", "rte"):
        for row, score in (("kd", 0.7), ("dml", 0.6)):
            made.done(made.ask(spec(row, task, 0)), score)
    (study,) = studies(made.write())
    table = TABLES.get("table1")().build(study)
    assert table is not None
    (picture,) = find_figures("ranks", made.store, FigureChoice())
    for notes in (table.notes, picture.notes):
        assert [note for note in notes if note.startswith(TREC)]
