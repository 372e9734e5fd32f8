"""Tasks that are changed after runs were trained on them: the runs keep the labels and metrics that they had."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.core.records import warn_once
from kdbench.data.task_registry import TASKS
from kdbench.results.read_studies import studies
from kdbench.results.store import Store

ROWS = 60
TINY = [
    part
    for pair in ("student=tiny-1x32", "teacher=tiny-1x32", "epochs=1", "batch_size=16", "jobs=1")
    for part in ("--set", pair)
]
DECLARED = """
text = "text"
label = "label"
train = "train.jsonl"
validation = "dev.jsonl"
labels = [{labels}]
metrics = [{metrics}]
"""
PYTHON = '''"""Two moods."""

from kdbench.data.task import Examples, Task, TaskData


class Mood(Task):
    title = "Mood"
    labels = ({labels})
    metrics = ({metrics})

    def load(self, location):
        rows = [(f"row {{i}} {{'good' if i % 3 else 'bad'}}", int(i % 3 > 0)) for i in range(60)]
        split = Examples([text for text, _ in rows], None, [label for _, label in rows])
        return TaskData({{"train": split, "validation": split}})
'''


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    texts = [(f"row {i} {'good' if i % 3 else 'bad'}", "good" if i % 3 else "bad") for i in range(ROWS)]
    for name in ("train", "dev"):
        lines = [f'{{"text": "{name} {text}", "label": "{label}"}}' for text, label in texts]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "tasks").mkdir()
    yield tmp_path
    monkeypatch.undo()
    forget()


def forget() -> None:
    """As in another process."""
    TASKS._found, TASKS._contents, TASKS.broken, TASKS.files = None, None, {}, {}
    warn_once.cache_clear()


def declare(labels: str, metrics: str = '"accuracy", "f1:bad"', form: str = DECLARED) -> None:
    suffix = "py" if form == PYTHON else "toml"
    Path(f"tasks/mood.{suffix}").write_text(form.format(labels=labels, metrics=metrics))
    forget()


def kdbench(*args: str) -> None:
    assert (app([*args], standalone_mode=False) or 0) == 0


def said(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    kdbench(*args)
    return " ".join(capsys.readouterr().out.split())


WARNING = (
    "Task 'mood' has other labels and metrics now than when runs in results were trained; tables and figures leave "
    "these runs out. Give the changed task a name of its own to see both."
)
RUN = ("run", "--methods", "finetune,kd", "--tasks", "mood", "--seeds", "0,1", *TINY)


def test_stored_runs_are_read_as_they_were_declared(capsys: pytest.CaptureFixture[str]) -> None:
    declare('"bad", "good"')
    kdbench(*RUN)
    table = said(capsys, "table", "scores")
    compared = said(capsys, "compare", "finetune", "kd", "--format", "csv")
    (study,) = studies(Store(Path("results")))
    run = study.cells[0].run.id
    shown = said(capsys, "show", run)
    # the declaration turns the classes round; nothing was trained with it
    declare('"good", "bad"')
    assert said(capsys, "table", "scores") == table
    assert said(capsys, "compare", "finetune", "kd", "--format", "csv") == compared
    assert said(capsys, "show", run) == shown
    assert "macro" not in said(capsys, "list", "runs")
    # a title of today is shown, for it changes no number
    text = Path("tasks/mood.toml").read_text()
    Path("tasks/mood.toml").write_text(f'title = "Two moods"\n{text}')
    forget()
    assert said(capsys, "table", "scores").replace("Two moods", "mood").split() == table.split()
    assert "Two moods" in said(capsys, "table", "scores")


def test_a_plan_takes_the_declaration_of_today(capsys: pytest.CaptureFixture[str]) -> None:
    declare('"bad", "good"')
    kdbench(*RUN)
    declare('"good", "bad"', '"macro_f1"')
    studies(Store(Path("results")))
    assert TASKS.get("mood").metrics == ("accuracy", "f1:bad")  # of what is read
    assert "6 to train" in said(capsys, *RUN, "--dry-run")
    assert TASKS.get("mood").metrics == ("macro_f1",)


@pytest.mark.parametrize("form", [DECLARED, PYTHON], ids=["declared", "Python"])
def test_runs_of_a_task_that_has_changed_are_left_out(
    form: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Trained with both: the tables show the later, and say what they leave out."""
    declare('"bad", "good"', form=form)
    kdbench(*RUN)
    declare('"good", "bad"', '"macro_f1", "accuracy"', form=form)
    if form == PYTHON:
        for words in (("table", "scores"), ("figure", "scores"), ("compare", "kd", "finetune"), ("report",)):
            with pytest.raises(UserError, match="on tasks that have changed since, or are missing: mood"):
                kdbench(*words)
        assert "data not known" in said(capsys, "status")
        assert WARNING in caplog.messages
    assert "6 trained" in said(capsys, *RUN)
    forget()
    caplog.clear()
    assert "macro-F1" in said(capsys, "table", "scores")
    assert caplog.messages == [WARNING]
    old, new = studies(Store(Path("results")))
    assert (old.tasks, old.gone, old.changed) == ([], ["mood"], {"mood": "labels and metrics"})
    assert (new.tasks, new.gone) == (["mood"], [])
    # each run keeps its names
    listed = said(capsys, "list", "runs")
    assert "macro-F1" in listed
    if form == DECLARED:
        assert "accuracy" in listed
        assert [cell.run.task.labels for cell in (old.cells[0], new.cells[0])] == [("bad", "good"), ("good", "bad")]


