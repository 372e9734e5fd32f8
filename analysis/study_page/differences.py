"""Tables of differences: each method minus a reference, separable pairs, and the smallest difference that is seen."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.text_table import MIXED, bullets, text_table
from kdbench.core.formatting import count
from kdbench.data.shared_texts import shared_text_notes
from kdbench.data.task_registry import TASKS
from kdbench.results.significance import ALPHA, Difference
from kdbench.results.study import task_title

MOST_NAMED = 12  # separable pairs of a task
REFERENCES_NOTE = (
    "Points on average over the tasks on which both rows have two seeds. p is corrected over the rows of its column. "
    "Intervals are not corrected: of many rows, some exclude 0 by chance."
)
SEPARABLE_NOTE = (
    "Separable: after Holm's correction over the pairs of the line; uncorrected: before. Average: over all tasks, of "
    "pairs that have them all."
)


def reference_table(contrasts: StudyContrasts, references: Sequence[str]) -> str:
    """Return each method minus each of the references as a Markdown table; "" where nothing is known.

    Two references are compared with each other once, in the columns of the first. The rows are in the order of the
    differences to the first reference, the highest first.
    """
    found = {
        one: contrasts.against(one, [row for row in contrasts.rows if row not in references[: place + 1]])
        for place, one in enumerate(references)
    }
    found = {one: judged for one, judged in found.items() if judged.known}
    if not found:
        return ""
    known = {row: None for judged in found.values() for row in sorted(judged.known, key=judged.value, reverse=True)}
    heads = [head for one in found for head in (f"Minus {contrasts.title(one)}", "95 % interval", "p, Holm")]
    rows = [
        (contrasts.title(row), *(
            text for judged in found.values()
            for text in (judged.columns(row) if row in judged.known else ("–", "–", "–"))
        ))
        for row in known
    ]  # fmt: skip
    tasks = {row: contrast.tasks for judged in found.values() for row, contrast in judged.known.items()}
    fewer = [
        f"{contrasts.title(row)} over {', '.join(map(task_title, own))} alone"
        for row, own in tasks.items() if len(own) < max(map(len, tasks.values()))
    ]  # fmt: skip
    mixed = [f"{'; '.join(fewer)}. {MIXED}"] if fewer else []
    return text_table(heads, rows, [REFERENCES_NOTE, *mixed, *shared_text_notes(map(TASKS.get, contrasts.tasks))])


def separability_section(contrasts: StudyContrasts, reference: str) -> list[str]:
    """Return how many pairs of methods are separable and how small a difference shows, task by task and on average.

    Args:
        reference: the row beside which the size of a difference is said.
    """
    if len(contrasts.rows) < 2:
        return []
    rows, named = [], []
    places: list[str | None] = [*contrasts.tasks, None] if len(contrasts.tasks) > 1 else [*contrasts.tasks]
    for task in places:
        apart, before, known = contrasts.pairs_apart(task)
        if not known:
            continue
        place = task_title(task) if task else "Average"
        rows.append((place, str(known), str(len(apart)), str(before), *_resolution(contrasts, reference, task)))
        named += [f"{place}: {_above(contrasts, apart)}."] if 0 < len(apart) <= MOST_NAMED else []
    whole = len(contrasts.rows) * (len(contrasts.rows) - 1) // 2
    every = f"{count(len(contrasts.rows), 'method')} make {count(whole, 'pair')}"
    if not rows:
        return [f"{every}, and none has two common seeds, so none is compared."]
    title, others = contrasts.title(reference), sum(row != reference for row in contrasts.rows)
    seen = (
        f"Smallest seen: half of the 95 % interval of a row minus {title}, in points, median over the rows. As the "
        f"largest of {count(others, 'row')}: what a difference has to reach there, with p corrected."
    )
    heads = ["Pairs", "Separable", "Uncorrected", "Smallest seen", f"As the largest of {others}"]
    lists = [f"Where {MOST_NAMED} pairs or fewer are separable, they are:", bullets(named)] if named else []
    return [f"{every}.", text_table(heads, rows, [SEPARABLE_NOTE, seen]), *lists]


def _above(contrasts: StudyContrasts, pairs: Sequence[tuple[str, str]]) -> str:
    """Put separable pairs into words by their lower row: `DIST and RCO above ProKT`."""
    higher: dict[str, list[str]] = {}
    for above, below in pairs:
        higher.setdefault(contrasts.title(below), []).append(contrasts.title(above))
    return "; ".join(f"{', '.join(titles)} above {below}" for below, titles in higher.items())


def _resolution(contrasts: StudyContrasts, reference: str, task: str | None) -> tuple[str, str]:
    """Return how large a difference to the reference must be to show, alone and as the largest of all rows.

    Of many rows the largest difference shows where its p-value is below the level of Holm's first step.

    Args:
        task: None is the average over all tasks; rows that lack one do not count.
    """
    others = [row for row in contrasts.rows if row != reference]
    found = [contrasts.contrast(row, reference, [task] if task else None) for row in others]
    whole = [one for one in found if len(one.tasks) == (1 if task else len(contrasts.tasks))]
    known = [one.difference for one in whole if one.difference is not None and one.difference.variance]
    if not known:
        return "–", "–"
    alone, largest = (f"{_half_width(known, level):.1f}" for level in (ALPHA, ALPHA / len(others)))
    return alone, largest


def _half_width(known: Sequence[Difference], alpha: float) -> float:
    """Return the median of half the width of intervals."""
    ends = (one.interval(1 - alpha) for one in known)
    return statistics.median((high - low) / 2 for low, high in ends)
