"""Names of the networks and data of studies, in commands and in texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from kdbench.core.spec import ModelRef
from kdbench.data.task_registry import TASKS
from kdbench.models.reference import is_built_in

if TYPE_CHECKING:
    from kdbench.results.study import StudyResults
    from kdbench.results.sweep_files import Sweep

SHOWN = 6  # characters of a fingerprint


def sweep_networks(sweep: Sweep) -> dict[str, ModelRef]:
    """Return the networks of a sweep by role, with the names in the specs of its runs, which work in any folder."""
    known = {ref.fingerprint: ref for spec in sweep.runs.values() for ref in (spec.student, spec.teacher) if ref}
    return {
        role: known.get(fingerprint) or ModelRef(name=str(sweep.study[role]), fingerprint=fingerprint)
        for role, fingerprint in sweep.models.items() if role in sweep.study
    }  # fmt: skip


def distinguish_networks(found: Sequence[tuple[MutableMapping[str, Any], Mapping[str, ModelRef]]]) -> None:
    """Add digits of the fingerprint to the names of folders that have the name of another network.

    Args:
        found: the names by role, which are changed, and the networks by role, of each study.
    """
    every = [(names, role, ref) for names, networks in found for role, ref in networks.items()]
    prints: dict[str, set[str]] = {}
    for _, _, ref in every:
        prints.setdefault(ref.title, set()).add(ref.fingerprint)
    for names, role, ref in every:
        if len(prints[ref.title]) > 1 or is_built_in(ref.title):
            names[role] = ref.unique_title


def distinguish_data(found: Sequence[StudyResults]) -> None:
    """Name the data of tasks that have other data in another study of the same preset, networks and splits."""
    for study in found:
        others = [other for other in found if other is not study and other.key == study.key]
        titles = {task: getattr(TASKS.all().get(task), "title", task) for task in study.data}
        apart = [
            f"{titles[task]} {shortened(own, known)}" for task, own in sorted(study.data.items())
            if (known := {other.data[task] for other in others if task in other.data} - {own})
        ]  # fmt: skip
        study.other_data = f", data of {', '.join(apart)}" if apart else ""


def shortened(fingerprint: str, others: Iterable[str]) -> str:
    """Return the first six characters of a fingerprint, or all where another one begins alike."""
    return fingerprint if any(other[:SHOWN] == fingerprint[:SHOWN] for other in others) else fingerprint[:SHOWN]
