"""Answer the questions of the study, each in one generated sentence and a list of details, whatever the answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from kdbench.analysis.published import PAPER_METHOD
from kdbench.analysis.study_page.contrasts import Contrast, JudgedContrasts, StudyContrasts, judge_contrasts
from kdbench.analysis.study_page.convergence import epoch_scores
from kdbench.analysis.study_page.scores import row_mean, run_mean
from kdbench.analysis.study_page.text_table import with_details
from kdbench.analysis.study_page.trained_teachers import influence_ratio
from kdbench.analysis.teacher_lead import BASELINE
from kdbench.core.formatting import count, signed, value
from kdbench.data.splits import held_out_share
from kdbench.reporting.provenance import run_cell
from kdbench.results.significance import average_difference
from kdbench.results.study import TEACHER, task_title

KD = "kd"
NO_INFLUENCE, PROKT_WITH_LABELS = "lgtm_no_influence", "prokt_lgtm"
WEAKER_TEACHERS = ("takd", "rco")
ASSISTANT = "assistant"  # the role of TAKD's assistant
COLUMNS = "Signs in the table below compare each row with the best of its column, which are other comparisons."
UNSETTLED = "without the tasks that are still learned at the end of training"
PATHS = (
    "TAKD's teacher is an assistant, smaller than KD's teacher and distilled from it.",
    "RCO's teachers are earlier states of KD's teacher, at the end that teacher itself.",
)


def answers(contrasts: StudyContrasts) -> dict[str, str]:
    """Return question -> answer."""
    asked: Mapping[str, Callable[[StudyContrasts], str]] = {
        "Does any method beat fine-tuning without a teacher?": beats_baseline,
        "Does any method beat plain KD on average over tasks?": beats_kd,
        "Does LGTM's influence help beyond ProKT with labels?": influence_helps,
        "Does feedback cost more than it gives?": feedback_pays,
        "Is a stronger teacher better here?": stronger_teacher,
    }
    return {question: answer(contrasts) for question, answer in asked.items()}


def over_tasks(tasks: Sequence[str]) -> str:
    """Return `over TREC and Banking77`, or `on TREC`."""
    titles = [task_title(task) for task in tasks]
    return f"on {titles[0]}" if len(titles) == 1 else f"over {', '.join(titles[:-1])} and {titles[-1]}"


def beats_baseline(contrasts: StudyContrasts) -> str:
    """Compare every method with fine-tuning, and say how much better the teacher is, which is the room for a gain."""
    leads = [(task, contrasts.contrast(TEACHER, BASELINE, [task])) for task in contrasts.tasks]
    room = [f"{lead.words} {over_tasks([task])}" for task, lead in leads if lead.difference is not None]
    told = f"The teacher is better than the fine-tuned student by {', '.join(room)}." if room else ""
    plain = contrasts.contrast(KD, BASELINE)
    kd = f"Plain KD alone: {plain.words}." if plain.difference is not None else ""
    return _beats(contrasts, BASELINE, "fine-tuning", kd, told)


def beats_kd(contrasts: StudyContrasts) -> str:
    """Compare every method with plain KD, and say what plain KD is."""
    cells = [cell for task in contrasts.tasks for cell in contrasts.cells(KD, task)]
    o = cells[0].run.spec.options if cells else {}
    plain = ""
    if {"ce_weight", "kd_weight", "temperature"} <= o.keys():
        weights = f"{value(o['ce_weight'])} CE(y, S) + {value(o['kd_weight'])} KL(T || S)"
        plain = f"Plain KD is {weights} at temperature {value(o['temperature'])}."
    return _beats(contrasts, KD, "plain KD", plain)


def _beats(contrasts: StudyContrasts, reference: str, name: str, *more: str) -> str:
    """Compare every method with a reference row, on average and on each task alone.

    Args:
        name: of the reference in the sentences.
        more: further details.
    """
    rows = [row for row in contrasts.asked if row not in (reference, BASELINE)]
    found, missing = contrasts.against(reference, rows), contrasts.missing([reference, *rows])
    if not found.known:
        return contrasts.unknown([reference, *rows])
    higher, lower = found.separable(1), found.separable(-1)
    told = f"No method is separable above {name} on average over tasks."
    # a lead on tasks that are not learned to the end may be one of speed
    settled = contrasts.against(reference, rows, contrasts.settled_tasks)
    fast = [contrasts.title(row) for row in higher if row not in settled.separable(1)]
    lost = f", but not {' and '.join(fast)} {UNSETTLED}" if fast else ""
    best = f"The highest difference is that of {found.words(max(found.known, key=found.value))}."
    return with_details(
        f"Yes: {_listed(found, higher)}{lost}." if higher else told,
        best if not higher else "",
        f"Separable below {name}: {_listed(found, lower)}." if lower else "",
        _on_settled_tasks(settled, name) if contrasts.settled_tasks != contrasts.tasks else "",
        *_on_single_tasks(contrasts, rows, reference, name),
        *more,
        _extent(found, name),
        missing if reference == KD else "",  # once is enough
    )


def _pairs_on_settled_tasks(contrasts: StudyContrasts, pairs: Sequence[tuple[str, str]]) -> str:
    """Compare pairs of rows without the tasks that are still learned at the end; "" where there are none.

    Nothing is corrected for the number of pairs.
    """
    settled = contrasts.settled_tasks
    found = [contrasts.contrast(*pair, settled) for pair in pairs]
    known = [one for one in found if one.difference is not None]
    if settled == contrasts.tasks or not known:
        return ""
    told = "; ".join(f"{' minus '.join(one.titles)} {one.words}" for one in known)
    return f"{UNSETTLED.capitalize()} ({over_tasks(known[0].tasks)}): {told}."


def _on_settled_tasks(settled: JudgedContrasts, name: str) -> str:
    """Say which rows are separable from a reference without the tasks that are still learned at the end."""
    if not settled.known:
        return "Every task is still learned at the end of training."
    higher, lower = settled.separable(1), settled.separable(-1)
    best = f"none, the highest is {settled.words(max(settled.known, key=settled.value))}"
    below = f"; separable below: {_listed(settled, lower)}" if lower else ""
    tasks = over_tasks(max((one.tasks for one in settled.known.values()), key=len))
    return f"{UNSETTLED.capitalize()} ({tasks}), separable above {name}: {_listed(settled, higher) or best}{below}."


def _on_single_tasks(contrasts: StudyContrasts, rows: Sequence[str], reference: str, name: str) -> list[str]:
    """Name the rows that are separable above a reference on a task alone, else the highest; nothing for one task."""
    if len(contrasts.tasks) < 2:
        return []
    apart, highest = [], dict[str, float]()
    for task in contrasts.tasks:
        found = judge_contrasts({row: contrasts.contrast(row, reference, [task]) for row in rows})
        apart += [
            f"{found.words(row)} on {task_title(task)}{_by_epoch(contrasts, row, reference, task)}"
            for row in found.separable(1)
        ]
        above = [row for row in found.known if found.value(row) > 0]
        highest |= {f"{found.words(row)} on {task_title(task)}": found.p[row] for row in above}
    if apart or not highest:
        return [f"On a task alone, separable above {name}: {'; '.join(apart) or 'none'}."]
    return [
        f"On a task alone, none is separable above {name} with p corrected over the methods there; nearest comes "
        f"{min(highest, key=highest.__getitem__)}.",
        COLUMNS,
    ]


def _by_epoch(contrasts: StudyContrasts, row: str, reference: str, task: str) -> str:
    """Say how a row's lead over a reference develops on the selection split; "" where it is not recorded."""
    own, other = (epoch_scores(contrasts, name, task) for name in (row, reference))
    leads = [own[epoch] - other[epoch] for epoch in sorted(own.keys() & other.keys()) if epoch]
    if len(leads) < 2:
        return ""
    shrinks = all(before > after for before, after in pairwise(leads))
    told = "; the lead shrinks with every epoch, and might with further ones" if shrinks else ""
    return f" (epoch by epoch on the selection split {', '.join(map(signed, leads))}{told})"