def test_a_task_of_the_same_name_in_another_folder_is_another_task(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Declared where the runs were trained, in Python where they are read, with the classes turned; and back."""
    for number, (here, there) in enumerate(((DECLARED, PYTHON), (PYTHON, DECLARED))):
        home, other = tmp_path / f"home{number}", tmp_path / f"other{number}"
        for folder in (home, other):
            (folder / "tasks").mkdir(parents=True)
            for name in ("train", "dev"):
                shutil.copy(tmp_path / f"{name}.jsonl", folder)
        monkeypatch.chdir(home)
        declare('"bad", "good"', form=here)
        kdbench(*RUN)
        (study,) = studies(Store(Path("results")))
        run = study.cells[0].run
        table, shown = said(capsys, "table", "scores"), said(capsys, "show", run.id)
        monkeypatch.chdir(other)
        declare('"good", "bad"', form=there)
        if here == DECLARED:  # the runs bring their declaration along
            assert said(capsys, "table", "scores", "--results", str(home / "results")) == table
        else:
            caplog.clear()
            with pytest.raises(UserError, match="tasks that have changed since"):
                kdbench("table", "scores", "--results", str(home / "results"))
            assert "Task 'mood' has other labels now than when runs" in caplog.text
        again = said(capsys, "show", run.id, "--results", str(home / "results"))
        assert "bad" in shown
        before, after = (text.partition("Make it again")[0] for text in (shown, again.replace(f"{home}/", "")))
        assert after.replace("Mood", "mood") == before.replace("Mood", "mood")
        # what is planned here is the task of this folder
        assert "6 to train" in said(capsys, *RUN, "--dry-run")


def test_a_process_reads_changed_files_again(capsys: pytest.CaptureFixture[str]) -> None:
    """As a notebook does, in which tables are made between two runs."""
    declare('"bad", "good"')
    kdbench(*RUN)
    kdbench("table", "scores")
    Path("tasks/mood.toml").write_text(DECLARED.format(labels='"good", "bad"', metrics='"accuracy", "f1:bad"'))
    capsys.readouterr()
    assert "6 to train" in said(capsys, *RUN, "--dry-run")
    Path("tasks/mood.toml").unlink()
    with pytest.raises(UserError, match="Unknown task 'mood'"):
        kdbench(*RUN, "--dry-run")


@pytest.mark.parametrize(
    ("before", "after"),
    [('metrics = ("accuracy",)', 'metrics = ("accuracy", "macro_f1")'), ('("bad", "good")', '("good", "bad")'),
     ("    def load", "    def score(self, predictions, references):\n        return {'accuracy': 1.0}\n\n"
                     "    def load")],
    ids=["metrics", "labels", "score"],
)  # fmt: skip
def test_what_decides_a_python_tasks_scores_is_part_of_its_fingerprint(before: str, after: str) -> None:
    declare('"bad", "good"', '"accuracy",', PYTHON)
    first = fingerprint()
    Path("tasks/mood.py").write_text("# a remark\n" + Path("tasks/mood.py").read_text())
    forget()
    assert fingerprint() == first
    text = Path("tasks/mood.py").read_text()
    assert before in text
    Path("tasks/mood.py").write_text(text.replace(before, after))
    forget()
    assert fingerprint() != first


def fingerprint() -> str:
    from kdbench.core.spec import DataLocation

    return TASKS.get("mood")().fingerprint(DataLocation("generated"))


@pytest.mark.parametrize("base", ["Task", "Rte"])
def test_a_module_with_the_score_is_part_of_the_fingerprint(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a task that takes the rest from one of GLUE, whose own fingerprint is that of the rows alone."""
    monkeypatch.syspath_prepend(str(tmp_path))
    head = f"from kdbench.tasks.rte import Rte\nfrom own_score import score\n\n\nclass Mood({base})"
    own = "    def score(self, predictions, references):\n        return score(predictions, references)\n\n"
    text = PYTHON.replace("class Mood(Task)", head).replace("    def load", f"{own}    def load")
    found = []
    for value in ("1.0", "0.5"):
        monkeypatch.delitem(sys.modules, "own_score", raising=False)
        Path("own_score.py").write_text(f"def score(predictions, references):\n    return {{'accuracy': {value}}}\n")
        Path("tasks/mood.py").write_text(text.format(labels='"bad", "good"', metrics='"accuracy",'))
        forget()
        found.append(fingerprint())
    assert found[0] != found[1]


def test_errors_are_of_the_scores_that_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Means are stored, and errors computed from predictions, by scoring code that may have changed since."""
    own = "    def score(self, predictions, references):\n        return {{'accuracy': {} / len(references)}}\n\n"
    right = "sum(p == r for p, r in zip(predictions, references))"
    text = PYTHON.replace("    def load", own.replace("{}", right) + "    def load")
    Path("tasks/mood.py").write_text(text.format(labels='"bad", "good"', metrics='"accuracy",'))
    forget()
    kdbench(*RUN)
    capsys.readouterr()
    assert "mood" in said(capsys, "compare", "kd", "finetune").lower()
    assert "One class for every item scores at most 66.7 (Mood)." in said(capsys, "table", "scores")
    changed = text.replace(right, f"0.5 * {right}").format(labels='"bad", "good"', metrics='"accuracy",')
    Path("tasks/mood.py").write_text(changed)
    forget()
    with pytest.raises(UserError, match=r"Task 'mood' scores otherwise than when mood-.* was trained"):
        kdbench("compare", "kd", "finetune")
    table = said(capsys, "table", "scores")
    assert "On Mood also where scores are computed otherwise now than when the runs were trained." in table
    assert "°" not in table
    assert "One class for every item" not in table  # 33.3 by the code of today, beside means of the code of then
