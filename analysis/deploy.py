"""The table of deployment: size, operations, speed, and what ONNX and 8 bits change."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting import machines, notes
from kdbench.reporting.provenance import task_origin, traceable_rows
from kdbench.reporting.tables import EMPTY_CELL, Detail, Table, TableCell, TableData
from kdbench.results.deployment import Deployment, FormRecord, read_deployment
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import TEACHER, CellResult, StudyResults, task_title

COLUMNS = {
    "score": "Score\n%", "change": "Change\n%", "agreement": "Agree\n%", "parameters": "Param.\nM",
    "without": "w/o emb.\nM", "size": "Size\nMB", "flops": "MFLOPs\na row", "single": "1 row, ms\np50/p95",
    "batch": "32 rows, ms\np50/p95", "throughput": "Rows\na second",
}  # fmt: skip
FORMS = {"torch": "torch", "onnx": "ONNX", "int8": "ONNX int8"}


@dataclass(frozen=True)
class Measured:
    """A row of a study with one measured run on a task."""

    line: SelectedRow
    cell: CellResult
    found: Deployment


class Deploy(Table):
    """A table for each task: the teacher and the students, each in the forms that were measured."""

    title = "Deployment: what networks cost in use"
    requests = (Request("all"),)
    lacking = "No network was measured; where the runs are, run: kdbench measure"

    def sheets(self, studies: Sequence[StudyResults]) -> list[TableData]:
        found = [sheet for study in studies for task in study.tasks if (sheet := _sheet(study, task))]
        if not found:
            raise UserError(self.lacking)
        return found


def measured_rows(study: StudyResults, task: str) -> list[Measured]:
    """Return the rows with the measurements of their first seed that has some; others are left out."""
    out = []
    for line in (select_row(study, row) for row in traceable_rows(study)):
        known = ((cell, read_deployment(cell.run)) for cell in line.shown.get(task, ()))
        out += [Measured(line, cell, found) for cell, found in known if found is not None][:1]
    return out


def form_score(form: FormRecord) -> float:
    """Return the mean over splits and metrics, in per cent."""
    return 100 * statistics.fmean(value for scores in form.scores.values() for value in scores.values())


def _sheet(study: StudyResults, task: str) -> TableData | None:
    """Build the table of one task; None where nothing was measured."""
    rows = measured_rows(study, task)
    if not rows or len(TASKS.get(task).labels) < 2:
        return None
    sheet = TableData(
        f"Deployment on {task_title(task)}, preset {study.preset}: {study.pairing}", ["", *COLUMNS.values()]
    )
    for row in rows:
        sheet.rules |= {len(sheet.rows)} - {0} if len(sheet.rows) and row.line.row != TEACHER else set()
        for name, form in row.found.forms.items():
            first = name == next(iter(row.found.forms))
            label = row.line.title if first else f"  {FORMS.get(name, name)}"
            sheet.rows.append([TableCell((label,)), *_entries(row.found, form, first)])
            sheet.row_keys.append(row.line.row if first else f"{row.line.row} {name}")
    sheet.column_keys = list(COLUMNS)
    sheet.notes = _notes(rows, study)
    sheet.records = [record for row in rows for record in _records(row, study)]
    return sheet


def _entries(found: Deployment, form: FormRecord, first: bool) -> Iterator[TableCell]:
    """Yield the cells of a form; what all forms share stands in the first row, what compares forms in the others."""
    yield _cell(form_score(form), 1)
    change, low, high = form.change
    yield EMPTY_CELL if first else TableCell((f"{change:+.1f}",), (f"{(high - low) / 2:.1f}",), numbers=(change,))
    share, low, high = (100 * value for value in form.agreement)
    yield EMPTY_CELL if first else TableCell((f"{share:.1f}",), (f"{max(share - low, high - share):.1f}",))
    millions = (found.parameters / 1e6, (found.parameters - found.embeddings) / 1e6)
    for number in millions:
        yield _cell(number, 2) if first else EMPTY_CELL
    yield _cell(form.bytes / 1e6, 1)
    yield _cell(found.flops / 1e6, 1) if first else EMPTY_CELL
    for latency in form.latency.values():
        times = (1000 * latency.p50, 1000 * latency.p95)
        yield TableCell(tuple(f"{time:.2f}" for time in times), numbers=times)
    yield _cell(form.throughput, 0)


def _cell(number: float, digits: int) -> TableCell:
    return TableCell((f"{number:,.{digits}f}",), numbers=(number,))


def _notes(rows: Sequence[Measured], study: StudyResults) -> list[str]:
    """Return the notes that say what was measured, where and how."""
    places = {f"{row.found.environment['cpu']}, {count(row.found.threads, 'thread')}" for row in rows}
    lengths = [row.found.length for row in rows]
    forms = {name for row in rows for name in row.found.forms}
    where = (
        f"Measured on: {places.pop()}."
        if len(places) == 1
        else f"{machines.NOT_COMPARABLE}: they are of different machines or threads ({'; '.join(sorted(places))})."
    )
    seeds = ", ".join(sorted({str(row.cell.cell.seed) for row in rows}))
    return [
        f"One network a row (seed {seeds}), in torch" + (", then as ONNX and with 8-bit weights." if forms - {"torch"}
        else "; kdbench measure adds ONNX forms where the extra deploy is installed."),
        *(["Change and Agree: against the same network in torch, ± half of the 95 % interval over items."]
          if forms - {"torch"} else []),
        where,
        f"Rows of the reported splits, padded to the longest of a batch; {statistics.fmean(lengths):.0f} tokens on "
        "average.",
        Detail("MFLOPs: of products of matrices, a multiplication and an addition are two, at the mean length. w/o "
               "emb.: without lookup tables. Size: of the weights' file."),
        *notes.evidence_notes(study),
    ]  # fmt: skip


def _records(row: Measured, study: StudyResults) -> Iterator[dict[str, Any]]:
    """Yield a record for each form, unrounded."""
    found = row.found
    for name, form in row.found.forms.items():
        times: Mapping[str, float] = {
            f"{key}_seconds_{rows}": getattr(latency, key)
            for rows, latency in form.latency.items() for key in ("p50", "p95")
        }  # fmt: skip
        yield {
            **task_origin(study, row.cell.cell.task), "row": row.line.row, "title": row.line.title,
            "task": row.cell.cell.task, "seed": row.cell.cell.seed, "run": row.cell.run.id, "form": name,
            "score": form_score(form),
            **dict(zip(("change", "change_low", "change_high"), form.change, strict=True)),
            **dict(zip(("agreement", "agreement_low", "agreement_high"), form.agreement, strict=True)),
            "parameters": found.parameters, "embedding_parameters": found.embeddings, "bytes": form.bytes,
            "flops": found.flops, "mean_length": found.length, **times, "rows_per_second": form.throughput,
            "threads": found.threads, "cpu": found.environment["cpu"],
        }  # fmt: skip
