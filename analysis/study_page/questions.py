"""Answer the four questions of the study, each in a generated sentence, whatever the answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kdbench.analysis.published import PAPER_METHOD
from kdbench.analysis.study_page.contrasts import Contrast, Judged, StudyContrasts, judge
from kdbench.analysis.study_page.scores import row_mean, run_mean
from kdbench.core.formatting import count, value
from kdbench.data.splits import held_out_share
from kdbench.reporting.provenance import run_cell
from kdbench.results.significance import average_difference
from kdbench.results.study import TEACHER, task_title

KD, BASELINE = "kd", "finetune"
NO_INFLUENCE, PROKT_WITH_LABELS = "lgtm_no_influence", "prokt_lgtm"
WEAKER_TEACHERS = ("takd", "rco")
ASSISTANT = "assistant"  # the role of TAKD's assistant
COLUMNS = "Signs in the table below compare each row with the best of its column, which are other comparisons."
PATHS = (
    "TAKD's teacher is an assistant, smaller than KD's teacher and distilled from it; RCO's are earlier states of KD's "
    "teacher, at the end that teacher itself."
)


def answers(contrasts: StudyContrasts) -> dict[str, str]:
    """Return question -> answer."""
    asked: Mapping[str, Callable[[StudyContrasts], str]] = {
        "Does any method beat plain KD on average over tasks?": beats_kd,
        "Does LGTM's influence help beyond ProKT with labels?": influence_helps,
        "Does feedback cost more than it gives?": feedback_pays,
        "Is a stronger teacher better here?": stronger_teacher,
    }
    return {question: answer(contrasts) for question, answer in asked.items()}


def over(tasks: Sequence[str]) -> str:
    """Return `over TREC and Banking77`, or `on TREC`."""
    titles = [task_title(task) for task in tasks]
    return f"on {titles[0]}" if len(titles) == 1 else f"over {', '.join(titles[:-1])} and {titles[-1]}"


def beats_kd(contrasts: StudyContrasts) -> str:
    """Compare every method with plain KD."""
    rows = [row for row in contrasts.asked if row not in (KD, BASELINE)]
    found, missing = contrasts.against(KD, rows), contrasts.missing([KD, *rows])
    if not found.known:
        return contrasts.unknown([KD, *rows])
    higher, lower = found.separable(1), found.separable(-1)
    if higher:
        told = f"Yes: {_listed(found, higher)}."
    else:
        best = max(found.known, key=found.value)
        told = (
            f"No method is separable above plain KD on average over tasks. The highest difference is that of "
            f"{found.words(best)}."
        )
    below = f" Separable below plain KD: {_listed(found, lower)}." if lower else ""
    return f"{told}{below} {_extent(found)} {_on_single_tasks(contrasts, rows)}{missing}".rstrip()


def _on_single_tasks(contrasts: StudyContrasts, rows: Sequence[str]) -> str:
    """Name the rows that are separable above plain KD on a task alone, else the highest; "" for one task."""
    if len(contrasts.tasks) < 2:
        return ""
    apart, highest = [], dict[str, float]()
    for task in contrasts.tasks:
        found = judge({row: contrasts.contrast(row, KD, [task]) for row in rows})
        apart += [f"{found.words(row)} on {task_title(task)}" for row in found.separable(1)]
        above = [row for row in found.known if found.value(row) > 0]
        highest |= {f"{found.words(row)} on {task_title(task)}": found.p[row] for row in above}
    if apart or not highest:
        return f"On a task alone, separable above plain KD: {'; '.join(apart) or 'none'}. "
    return (
        "On a task alone, none is separable above plain KD with p corrected over the methods there; nearest comes "
        f"{min(highest, key=highest.__getitem__)}. {COLUMNS} "
    )


def _listed(found: Judged, rows: Sequence[str]) -> str:
    return ", ".join(map(found.words, rows))


def _extent(found: Judged) -> str:
    """Say how many methods were compared, and over which tasks."""
    tasks = {one.tasks for one in found.known.values()}
    where = over(max(tasks, key=len)) if len(tasks) == 1 else "each with KD on the tasks that both have finished"
    return f"{count(len(found.known), 'method')} compared {where}; p is Holm-corrected."


def influence_helps(contrasts: StudyContrasts) -> str:
    """Compare LGTM with the same method without influence, on the same rows."""
    one, missing = contrasts.contrast(PAPER_METHOD, NO_INFLUENCE), contrasts.missing([PAPER_METHOD, NO_INFLUENCE])
    if one.difference is None:
        return contrasts.unknown([PAPER_METHOD, NO_INFLUENCE])
    same = "Without influence LGTM is ProKT with labels on the same rows, with dropout in the teacher's target."
    told = {1: "Yes: LGTM is better with its influence", -1: "No: LGTM is worse with its influence"}
    words = told.get(_verdict(one), "Not shown: LGTM with and without influence are not separable")
    return f"{words}, {one.words} {over(one.tasks)}. {same} {missing}".rstrip()


def feedback_pays(contrasts: StudyContrasts) -> str:
    """Compare LGTM with ProKT with labels, and split the difference into the cost of the rows and the gain."""
    rows = (PAPER_METHOD, PROKT_WITH_LABELS, NO_INFLUENCE)
    net = contrasts.contrast(PAPER_METHOD, PROKT_WITH_LABELS)
    gain, cost = contrasts.contrast(PAPER_METHOD, NO_INFLUENCE), contrasts.contrast(PROKT_WITH_LABELS, NO_INFLUENCE)
    missing = contrasts.missing(rows)
    if net.difference is None:
        return contrasts.unknown(rows)
    told = {1: "No, it gives more than it costs", -1: "Yes, it costs more than it gives"}
    words = told.get(_verdict(net), "Not shown: cost and gain are not separable")
    share = held_out_share(contrasts.study.study["feedback"], "feedback")
    held = f"the {value(100 * share)} % of train held out for feedback" if share else "the rows of feedback"
    parts = ""
    if gain.difference is not None and cost.difference is not None:
        parts = f" Training on {held} too changes the score by {cost.words}, the influence by {gain.words}."
    return (
        f"{words}: LGTM minus ProKT with labels on all rows is {net.words} {over(net.tasks)}.{parts} {missing}".rstrip()
    )


def stronger_teacher(contrasts: StudyContrasts) -> str:
    """Compare KD, which learns from the teacher all the time, with methods that learn from weaker ones before."""
    found, missing = contrasts.against(KD, WEAKER_TEACHERS), contrasts.missing([KD, *WEAKER_TEACHERS])
    if not found.known:
        return contrasts.unknown([KD, *WEAKER_TEACHERS])
    weaker, stronger = found.separable(1), found.separable(-1)
    if weaker:
        told = f"No: a student is better without KD's teacher all the time, {_listed(found, weaker)} against KD."
    elif len(stronger) == len(found.known):
        told = f"Yes: students are worse without KD's teacher all the time, {_listed(found, stronger)} against KD."
    else:
        told = f"Not shown: {_listed(found, list(found.known))} against KD, which has the teacher all the time."
    return f"{told} {PATHS} {_assistant(contrasts)}{_extent(found)} {missing}".rstrip()


def _assistant(contrasts: StudyContrasts) -> str:
    """Say how teacher and assistant score, and how far they are apart; "" where either is not known."""
    parts, differences = [], []
    for task in contrasts.tasks:
        cells = contrasts.cells(WEAKER_TEACHERS[0], task)
        runs = [contrasts.study.runs.get(cell.run.spec.needs.get(ASSISTANT, "")) for cell in cells]
        own = [run for run in runs if run is not None and run.result is not None]
        teacher = row_mean(contrasts, TEACHER, task)
        if own and teacher is not None:
            mean = sum(map(run_mean, own)) / len(own)
            parts.append(f"{mean:.1f} against {teacher:.1f} on {task_title(task)}")
            apart = contrasts.minus_teacher(list(map(run_cell, own)), task)
            differences += [apart] if apart else []
    if not parts:
        return ""
    told = f"TAKD's assistant scores {', '.join(parts)} for the teacher"
    if len(differences) < len(parts):
        return f"{told}. "
    whole = Contrast(("", ""), tuple(contrasts.tasks), average_difference(differences))
    return f"{told}: {whole.words} on average. "


def _verdict(one: Contrast) -> int:
    """Return 1 or -1 where a single contrast is separable from 0, else 0."""
    return judge({"": one}).verdict("")
