"""Records of exports to a test server and of its scores, in the results folder."""

from __future__ import annotations

import datetime
import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from kdbench.core.atomic_files import write_json
from kdbench.core.errors import UserError, check_known
from kdbench.core.records import read_records
from kdbench.core.spec import Name
from kdbench.data.metrics import SIGNED
from kdbench.data.task_registry import TASKS
from kdbench.data.test_server import Server, ServerFile
from kdbench.results.store import Store
from kdbench.results.submission_zip import NUMBER, required_files, task_by_file

RANGE = {False: "above 1 and at most 100", True: "from -100 to 100 and no fraction"}  # by whether a metric is signed
Scores = dict[str, dict[str, float]]  # test split -> metric -> per cent


@dataclass(frozen=True)
class ServerAnswer:
    """A server's scores of one run, with their date."""

    date: datetime.date
    scores: Scores


class SubmittedFile(BaseModel):
    """One file of a submission that a student answered."""

    model_config = ConfigDict(extra="ignore")

    task: str
    split: str
    run: str
    scores: dict[str, float] = {}  # by metric, in per cent, once the server has told them


class Submission(BaseModel):
    """An exported zip, and the server's scores once they are known."""

    model_config = ConfigDict(extra="ignore")

    server: str
    row: Name
    preset: Name
    student: str = ""  # as tables name it; "" in older records
    seed: int
    exported: AwareDatetime  # UTC
    zip: str  # sha256
    parts: dict[str, SubmittedFile]  # by file name; other files were filled
    scored: datetime.date | None = None  # the server's date

    @property
    def id(self) -> str:
        """Return a name that is equal for equal answers of the same runs."""
        digest = hashlib.sha256(json.dumps([self.zip, {n: p.run for n, p in self.parts.items()}]).encode())
        return f"{self.row}-{self.preset}-s{self.seed}-{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class WantedExport:
    """Hold what the user says of an export; None is whatever there is."""

    row: str
    preset: str | None = None
    student: str | None = None
    seed: int | None = None

    def fits(self, one: Submission) -> bool:
        """Return whether an export is of this kind."""
        student = self.student is None or self.student.casefold() == one.student.casefold()
        return one.row == self.row and self.preset in (None, one.preset) and self.seed in (None, one.seed) and student


def save_export(store: Store, submission: Submission) -> None:
    """Write the record of an export; an earlier export of the same answers keeps its scores."""
    before = {known.id: known for known in read_submissions(store)}.get(submission.id, submission)
    _save(store, before.model_copy(update={"exported": submission.exported}))


def _save(store: Store, submission: Submission) -> None:
    write_json(store.submissions_folder / f"{submission.id}.json", submission.model_dump(mode="json"))


def read_submissions(store: Store) -> list[Submission]:
    """Return all exports, oldest first; a damaged record is named on standard error and left out."""
    return sorted(read_records(store.submissions_folder, Submission), key=lambda submission: submission.exported)


def server_answers(store: Store) -> dict[str, ServerAnswer]:
    """Return the servers' answers by run; the latest counts."""
    found: dict[str, ServerAnswer] = {}
    scored = [(s.scored, s) for s in read_submissions(store) if s.scored is not None]
    for date, submission in sorted(scored, key=lambda item: item[0]):
        new: dict[str, Scores] = {}
        for part in submission.parts.values():
            new.setdefault(part.run, {})[part.split] = part.scores
        found |= {run: ServerAnswer(date, scores) for run, scores in new.items()}
    return found


def import_scores(store: Store, server: Server, file: Path, wanted: WantedExport) -> tuple[Submission, Submission]:
    """Store the scores of a file with the last export of a row, and return its record, new and old.

    Raises:
        UserError: the row was not exported, several exports fit, or the file is malformed.
    """
    submission = _exported(store, server, wanted)
    date, values = read_scores(file, server)
    _check_date(date, submission, file)
    if missing := [name for name in submission.parts if name not in values]:
        lacking = ", ".join(required_files(server)[name].name for name in missing)
        raise UserError(
            f"{file} has no scores of {lacking}, which '{wanted.row}' answered: add them as the page prints them."
        )
    parts = {name: part.model_copy(update={"scores": values[name]}) for name, part in submission.parts.items()}
    scored = submission.model_copy(update={"parts": parts, "scored": date})
    _save(store, scored)
    return scored, submission


