"""Print the status of all runs of a results folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.core.errors import UserError
from kdbench.core.formatting import ago, count, duration
from kdbench.data.task import selection_title
from kdbench.planning.executor import Job
from kdbench.reporting import printing
from kdbench.reporting.run_status import LISTED, STATES, RunStatuses
from kdbench.reporting.study_choice import StudyChoice, choose_runs
from kdbench.results import class_use
from kdbench.results.data_origin import describe_data, describe_train_rows
from kdbench.results.store import RunState, Store
from kdbench.results.study import Run, StudyResults, task_title

MAX_LISTED = 12  # runs of one kind that are listed one by one
MAX_MESSAGE = 200  # characters; kdbench show has it all
Jobs = Mapping[str, Job]  # by run


def show_status(store: Store, choice: StudyChoice, console: Console) -> bool:
    """Print the chosen studies, the last asked for last, and return whether a run is queued or being trained.

    Raises:
        UserError: no run was asked for yet, or see `choose_runs`.
    """
    chosen = choose_runs([store], choice)
    found = chosen.studies
    if not found:
        raise nothing_was_run(store)
    # ask the queues once
    statuses = RunStatuses(store)
    for place, problem in statuses.problems.items():
        printing.print_line(console, f"The queue of {place} could not be asked: {problem}", "yellow")
    # print every study
    for note in chosen.notes:
        printing.print_note(console, note)
    for i, study in enumerate(found):
        if i:
            console.print()
        _study(study, statuses, console)
    # a queue that did not answer may hold jobs
    runs = {run_id: run for study in found for run_id, run in study.runs.items()}
    unsettled = any(statuses.status_of(None, run) in ("running", "queued") for run in runs.values())
    return unsettled or bool(statuses.problems)


def nothing_was_run(store: Store) -> UserError:
    """Return the error for a results folder in which no run was asked for yet."""
    return UserError(
        f"Nothing was run in {store.root} yet; give another folder with --results DIR, "
        f"or start with: kdbench run --methods all --tasks glue"
    )


def _study(study: StudyResults, statuses: RunStatuses, console: Console) -> None:
    """Print one study: a matrix of counts, the totals, and the runs that need attention."""
    # heading and matrix
    jobs = statuses.jobs
    words = {run_id: statuses.status_of(study, run) for run_id, run in study.runs.items()}
    setup = study.study
    printing.print_line(console, f"Preset {study.preset}: {study.pairing}", "bold")
    # with the settings that drew rows of train, where they differ from the default
    drawn = f", rows of train: {rows}" if (rows := describe_train_rows(study)) else ""
    drawn += f", split_seed={setup['split_seed']}" if setup["split_seed"] else ""
    splits = f"feedback {setup['feedback']}, selection {setup['selection']}{drawn}"
    printing.print_note(console, f"data {describe_data(study)}, {splits}")
    printing.print_table(console, _matrix(study, words))
    # totals
    counts = Counter(words.values())
    parts = [f"{counts[w]} {w}" for w in STATES[1:] if counts[w]]
    printing.print_line(
        console, f"{counts['done']} of {count(len(words), 'run')} done" + "".join(f", {p}" for p in parts)
    )
    # runs that need attention
    for kind in LISTED:
        _list(console, kind, [study.runs[run_id] for run_id, w in words.items() if w == kind], jobs)
    _queued(console, {run_id: jobs[run_id] for run_id, w in words.items() if w == "queued"})
    _blocked(study, console)
    _collapsed(study, console)


def _matrix(study: StudyResults, words: dict[str, str]) -> Table:
    """Build the table of counts, rows by tasks; runs that only others need come first."""
    table, tasks = printing.make_table(), study.tasks + study.gone
    table.add_column("")
    for task in tasks:
        table.add_column(task_title(task), no_wrap=True)
    # runs that nobody asked for, then the rows
    for title, runs in _needed(study).items():
        table.add_row(Text(title, style="dim"), *(_cell(runs.get(task, []), words) for task in tasks))
    for row in study.rows:
        by_task = ({c.run.id for c in study.of(row, task)} for task in tasks)
        table.add_row(Text(study.title(row)), *(_cell(sorted(ids), words) for ids in by_task))
    return table


def _needed(study: StudyResults) -> dict[str, dict[str, list[str]]]:
    """Return the runs that nobody asked for but others need: title -> task -> run ids."""
    asked = {c.run.id for c in study.cells}
    found: dict[str, dict[str, list[str]]] = {}
    roles = {parent: role for run in study.runs.values() for role, parent in run.spec.needs.items()}
    for run_id in sorted(set(study.runs) - asked):
        role = roles[run_id].replace("_", " ").capitalize()
        found.setdefault(f"({role})", {}).setdefault(study.runs[run_id].spec.task, []).append(run_id)
    return found


def _cell(runs: Iterable[str], words: dict[str, str]) -> Text:
    """Format `2/3 done`, with a line below for every other status."""
    counts = Counter(words[run] for run in runs)
    total = sum(counts.values())
    if not total:
        return Text("–", style="dim")
    if list(counts) == ["waiting"]:
        return Text(f"0/{total} waiting", style="dim")
    parts = [Text(f"{counts['done']}/{total} done", style="green" if counts["done"] == total else "")]
    parts += [Text(f"{counts[w]} {w}", style=printing.STATUS_STYLES.get(w, "dim")) for w in STATES[1:] if counts[w]]
    return Text("\n").join(parts)


def _queued(console: Console, jobs: Jobs) -> None:
    """Print the queued runs, counted by the reason for which they wait."""
    reasons = Counter((job.hopeless, job.detail or "their turn") for job in jobs.values() if job.standing == "queued")
    starting = sum(job.standing == "running" for job in jobs.values())
    if jobs:
        printing.print_heading(console, "Queued", printing.STATUS_STYLES["queued"])
    if starting:
        printing.print_line(console, f"  {starting} in jobs that have started")
    for (hopeless, reason), number in reasons.most_common():
        way_out = "; it will not come by itself: kdbench cancel, then ask for something else" if hopeless else ""
        printing.print_line(console, f"  {number} wait for {reason}{way_out}")


def _list(console: Console, kind: str, runs: list[Run], jobs: Jobs) -> None:
    """Print the runs of one status, at most `MAX_LISTED`, each with a line about it."""
    if not runs:
        return
    printing.print_heading(console, kind.capitalize(), printing.STATUS_STYLES[kind])
    about = {
        "running": describe_progress,
        "failed": _failure,
        "lost": lambda run: "it was not begun (kdbench logs shows what the job printed)",
        "interrupted": _interruption,
    }[kind]
    for run in runs[:MAX_LISTED]:
        job = jobs.get(run.id)
        ended = f"; its job {job.id} ended {job.detail}" if job and job.standing == "ended" else ""
        printing.print_line(console, f"  {run.id}  {about(run)}{ended}")
    if len(runs) > MAX_LISTED:
        printing.print_line(console, f"  and {len(runs) - MAX_LISTED} more: kdbench list runs --status {kind}")


def describe_progress(run: Run) -> str:
    """Describe a run that is being trained: share done, loss, score, time left, host and process."""
    state = run.state
    parts = [f"{_share(state)} (step {state.step} of {state.total})"]
    parts += [] if state.loss is None else [f"loss {state.loss:.3f}"]
    parts += [] if state.score is None else [f"{selection_title(run.task.metrics)} {state.score:.1f}"]
    left = time_left(state)
    parts += [] if left is None else [f"about {duration(left)} left"]
    where = f"job {state.job}" if state.job else f"process {state.pid}"
    return "  ".join([*parts, f"on {state.host}, {where}"])


def _share(state: RunState) -> str:
    """Format the share of steps that are done, in per cent."""
    return f"{100 * state.step / state.total:.0f} %" if state.total else "0 %"


def time_left(state: RunState) -> float | None:
    """Estimate the remaining seconds from the pace of the present process; None before its first step."""
    done = state.step - state.first_step
    if not (done > 0 and state.total and state.updated > state.started > 0):
        return None
    pace = (state.updated - state.started) / done
    return max(0.0, pace * (state.total - state.step) - (time.time() - state.updated))


def _failure(run: Run) -> str:
    """Return the kind and the message of a failure, shortened."""
    state = run.state
    message = " ".join(state.message.split()) or "no reason given"
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}..."
    return f"{state.kind}: {message}" if state.kind else message


def _interruption(run: Run) -> str:
    """Describe how far an interrupted run got, and when it stopped."""
    state = run.state
    step = f"{_share(state)} (step {state.step} of {state.total})  " if state.total else ""
    return f"{step}stopped {ago(state.updated)}; the same command goes on"


def _blocked(study: StudyResults, console: Console) -> None:
    """Print the blocked runs by the failed run that blocks them."""
    found: dict[str, list[str]] = {}
    for run in study.runs.values():
        blocker = study.blocker(run)
        if blocker is not None:
            found.setdefault(blocker.id, []).append(run.id)
    if found:
        printing.print_heading(console, "Blocked", printing.STATUS_STYLES["blocked"])
    for blocker_id, runs in found.items():
        names = ", ".join(runs[:MAX_LISTED]) + (", ..." if len(runs) > MAX_LISTED else "")
        printing.print_line(console, f"  by {blocker_id} (failed): {names}")


def _collapsed(study: StudyResults, console: Console) -> None:
    """Print the finished runs with a collapsed network: its prediction hardly depends on the text."""
    every = {run.id: class_use.collapse_warnings(run.class_use, run.task.labels) for run in study.runs.values()}
    found = {run_id: " ".join(said) for run_id, said in every.items() if said}
    if found:
        uses = [use for run_id in found for use in class_use.collapsed_uses(study.runs[run_id].class_use)]
        printing.print_heading(console, class_use.collapse_heading(uses), "yellow")
    for run_id, text in list(found.items())[:MAX_LISTED]:
        printing.print_line(console, f"  {run_id}  {text}")
    if len(found) > MAX_LISTED:
        printing.print_line(console, f"  and {len(found) - MAX_LISTED} more")
