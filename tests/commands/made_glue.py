"""Made-up GLUE files in the classic layout, and a server that wants fewer rows than the real one."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.data.task_registry import TASKS
from kdbench.data.test_server import ServerFile
from kdbench.results.submission_zip import HEADER, find_server, required_files

ROWS = 24
SERVER = find_server("glue")
LABELLED = {"RTE": ("train", "dev"), "MNLI": ("train", "dev_matched", "dev_mismatched")}
UNLABELLED = {"RTE": {"test": "dev"}, "MNLI": {"test_matched": "dev_matched", "test_mismatched": "dev_mismatched"}}
LABELS = {"RTE": ("label", ("entailment", "not_entailment")),
          "MNLI": ("gold_label", ("contradiction", "entailment", "neutral"))}  # fmt: skip


def write(root: Path) -> Path:
    """RTE and MNLI. The test files hold the texts of the development files, so that their answers are known."""
    for task, splits in LABELLED.items():
        column, words = LABELS[task]
        (root / task).mkdir(parents=True)
        for split in splits:
            rows = [f"{text}\t{words[i % len(words)]}" for i, text in enumerate(texts(split))]
            put(root / task / f"{split}.tsv", [f"index\tsentence1\tsentence2\t{column}", *rows])
        for split, like in UNLABELLED[task].items():
            put(root / task / f"{split}.tsv", ["index\tsentence1\tsentence2", *texts(like)])
    return root


def texts(split: str) -> list[str]:
    """Rows without their label; of lengths that differ, so that passes sorted by length change the order."""
    count = 240 if split == "train" else ROWS
    return [f"{i}\t{'abc'[i % 3] * 3} {'x ' * (7 * i % 11)}{split[-4:]}\t{'ab'[i % 2]}{i}" for i in range(count)]


def put(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def small_server(monkeypatch: pytest.MonkeyPatch, rows: int = ROWS) -> None:
    """Every file of a task that is here has `rows` rows."""
    for task in TASKS.all().values():
        if task.server is SERVER:
            for name in ("server_files", "diagnostic_files"):
                monkeypatch.setattr(task, name, tuple(replace(f, rows=rows) for f in getattr(task, name)))


def sound() -> dict[str, str]:
    """A submission that the server takes: every file's text, by name."""
    return {name: text(file) for name, file in required_files(SERVER).items()}


def text(file: ServerFile) -> str:
    words = file.words or ("0.0", "5", "2.75")
    return "\n".join([HEADER, *(f"{i}\t{words[i % len(words)]}" for i in range(file.rows))]) + "\n"


def pack(path: Path, members: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def unpack(path: Path) -> dict[str, list[str]]:
    """The predictions in a zip, by file name, as they stand there."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name).decode().splitlines()[1:] for name in archive.namelist()}
    return {name: [line.partition("\t")[2] for line in lines] for name, lines in members.items()}
