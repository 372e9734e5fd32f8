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
    unique = network_names(ref for _, networks in found for ref in networks.values())
    for names, networks in found:
        names.update({role: unique[ref] for role, ref in networks.items() if unique[ref] != ref.title})


def network_names(refs: Iterable[ModelRef]) -> dict[ModelRef, str]:
    """Return a name for each network: its title, of a folder that has another network's title with its fingerprint."""
    known, prints = set(refs), dict[str, set[str]]()
    for ref in known:
        prints.setdefault(ref.title, set()).add(ref.fingerprint)
    shared = {title for title, some in prints.items() if len(some) > 1 or is_built_in(title)}
    return {ref: ref.unique_title if ref.title in shared else ref.title for ref in known}


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
