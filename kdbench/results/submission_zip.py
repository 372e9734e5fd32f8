"""Write and check the zip of predictions for a test server; a malformed one is refused with its first mistake."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.core.atomic_files import replacing
from kdbench.core.errors import UserError, check_known
from kdbench.core.plugin_rows import in_table_order
from kdbench.data.task_registry import TASKS
from kdbench.data.test_server import Server, ServerFile

HEADER = "index\tprediction"
NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
ROW_BYTES = 64  # more than any row of a sound file takes
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # in every zip, so that equal predictions give equal bytes


def find_server(group: str) -> Server:
    """Return the server that scores the tasks of a group.

    Raises:
        UserError: no task of the group loads.
    """
    for task in TASKS.all().values():
        if task.group == group and task.server is not None:
            return task.server
    raise UserError(f"No task of the group '{group}' loads, so that its server is not known; see: kdbench list tasks")


def task_by_file(server: Server) -> dict[str, str]:
    """Return the files that the server wants, the diagnostic ones last: file name -> task, in table order."""
    tasks = [(name, task) for name, task in in_table_order(TASKS.all()).items() if task.server is server]
    own = {file.filename: name for name, task in tasks for file in task.server_files}
    return own | {file.filename: name for name, task in tasks for file in task.diagnostic_files}


def required_files(server: Server) -> dict[str, ServerFile]:
    """Return all files that the server wants, by name."""
    tasks = [TASKS.get(name) for name in dict.fromkeys(task_by_file(server).values())]
    files = {file.filename: file for task in tasks for file in (*task.server_files, *task.diagnostic_files)}
    return {name: files[name] for name in task_by_file(server)}


def write_zip(path: Path, server: Server, predictions: Mapping[str, Sequence[str]]) -> None:
    """Write the zip, or refuse malformed predictions and leave `path` unchanged.

    Args:
        predictions: file name -> labels; omitted files are filled with the most frequent class.

    Raises:
        UserError: the server would not take the zip, a file name is not valid, or `path` is a folder.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the zip to write, such as {path / 'submission.zip'}.")
    texts = {}
    files = required_files(server)
    check_known("file", predictions, files)
    for name, file in files.items():
        words = predictions[name] if name in predictions else [file.filler] * file.rows
        texts[name] = "".join(f"{line}\n" for line in (HEADER, *(f"{i}\t{word}" for i, word in enumerate(words))))
        check_text(texts[name], file, f"{path}, {name}")
    with replacing(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in texts.items():
                archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), text, zipfile.ZIP_DEFLATED)
        check_zip(temporary, server, str(path))


def check_zip(path: Path, server: Server, called: str = "") -> None:
    """Refuse a zip that the server would not take or would score wrongly.

    Args:
        called: name of the file in messages, if it is not `path`.

    Raises:
        UserError: one sentence about the first mistake.
    """
    called, files = called or str(path), required_files(server)
    if not path.is_file():
        raise UserError(f"There is no file {called}; kdbench glue export ROW writes one.")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names([info.filename for info in archive.infolist()], files, server, called)
            for name, file in files.items():
                check_text(_read(archive, archive.getinfo(name), file, f"{called}, {name}"), file, f"{called}, {name}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise UserError(f"{called} is no zip that can be read ({error}); export it again.") from None


def _check_names(found: Sequence[str], files: Mapping[str, ServerFile], server: Server, called: str) -> None:
    """Check that the zip holds every file once, at the top, and nothing else."""
    for name in found:
        if name not in files:
            inside = "; files must lie at the top, in no folder" if "/" in name else ""
            raise UserError(
                f"{called} holds '{name}', which {server.title} does not take{inside} (takes: {_list(files)})."
            )
        if found.count(name) > 1:
            raise UserError(f"{called} holds {name} {found.count(name)} times; keep one.")
    if missing := [name for name in files if name not in found]:
        raise UserError(f"{called} lacks {_list(missing)}: {server.title} wants {len(files)} files, {_list(files)}.")


def _list(names: Sequence[str] | Mapping[str, ServerFile]) -> str:
    return ", ".join(names)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: ServerFile, called: str) -> str:
    """Read a file of the zip, if its size is plausible."""
    if info.flag_bits & 1:
        raise UserError(f"{called}: encrypted; zip it without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{called}: compressed in a way that not every zip program reads; zip it with 'deflate'.")
    if info.file_size > ROW_BYTES * (file.rows + 1):
        raise UserError(f"{called}: {info.file_size:,} bytes are too many for {file.rows:,} rows; export it again.")
    try:
        return archive.read(info).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{called}: no UTF-8 text; export it again.") from None


def check_text(text: str, file: ServerFile, called: str) -> None:
    """Check header, columns, order and number of rows, and predictions.

    Raises:
        UserError: one sentence that names the line and what was expected.
    """
    lines = text.removesuffix("\n").split("\n")
    if lines[0] != HEADER:
        raise UserError(f"{called}, line 1: expected the header {HEADER!r}, found {lines[0][:60]!r}.")
    for row, line in enumerate(lines[1:]):
        cells, where = line.split("\t"), f"{called}, line {row + 2}"
        if len(cells) != 2:
            raise UserError(f"{where}: expected an index, a tab and a prediction, found {line[:60]!r}.")
        if cells[0] != str(row):
            raise UserError(f"{where}: {_disorder(cells[0], row)}; the server wants 0 to {file.rows - 1} in order.")
        if not _fits(cells[1], file):
            raise UserError(f"{where}: {cells[1][:60]!r} is no prediction (valid: {_valid(file)}).")
    if len(lines) - 1 != file.rows:
        raise UserError(f"{called}: {len(lines) - 1:,} rows, but the test split has {file.rows:,}.")


def _disorder(index: str, row: int) -> str:
    """Say why an index is wrong."""
    if NUMBER.fullmatch(index) and index in map(str, range(row)):
        return f"the index {index} stands there twice"
    return f"expected the index {row}, found {index[:60]!r}"


def _fits(word: str, file: ServerFile) -> bool:
    """Return whether a prediction is valid."""
    if file.words:
        return word in file.words
    return NUMBER.fullmatch(word) is not None and file.limits[0] <= float(word) <= file.limits[1]


def _valid(file: ServerFile) -> str:
    """Name the valid predictions."""
    return ", ".join(file.words) or f"a number from {file.limits[0]:g} to {file.limits[1]:g}"
