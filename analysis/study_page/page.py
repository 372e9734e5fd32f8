"""Build docs/study.md from the collected results of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from kdbench.analysis.figure_ranks import SAMPLE, FigureRanks, critical_difference, few_tasks_words, friedman_test
from kdbench.analysis.published import PAPER_METHOD
from kdbench.analysis.study_page import facts, paper, questions, scores, tuning
from kdbench.analysis.study_page.agreement import agreement_section
from kdbench.analysis.study_page.contrasts import StudyContrasts, p_words
from kdbench.analysis.study_page.convergence import convergence_table
from kdbench.analysis.study_page.cost import CostBesideScore
from kdbench.analysis.study_page.differences import reference_table, separability_section
from kdbench.analysis.study_page.layers import depth, layers_section
from kdbench.analysis.study_page.limits import limits
from kdbench.analysis.study_page.text_table import MIXED, text_table
from kdbench.analysis.study_page.trained_teachers import teachers_section
from kdbench.analysis.teacher_lead import BASELINE
from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.shared_texts import shared_text_notes
from kdbench.data.task_registry import TASKS
from kdbench.reporting import provenance
from kdbench.reporting.figures import Lacking
from kdbench.reporting.formats.presentation import Presentation
from kdbench.reporting.formats.text import markdown
from kdbench.results.study import StudyResults, task_title

HEAD = """# A study of distillation methods on small tasks

`make docs` computes the numbers of this page, and the sentences about them, from the kept results in {folders};
those of the paper are its printed ones. {repeat}

