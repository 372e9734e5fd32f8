"""Results, tables and figures as pandas data frames, and as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kdbench.core.spec import ModelRef
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.study import Run, StudyResults, settings
from kdbench.results.study_names import network_names

if TYPE_CHECKING:
    from pandas import DataFrame


def records_frame(records: Iterable[Mapping[str, Any]]) -> DataFrame:
    """Return a data frame with a row a record; the columns are the keys of all records, "" where one has no such key.

    Values keep their types (a column of integers with an empty place stays integers), so every column has dtype object.
    """
    import pandas as pd

    rows = list(records)
    columns = dict.fromkeys(key for row in rows for key in row)
    return pd.DataFrame({key: pd.Series([row.get(key, "") for row in rows], dtype=object) for key in columns})


def csv_text(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records as CSV with a head, or "" where there are none; numbers are not rounded, None leaves a gap."""
    frame = records_frame({key: "" if item is None else item for key, item in row.items()} for row in records)
    return str(frame.to_csv(index=False, lineterminator="\n", na_rep="nan")) if len(frame) else ""


def results_frame(store: Store, preset: str | None = None) -> DataFrame:
    """Return a data frame with a row for each run that was asked for or is needed, done or not.

    Columns: `run`, `status`, `preset`, `method`, `row`, `task`, `data` (a fingerprint), `seed`, `student`, `teacher`,
    `feedback`, `selection`; every hyperparameter by name, those of needed runs as `teacher's epochs`; metrics in per
    cent, and the loss, by split, of the kept checkpoint (`validation accuracy`), the last one (`last validation
    accuracy`) and of a teacher that learns along (`teacher validation accuracy`); `train rows` and so on; `cost KEY` in
    seconds, rows, bytes. A value that a run does not have is missing. Different networks have different names.

    Args:
        preset: only runs of this preset.
    """
    import pandas as pd

    found, rows = dict[str, tuple[Run, StudyResults]](), dict[str, dict[str, None]]()
    for study in studies(store, preset):
        for run in study.runs.values():
            own = dict.fromkeys(cell.cell.row for cell in study.by_run.get(run.id, ()))
            # a run that a row of one study shows may teach in another
            if own or run.id not in found:
                found[run.id] = run, study
            rows[run.id] = rows.get(run.id, {}) | own
    names = network_names(ref for run, _ in found.values() for ref in (run.spec.student, run.spec.teacher) if ref)
    return pd.DataFrame([_row(run, study, rows[run.id], names) for run, study in found.values()])


def _row(run: Run, study: StudyResults, rows: Iterable[str], names: Mapping[ModelRef, str]) -> dict[str, Any]:
    """Return the columns of a run.

    Args:
        rows: those of tables that show the run, which may be variants; none of a run that others only need.
    """
    spec, result = run.spec, run.result or {}
    row: dict[str, Any] = {
        "run": run.id, "status": run.state.status, "preset": study.preset, "method": spec.method,
        "row": ",".join(rows), "task": spec.task, "data": spec.data.fingerprint,
        "seed": spec.seed, "student": names[spec.student], "teacher": names[spec.teacher] if spec.teacher else None,
        "feedback": spec.feedback, "selection": spec.selection, **settings(run.id, study.runs),
    }  # fmt: skip
    # scores of the kept checkpoint under the bare names
    for checkpoint, prefix in (("best", ""), ("last", "last ")):
        scores = result.get(checkpoint, {})
        row |= _scores({"selection": scores.get("selection", {}), **scores.get("report", {})}, prefix)
    row |= _scores(result.get("teacher") or {}, "teacher ")
    row |= {f"{split} rows": count for split, count in result.get("rows", {}).items()}
    return row | {f"cost {key}": value for key, value in run.cost.items() if isinstance(value, int | float)}


def _scores(splits: Mapping[str, Mapping[str, float]], prefix: str) -> dict[str, float]:
    """Return metrics in per cent, and losses as they are, by `SPLIT METRIC`."""
    return {
        f"{prefix}{split} {metric}": value if metric == "loss" else 100 * value
        for split, metrics in splits.items()
        for metric, value in metrics.items()
    }