def _exported(store: Store, server: Server, wanted: WantedExport) -> Submission:
    """Return the last export of a row.

    Raises:
        UserError: there is none, or its preset, student or seed is ambiguous.
    """
    every = [s for s in read_submissions(store) if s.server == server.title]
    found = [s for s in every if wanted.fits(s)]
    if not found:
        of = {s.id: ", ".join(filter(None, (s.preset, s.student, f"seed {s.seed}"))) for s in every}
        have = ", ".join(dict.fromkeys(f"{s.row} ({of[s.id]})" for s in every)) or "nothing"
        raise UserError(
            f"No such export of '{wanted.row}' is in {store.root} (exported: {have}); see: kdbench glue export -h"
        )
    for option in ("preset", "student", "seed"):
        choices = {str(getattr(one, option)) for one in found} - {""}
        if len(choices) > 1:
            raise UserError(
                f"'{wanted.row}' was exported with {option} {' and '.join(sorted(choices))}; choose with --{option}."
            )
    return found[-1]


def _check_date(date: datetime.date, submission: Submission, file: Path) -> None:
    """Check that the date lies between export and today.

    Raises:
        UserError: it does not.
    """
    exported, today = submission.exported.date(), datetime.datetime.now(tz=datetime.UTC).date()
    day = datetime.timedelta(days=1)  # the user's clock may show yesterday's or tomorrow's
    if not exported - day <= date <= today + day:
        raise UserError(
            f"{file}: date = {date} cannot be the day of the answer: the zip was exported on {exported}, and today is "
            f"{today}."
        )


def read_scores(file: Path, server: Server) -> tuple[datetime.date, dict[str, dict[str, float]]]:
    """Return the date and, by file name, the scores in per cent by metric; scores of unknown tasks are left out.

    Raises:
        UserError: the file is missing or not TOML, or a name or number is not one of the server's.
    """
    raw = _toml(file)
    date = raw.pop("date", None)
    if not isinstance(date, datetime.date) or isinstance(date, datetime.datetime):
        raise UserError(f"{file} needs a line with the day of the server's answer, such as: date = 2026-01-31")
    files = {item.name: item for item in required_files(server).values()}
    mine = task_by_file(server)
    check_known(f"task in {file}", raw, ["date", *files])
    own = {files[name]: value for name, value in raw.items() if files[name].filename in mine}
    return date, {f.filename: _scores(file, f, mine[f.filename], value) for f, value in own.items()}


def _toml(file: Path) -> dict[str, Any]:
    """Read a TOML file."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"There is no file {file}; kdbench glue import -h shows what it has to hold.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); name the file with the scores.") from None
    except (ValueError, RecursionError) as error:  # of TOML, UTF-8, or a number of thousands of digits
        raise UserError(f"{file} is no TOML ({error}); kdbench glue import -h shows what it has to hold.") from None


def _scores(file: Path, item: ServerFile, task: str, value: object) -> dict[str, float]:
    """Parse `88.9/84.8` to {f1: 88.9, accuracy: 84.8}."""
    metrics = item.metrics or TASKS.get(task).metrics
    texts = str(value).split("/")
    pairs = zip(texts, metrics, strict=False)
    numbers = [_per_cent(text, is_signed=metric in SIGNED) for text, metric in pairs]
    if isinstance(value, bool) or len(texts) != len(metrics) or None in numbers:
        example = f'"{"/".join(["88.9"] * len(metrics))}"' if len(metrics) > 1 else "88.9"
        raise UserError(
            f"{file}: {item.name} = {value!r} is not what the server prints: {'/'.join(metrics)} in per cent, "
            f"each {RANGE[any(m in SIGNED for m in metrics)]}, such as {item.name} = {example}"
        )
    return {metric: number for metric, number in zip(metrics, numbers, strict=True) if number is not None}


def _per_cent(text: str, *, is_signed: bool) -> float | None:
    """Parse a number in per cent; None where it is none. Up to 1 it is a fraction, which no server prints.

    Args:
        is_signed: 0 and negative numbers are scores, too.
    """
    stripped = text.strip()
    if not NUMBER.fullmatch(stripped.removeprefix("-") if is_signed else stripped):
        return None
    number = float(stripped)
    return number if 1 < abs(number) <= 100 or (is_signed and number == 0) else None