def _listed(found: JudgedContrasts, rows: Sequence[str]) -> str:
    return ", ".join(map(found.words, rows))


def _extent(found: JudgedContrasts, name: str = "KD") -> str:
    """Say how many methods were compared, and over which tasks."""
    tasks = {one.tasks for one in found.known.values()}
    where = (
        over_tasks(max(tasks, key=len)) if len(tasks) == 1 else f"each with {name} on the tasks that both have finished"
    )
    return f"{count(len(found.known), 'method')} compared {where}; p is Holm-corrected."


def influence_helps(contrasts: StudyContrasts) -> str:
    """Compare LGTM with the same method without influence, on the same rows."""
    one, missing = contrasts.contrast(PAPER_METHOD, NO_INFLUENCE), contrasts.missing([PAPER_METHOD, NO_INFLUENCE])
    if one.difference is None:
        return contrasts.unknown([PAPER_METHOD, NO_INFLUENCE])
    same = "Without influence LGTM is ProKT with labels on the same rows, with dropout in the teacher's target."
    told = {1: "Yes: LGTM is better with its influence", -1: "No: LGTM is worse with its influence"}
    words = told.get(_verdict(one), "Not shown: LGTM with and without influence are not separable")
    ratios = {task: ratio for task in one.tasks if (ratio := influence_ratio(contrasts, PAPER_METHOD, task)) != "–"}
    listed = ", ".join(f"{ratio} on {task_title(task)}" for task, ratio in ratios.items())
    size = f"The length of its gradient over that of the auxiliary loss: {listed} (median)." if ratios else ""
    settled = _pairs_on_settled_tasks(contrasts, [(PAPER_METHOD, NO_INFLUENCE)])
    return with_details(f"{words}, {one.words} {over_tasks(one.tasks)}.", settled, size, same, missing)


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
    parts = []
    if gain.difference is not None and cost.difference is not None:
        parts = [
            f"Training on {held} too, with more steps and without dropout in the teacher's target, changes the score "
            f"by {cost.words}.",
            f"The influence changes the score by {gain.words}.",
        ]
    where, settled = over_tasks(net.tasks), _pairs_on_settled_tasks(contrasts, [rows[:2]])
    return with_details(
        f"{words}: LGTM minus ProKT with labels on all rows is {net.words} {where}.", settled, *parts, missing
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
    settled = _pairs_on_settled_tasks(contrasts, [(row, KD) for row in found.known])
    return with_details(told, settled, *PATHS, _assistant(contrasts), _extent(found), missing)


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
        return f"{told}."
    whole = Contrast(("", ""), tuple(contrasts.tasks), average_difference(differences))
    weaker = " It is not shown to be weaker, so that TAKD says little about the question."
    return f"{told}: {whole.words} on average.{weaker if _verdict(whole) >= 0 else ''}"


def _verdict(one: Contrast) -> int:
    """Return 1 or -1 where a single contrast is separable from 0, else 0."""
    return judge_contrasts({"": one}).verdict("")
