"""Run all checks on one method."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kdbench.core.errors import RunFailure, UserError, check_known, place_in_file
from kdbench.training.conformance import checks, full_run_checks, loss_checks
from kdbench.training.conformance.check_list import CHECKS, Check
from kdbench.training.conformance.crashing_process import start_crashing_process
from kdbench.training.conformance.small_run import NotApplicable
from kdbench.training.conformance.subject import Subject

# in this order, whichever was imported first; "start" comes before all others
MODULES = [module.__name__ for module in (checks, loss_checks, full_run_checks)]
Verdict = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Finding:
    """Result of a check; `text` says what is wrong, or why the check does not apply."""

    check: Check
    verdict: Verdict
    text: str = ""


def names() -> list[str]:
    return [check.name for check in ordered()]


def ordered() -> list[Check]:
    """Return all checks in the order in which they are run."""
    return sorted(CHECKS, key=lambda check: MODULES.index(check.find.__module__))


def examine(
    folder: Path, name: str, *, sets: Mapping[str, Any] | None = None, file: Path | None = None,
    only: Collection[str] = (),
) -> Iterator[Finding]:  # fmt: skip
    """Run the checks and yield their findings; only the first if the method cannot make a step.

    Args:
        folder: an empty folder for the runs.
        only: names of checks; empty is all.

    Raises:
        UserError: an unknown check, or a method that the small networks of the checks do not fit.
    """
    check_known("check", only, names())
    chosen = [check for check in ordered() if not only or check.name in only]
    subject = Subject(folder, name, sets or {}, file)
    if any(check.find is full_run_checks.resume for check in chosen):
        subject.crashing_process = start_crashing_process(subject)
    try:
        for check in chosen:
            finding = _find(check, subject)
            yield finding
            if check.find is checks.start and finding.verdict == "failed":
                return
    finally:
        if subject.crashing_process is not None:
            subject.crashing_process.kill()
            subject.crashing_process.join()


def _find(check: Check, subject: Subject) -> Finding:
    try:
        text = check.find(subject)
    except NotApplicable as reason:
        return Finding(check, "not applicable", str(reason))
    except UserError:
        raise
    except RunFailure as failure:
        return Finding(check, "failed", failure.message)
    except Exception as error:
        return Finding(check, "failed", f"{type(error).__name__}: {error}{place_in_file(error, subject.method)}")
    return Finding(check, "failed" if text else "passed", text)
