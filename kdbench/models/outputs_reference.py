"""References to a file of a teacher's outputs, which stands where the name of a network does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kdbench.core.atomic_files import sha256_of, user_path
from kdbench.core.errors import UserError
from kdbench.core.spec import OUTPUTS, ModelRef
from kdbench.data.outputs_content import Content

OUTPUTS_NAME = re.compile(r"(?P<file>.+\.(parquet|npz|csv|tsv|jsonl))(:(?P<content>logits|probabilities))?")


def resolve_outputs(name: str, content: str | None) -> ModelRef:
    """Return the reference of a file with a teacher's outputs; `content` is part of the name where the user says it."""
    path, suffix = user_path(name), f":{content}" if content else ""
    if not path.is_file():
        raise UserError(f"There is no file '{name}' with a teacher's outputs.")
    return ModelRef(name=f"{path.resolve()}{suffix}", fingerprint=f"{OUTPUTS}{sha256_of(path)[:16]}{suffix}")


def outputs_teacher(file: str | None, content: str | None, teacher: str | None) -> dict[str, Any]:
    """Return the settings that make a file of outputs the teacher; {} without a file.

    Args:
        file, content, teacher: `--teacher-outputs`, `--teacher-outputs-are` and `--teacher` of `kdbench run`.

    Raises:
        UserError: the options contradict each other, or the file has another suffix.
    """
    if file is None:
        if content is not None:
            raise UserError("--teacher-outputs-are says what a file holds; give the file with --teacher-outputs.")
        return {}
    if teacher is not None:
        raise UserError("--teacher and --teacher-outputs both name a teacher; give one.")
    if not OUTPUTS_NAME.fullmatch(file):
        raise UserError(f"--teacher-outputs {file} is not a .parquet, .npz, .csv, .tsv or .jsonl file.")
    return {"teacher": f"{file}:{content}" if content not in (None, "auto") else file, "teacher_is_finetuned": True}


def outputs_arguments(teacher: str) -> list[str]:
    """Return the arguments of `kdbench run` that make a file of outputs the teacher; [] for the name of a network."""
    found = OUTPUTS_NAME.fullmatch(teacher)
    if found is None:
        return []
    content = ["--teacher-outputs-are", found["content"]] if found["content"] else []
    return ["--teacher-outputs", found["file"], *content]


def outputs_file(ref: ModelRef) -> tuple[Path, Content]:
    """Return the path of a file of outputs, and what the user says that it holds: `logits`, `probabilities`, `auto`."""
    found = OUTPUTS_NAME.fullmatch(ref.name)
    assert found is not None
    content: Any = found["content"] or "auto"
    return Path(found["file"]), content