A difference is in points: the first row minus the second, each the mean of the task's metrics in per cent. Two rows
are *separable* where the test of [kdbench compare](statistics.md) finds a difference at 5 %. p is Holm-corrected within
each answer or table; for single tasks, within each task. Nothing is corrected over the whole page, so a pair may be
separable among ten comparisons and not among hundreds. Intervals are not corrected. Statistics need two seeds or more;
where there are fewer, the page says so."""
REPEAT = (
    "`make study PART=trec DATA_DIR=DIR` trains one part, `make study DATA_DIR=DIR` all of them, which takes days, "
    "with the seeds that `studies/minilm.toml` declares; DIR holds the "
    "[published files](tasks-and-data.md#ready-made-declarations). GLUE comes from the hub, or from GLUE_DIR=DIR."
)
READINGS = ("lgtm", "lgtm_no_influence", "lgtm_released", "lgtm_printed", "prokt_lgtm", "prokt")
STUDENT_LABELS = "student_ce"  # the option with the weight of the labels


def study_page(
    folder: str, every: Sequence[StudyResults], tuned: StudyResults | None = None, beside: Sequence[str] = ()
) -> str:  # fmt: skip
    """Build the whole page as Markdown.

    Args:
        folder: the collected study as the page names it.
        every: the studies in it; the one with most finished runs is the main one.
        tuned: the study in which settings were tried before.
        beside: further folders with results, as the page names them.

    Raises:
        UserError: no run is done.
    """
    study = main_study(every)
    contrasts = StudyContrasts(study)
    if not contrasts.rows:
        raise UserError(f"No run in {folder} is done, so that there is nothing to write a page about.")
    parts: list[str] = [HEAD.format(folders=", ".join(f"`{name}`" for name in (folder, *beside)), repeat=REPEAT)]
    for heading, texts in sections(contrasts, every, tuned):
        parts += [f"## {heading}", *(text.strip() for text in texts if text.strip())]
    return "\n\n".join(parts) + "\n"


def main_study(every: Sequence[StudyResults]) -> StudyResults:
    """Return the study with the most finished cells."""
    return max(every, key=lambda study: sum(cell.is_scored for cell in study.cells))


def sections(
    contrasts: StudyContrasts, every: Sequence[StudyResults], tuned: StudyResults | None
) -> Iterator[tuple[str, list[str]]]:  # fmt: skip
    """Yield heading and paragraphs of each section."""
    study, cost = contrasts.study, CostBesideScore(contrasts, questions.KD)
    asked = questions.answers(contrasts)
    yield "Questions", [text for question, answer in asked.items() for text in (f"### {question}", answer)]
    yield "What was trained", [
        facts.setup_words(contrasts), facts.trained_table(contrasts), tuning.tuning_words(contrasts, tuned),
        tuning.tuning_table(tuned), facts.time_words(contrasts), facts.hours_table(study, every, tuned),
        convergence_table(contrasts, BASELINE),
    ]  # fmt: skip
    yield "Scores", [score_table(study)]
    yield "Differences", [
        reference_table(contrasts, (BASELINE, questions.KD)), *separability_section(contrasts, questions.KD),
    ]  # fmt: skip
    yield "LGTM in its readings", [readings_table(contrasts)]
    yield "Teachers that learn along", teachers_section(contrasts)
    lead = scores.lead_words(contrasts, BASELINE, questions.KD)
    yield "How much of the teacher's lead is closed", [lead, scores.share_table(contrasts, BASELINE)]
    yield "Agreement with the teacher", agreement_section(contrasts, questions.KD, BASELINE)
    yield "Ranks", ranks(contrasts)
    yield "Cost beside score", [cost.words(), cost.table()]
    same_rates = tuning.same_rates_words(tuned)
    yield "The student's layers", [*layers_section(study, every), same_rates]
    yield "A student of another depth", [*other_depths(study, every), same_rates]
    yield "Collapsed networks", [facts.collapse_words(contrasts)]
    beside = [paper.claim_words(contrasts), paper.claim_table(contrasts), paper.order_words(contrasts)]
    yield "Beside the paper's Table 1", beside
    yield "What this study cannot say", [limits(contrasts, tuned)]


def score_table(study: StudyResults) -> str:
    """Return the table of all methods with the notes that are needed to read it."""
    sheet = provenance.build_traced_table(study)
    assert sheet is not None
    sheet.notes = Presentation(notes="short").divide(sheet.notes)[0]
    return markdown(sheet)


def other_depths(study: StudyResults, every: Sequence[StudyResults]) -> list[str]:
    """Return the score table of each study whose student has another number of layers; a sentence where none has."""
    own = depth(study.cells[0])
    others = [other for other in every if depth(other.cells[0]) != own and any(cell.is_scored for cell in other.cells)]
    if not others:
        return ["No student of another depth was trained. To train one of two layers: `make study PART=gap`."]
    return [
        text for other in others
        for text in (score_table(other), *separability_section(StudyContrasts(other), questions.KD))
    ]  # fmt: skip


def readings_table(contrasts: StudyContrasts) -> str:
    """Return LGTM minus each of its readings as a Markdown table, or which runs are missing."""
    others = [row for row in READINGS if row != PAPER_METHOD]
    found, missing = contrasts.against(PAPER_METHOD, others), contrasts.missing(READINGS)
    if not found.known:
        return f"The readings of LGTM are not compared yet. {missing}"
    rows = [
        (one.titles[0], *found.columns(row), ", ".join(map(task_title, one.tasks))) for row, one in found.known.items()
    ]
    heads = ["Minus LGTM", "95 % interval", "p, Holm", "Tasks"]
    mixed = [MIXED] if len({one.tasks for one in found.known.values()}) > 1 else []
    return f"{text_table(heads, rows, [*_unlabelled_note(contrasts), *mixed]).rstrip()}\n\n{missing}"


def _unlabelled_note(contrasts: StudyContrasts) -> list[str]:
    """Name the readings whose student learns from its teacher alone."""
    cells = {row: [cell for task in contrasts.tasks for cell in contrasts.cells(row, task)] for row in READINGS}
    alone = [
        contrasts.title(row) for row, some in cells.items()
        if some and all(cell.run.spec.options.get(STUDENT_LABELS) == 0 for cell in some)
    ]  # fmt: skip
    others = "of the other readings from the labels too"
    return [f"The students of {' and '.join(alone)} learn from the teacher alone, those {others}."] if alone else []


def ranks(contrasts: StudyContrasts) -> list[str]:
    """Return mean ranks over tasks as a Markdown table, and which pairs differ by Nemenyi's test."""
    try:
        (panel,) = FigureRanks().build_panels(contrasts.study, contrasts.tasks).panels
    except Lacking as lacking:
        return [f"Ranks need {lacking}."]
    found = panel.estimates
    tasks = [str(task) for task in found[0].seeds]
    # the bar of a row is half a critical difference to each side
    reach = critical_difference(len(found), len(tasks))
    pairs = list(combinations([row.mean for row in found], 2))
    apart = sum(abs(one - other) > reach for one, other in pairs)
    sample = f"({count(len(found), 'row')}, {count(len(tasks), 'task')}; Demšar 2006)"
    told = [
        few_tasks_words(len(found), len(tasks))
        or f"By Nemenyi's test pairs differ whose mean ranks are more than the critical difference {reach:.2f} apart "
        f"{sample}: {apart} of {len(pairs):,}."
    ]
    if len(tasks) > 1:
        p, way = friedman_test(np.array([list(row.seeds.values()) for row in found]).T)
        told.append(f"Friedman's test that no row differs has {p_words(p)} ({way}).")
    shared = shared_text_notes(map(TASKS.get, tasks))
    rows = [(row.label, f"{row.mean:.2f}", *(f"{rank:g}" for rank in row.seeds.values())) for row in found]
    return [" ".join(told), text_table(["Mean rank", *map(task_title, tasks)], rows, [f"1 is best. {SAMPLE}", *shared])]
