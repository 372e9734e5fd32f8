"""Show how often students answer as their teacher does, beside a student that nobody taught."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.analysis.fidelity import Fidelity
from kdbench.analysis.item_tables import SeedStatistics, difference
from kdbench.analysis.study_page.contrasts import LEAST_SEEDS, Contrast, StudyContrasts
from kdbench.analysis.study_page.text_table import text_table
from kdbench.results.item_statistics import average_over_seeds
from kdbench.results.study import task_title

AGREEMENT = "agreement"  # a column of the table of fidelity
NOTE = (
    "Share of the reported items to which student and teacher give the same class, in per cent; mean over the seeds. "
    "The teacher is that of the method: of TAKD its assistant, of methods that train it along the teacher at its end. "
    "Fine-tuning is compared with the teacher of its seed. More: kdbench table fidelity."
)
NOT_KEPT = "– Not done, or the answers of the teacher at its end were not kept."


def agreement_section(contrasts: StudyContrasts, taught: str, baseline: str) -> list[str]:
    """Return each row's agreement with its teacher as a Markdown table, after what teaching changes in it.

    Args:
        taught, baseline: the rows whose agreements are compared.
    """
    found = {row: known for row in contrasts.rows if (known := _agreements(contrasts, row))}
    if not found:
        return ["No run kept its teacher's answers."]
    tasks = [task for task in contrasts.tasks if any(task in known for known in found.values())]
    rows = [
        (contrasts.title(row), *(_mean(known[task]) if task in known else "–" for task in tasks))
        for row, known in found.items()
    ]
    lost = [NOT_KEPT] if any(task not in known for known in found.values() for task in tasks) else []
    table = text_table([task_title(task) for task in tasks], rows, [NOTE, *lost])
    gains = _gains(found.get(taught, {}), found.get(baseline, {}))
    told = f"Agreement of {contrasts.title(taught)} minus that of {contrasts.title(baseline)}: {gains}."
    return [told, table] if gains else [table]


def _agreements(contrasts: StudyContrasts, row: str) -> dict[str, SeedStatistics]:
    """Return task -> the row's agreement with its teacher in per cent, by seed."""
    table, found = Fidelity(), dict[str, SeedStatistics]()
    for task in contrasts.tasks:
        known = table.row_statistics(contrasts.cells(row, task), contrasts.study, task)
        if seeds := known.get(AGREEMENT):
            found[task] = {seed: [part.times(100) for part in parts] for seed, parts in seeds.items()}
    return found


def _mean(seeds: SeedStatistics) -> str:
    return f"{average_over_seeds(list(seeds.values())).value:.1f}"


def _gains(one: Mapping[str, SeedStatistics], other: Mapping[str, SeedStatistics]) -> str:
    """List the difference of two rows' agreements, task by task; "" where none has two common seeds."""
    parts = []
    for task in (task for task in one if task in other):
        gain = difference(one[task], other[task])
        if gain is not None and gain.seeds >= LEAST_SEEDS:
            parts.append(f"{Contrast(('', ''), (task,), gain).words} on {task_title(task)}")
    return ", ".join(parts)
