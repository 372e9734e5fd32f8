"""Write the report of a results folder: one HTML file.

A Content-Security-Policy in the file lets the browser run only the scripts of this file, known by their hashes, and
load nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

import kdbench
from kdbench.core.atomic_files import write_text
from kdbench.core.errors import UserError
from kdbench.reporting.html import figure_images
from kdbench.reporting.html.chart_data import Chart, cost_chart, curves_chart, spread_chart
from kdbench.reporting.html.overview import Overview, build_overview
from kdbench.reporting.html.run_pages import RunPage, build_run_pages
from kdbench.reporting.html.students import StudentPages, build_students
from kdbench.reporting.html.task_ranking import rank_tasks
from kdbench.reporting.provenance import TRACED_TABLE, build_traced_table, traced_title
from kdbench.reporting.run_status import STATES, RunStatuses
from kdbench.reporting.show_table import nothing_to_show
from kdbench.reporting.study_choice import ChosenStudies, StudyChoice, choose_studies
from kdbench.reporting.tables import TABLES
from kdbench.results.data_origin import describe_data, describe_train_rows
from kdbench.results.store import Store
from kdbench.results.study import StudyResults
from kdbench.results.sweep_files import read_sweeps

HERE = Path(__file__).parent


@dataclass(frozen=True)
class StudyPage:
    """A study in the report: `facts` describe it, `lacking` names missing results with the command for each."""

    number: int
    title: str
    facts: Sequence[tuple[str, str]]
    board: Overview | None
    charts: Sequence[Chart]
    figures: Sequence[Chart]
    lacking: Sequence[str]
    students: StudentPages
    table: str  # the title of the table of scores


def write_report(store: Store, choice: StudyChoice, out: Path) -> tuple[int, int]:
    """Write the report of the chosen studies, and return the numbers of studies and runs.

    Raises:
        UserError: nothing that was chosen, or there are no results.
    """
    chosen = choose_studies(store, choice)
    found = chosen.studies
    if not found:
        raise UserError(nothing_to_show(TABLES.get(TRACED_TABLE)(), store, chosen, choice.preset))
    statuses = RunStatuses(store)
    runs = build_run_pages(found, read_sweeps(store), statuses)
    shown = [_study(i, study, store, statuses, chosen.note) for i, study in enumerate(found)]
    write_text(out, _render(store, shown, runs).lstrip())
    return len(shown), len(runs)


def _study(number: int, study: StudyResults, store: Store, statuses: RunStatuses, note: str) -> StudyPage:
    """Collect table, charts, figures and facts of one study.

    Args:
        note: what was chosen of the results; "" for everything.
    """
    printed = build_traced_table(study)
    if printed and note:
        printed.notes.insert(0, note)
    order, telling = rank_tasks(study)
    own = [spread_chart(f"spread-{number}", study, printed, order)] if printed else []
    own += [curves_chart(f"curves-{number}", study, order), cost_chart(f"cost-{number}", study, order)]
    pictures, lacking = figure_images.paper_figures(f"paper-{number}", study)
    if not printed:
        alone = ChosenStudies([study], note)
        lacking = [nothing_to_show(TABLES.get(TRACED_TABLE)(), store, alone, study.preset), *lacking]
    return StudyPage(
        number, study.pairing, [*_facts(study), *([("Part", note)] if note else []), *telling],
        build_overview(number, study, printed, statuses) if printed else None,
        [one for one in own if one], pictures, lacking, build_students(number, study), traced_title(study),
    )  # fmt: skip


def _facts(study: StudyResults) -> list[tuple[str, str]]:
    """Return the facts of a study as names and values."""
    setup = study.study
    counts = Counter(run.state.status for run in study.runs.values())
    seeds = sorted({cell.cell.seed for cell in study.cells})
    facts = [
        ("Preset", study.preset),
        ("Data", describe_data(study)),
        ("Checkpoints selected on", str(setup["selection"])),
        ("Feedback from", str(setup["feedback"])),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Runs", f"{counts['done']} of {len(study.runs)} done"),
    ]
    facts += [("Seen in the data", said) for task in study.tasks for said in study.data_remarks.get(task, ())]
    facts += [("Rows of train", drawn)] if (drawn := describe_train_rows(study)) else []
    return facts + ([("split_seed", str(setup["split_seed"]))] if setup["split_seed"] else [])


def _render(store: Store, shown: Sequence[StudyPage], runs: Sequence[RunPage]) -> str:
    """Fill the template of the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    # marked as safe are files of the project alone
    scripts = {name: (HERE / f"{name}.js").read_text(encoding="utf-8") for name in ("theme", "page", "draw", "charts")}
    counts = Counter(run.state for run in runs)
    # in table order; runs that only others need come last
    titles = list(dict.fromkeys(run.title for run in sorted(runs, key=lambda run: run.only_needed)))
    return environment.get_template("page.html").render(
        version=kdbench.__version__, folder=str(store.root), studies=shown, runs=runs,
        policy=content_policy(scripts.values()),
        counts=[(state, counts[state]) for state in STATES if counts[state]], newest=_newest(store, runs),
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        data=htmlsafe_json_dumps({one["id"]: one for page in shown for one in [*page.charts, *page.figures]}),
        tasks=list(dict.fromkeys(run.task for run in runs)), methods=titles,
        seeds=sorted({run.seed for run in runs}),
    )  # fmt: skip


def _newest(store: Store, runs: Sequence[RunPage]) -> str:
    """Return when a run was last updated (UTC), so that the same results give the same page; "" where no run began."""
    moment = max((store.run(run.id).state().updated for run in runs), default=0.0)
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment)) if moment else ""


def content_policy(scripts: Iterable[str]) -> str:
    """Return the Content-Security-Policy: run these scripts, draw, and nothing else."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'none'; "
        "base-uri 'none'; form-action 'none'"
    )
