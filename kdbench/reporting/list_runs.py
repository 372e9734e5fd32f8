"""The runs of a results folder, one a line."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.core.errors import UserError, unknown
from kdbench.core.formatting import ago, count
from kdbench.data.task import selection_title
from kdbench.reporting import printing
from kdbench.reporting.run_status import STATES, RunStatuses
from kdbench.results.store import Store
from kdbench.results.study import Run, StudyResults, studies

Listed = tuple[Run, str, set[str]]  # the run, how it stands, its method and rows


def show(store: Store, filters: Mapping[str, str | None], console: Console) -> None:
    """All runs that pass the filters.

    Args:
        filters: `method`, `task`, `status`; None lets everything through.

    Raises:
        UserError: there are no runs at all, or a filter that no run could pass.
    """
    found = _all(studies(store), RunStatuses(store))
    if not found:
        raise UserError(f"There are no runs in {store.root}; give another folder with --results DIR.")
    method, task, status = (filters.get(key) for key in ("method", "task", "status"))
    status = printing.STATUS_WORDS.get(status, status) if status else None
    _check("method", method, {name for _, _, names in found.values() for name in names})
    _check("task", task, {run.spec.task for run, _, _ in found.values()})
    _check("status", status, STATES)
    shown = [
        item for _, item in sorted(found.items())
        if (method is None or method in item[2])
        and (task is None or task == item[0].spec.task)
        and (status is None or status == item[1])
    ]  # fmt: skip
    if shown:
        printing.print_table(console, _table(shown))
    printing.print_line(console, f"{count(len(shown), 'run')} of {len(found)}")


def _check(what: str, name: str | None, valid: set[str] | tuple[str, ...]) -> None:
    if name is not None and name not in valid:
        raise unknown(what, name, valid)


def _all(found: list[StudyResults], standings: RunStatuses) -> dict[str, Listed]:
    out: dict[str, Listed] = {}
    for study in found:
        rows: dict[str, set[str]] = {}
        for cell in study.cells:
            rows.setdefault(cell.run.id, set()).add(cell.cell.row)
        for run_id, run in study.runs.items():
            names = {run.spec.method} | rows.get(run_id, set()) | (out[run_id][2] if run_id in out else set())
            out[run_id] = (run, standings.word(study, run), names)
    return out


def _table(items: list[Listed]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for name in ("step", "loss", "selection"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("student", no_wrap=True)
    table.add_column("last news", no_wrap=True)
    for run, standing_, _ in items:
        state = run.state
        steps = f"{state.step}/{state.total}" if state.total else ""
        loss = "" if state.loss is None else f"{state.loss:.3f}"
        metric = selection_title(run.spec.task).removeprefix("selection ")
        score = "" if state.score is None else f"{metric} {state.score:.1f}"
        style = printing.STATUS_STYLES.get(standing_, "dim")
        news = state.kind or ago(state.updated)
        table.add_row(run.id, Text(standing_, style=style), steps, loss, score, Text(run.spec.student.name), Text(news))
    return table
