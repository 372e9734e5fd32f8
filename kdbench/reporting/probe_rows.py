"""The table of what trained networks score on other data, and on slightly changed texts of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kdbench.core.errors import UserError, unknown
from kdbench.core.formatting import count_range, value
from kdbench.core.registry import ALL
from kdbench.data.declared_rows import LabelledRow
from kdbench.data.labelled_file import FILE, OWN, LabelView, match_labels
from kdbench.data.perturbations import PERTURBATIONS
from kdbench.data.task_registry import TASKS
from kdbench.reporting import notes
from kdbench.reporting.measure_rows import newest_study, regressions_note, rows_to_measure
from kdbench.reporting.show_run import find_run
from kdbench.reporting.study_choice import StudyChoice
from kdbench.reporting.tables import TableCell, TableData
from kdbench.results.selection import select_row
from kdbench.results.significance import Difference
from kdbench.results.store import Store
from kdbench.results.study import Run, StudyResults, task_title

if TYPE_CHECKING:
    from kdbench.training.probing import ProbeScores

TITLES = {"typos": "Typos", "case": "Capitals", "punctuation": "No punct."}


@dataclass(frozen=True)
class ProbeRequest:
    """Hold what was asked for.

    Attributes:
        names: rows joined by commas, `all`, or a run.
        file: the name of the other data; "" for none, with `rows` (), and `labels` as `match_labels` takes them.
    """

    names: str
    file: str
    rows: Sequence[LabelledRow]
    labels: str
    perturbations: Sequence[str]
    seed: int
    rate: float
    device: str


def choose_perturbations(text: str) -> tuple[str, ...]:
    """Return the perturbations of a list, of `all`, or of `none`.

    Raises:
        UserError: there is no such perturbation.
    """
    if text == "none":
        return ()
    names = tuple(PERTURBATIONS) if text == ALL else tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in PERTURBATIONS:
            raise unknown("perturbation", name, [*PERTURBATIONS, ALL, "none"])
    return names


def probe_tables(store: Store, choice: StudyChoice, request: ProbeRequest) -> list[TableData]:
    """Score the chosen networks; return a table for each task.

    Raises:
        UserError: no such row or run, nothing that was chosen, nothing is done, or labels that do not match.
    """
    study, chosen = _chosen(store, choice, request)
    if request.file and len(chosen) > 1:
        raise UserError(f"--data is for one task; name it by --tasks ({', '.join(chosen)}).")
    return [_table(study, task, rows, request) for task, rows in chosen.items()]


def _chosen(
    store: Store, choice: StudyChoice, request: ProbeRequest
) -> tuple[StudyResults | None, dict[str, dict[str, list[Run]]]]:  # fmt: skip
    """Return the study, and task -> row -> the runs that tables show, one a seed."""
    study = newest_study(store, choice)
    if run := _named_run(store, study, request.names):
        if len(run.task.labels) == 1:
            raise UserError(f"{run.id} predicts numbers, and a probe is about classes; name a run on another task.")
        return None, {run.spec.task: {run.id: [run]}}
    found: dict[str, dict[str, list[Run]]] = {}
    for line in (select_row(study, name) for name in rows_to_measure(study, request.names)):
        for task, cells in line.shown.items():
            runs = [cell.run for cell in cells if not cell.run.spec.student.is_outputs]
            if runs and len(TASKS.get(task).labels) > 1:
                found.setdefault(task, {})[line.title] = runs
    if not found:
        raise UserError(f"No network of {request.names} on such a task is done in {store.root}; see: kdbench status")
    return study, found


def _named_run(store: Store, study: StudyResults, text: str) -> Run | None:
    """Return the run that a text names; None where it names rows."""
    try:
        rows_to_measure(study, text)
    except UserError:
        if "," in text:
            raise
        return find_run(store, text.strip())
    return None


def _table(
    study: StudyResults | None, task: str, rows: Mapping[str, Sequence[Run]], request: ProbeRequest
) -> TableData:  # fmt: skip
    """Score the rows on one task, and build the table."""
    from kdbench.training.preflight import parse_device
    from kdbench.training.probing import ProbeSettings, probe_runs

    classes = TASKS.get(task).labels
    labels = sorted({row.label for row in request.rows})
    view = match_labels(classes, labels, request.labels)
    settings = ProbeSettings(request.rows, view, request.perturbations, request.seed, request.rate)
    place = parse_device(request.device)
    found = {title: probe_runs(runs, settings, place) for title, runs in rows.items()}
    others = [*([FILE] if request.rows else []), *request.perturbations]
    name = PurePath(request.file).name
    heads = [f"{name}\n%" if key == FILE else f"{TITLES.get(key, key)}\n%" for key in others]
    drops = [f"{head.partition(chr(10))[0]}\ndrop" for head in heads]
    columns = [head for pair in zip(heads, drops, strict=True) for head in pair]
    pairing = f", preset {study.preset}: {study.pairing}" if study else ""
    sheet = TableData(f"Probe on {task_title(task)}{pairing}", ["", f"{task_title(task)}\n%", *columns])
    for title, scores in found.items():
        cells = [_cell(scores.scores[OWN])]
        for key in others:
            cells += [_cell(scores.scores[key]), _cell(scores.drops[key], signed=True)]
        sheet.rows.append([TableCell((title,)), *cells])
        sheet.records += _records(title, task, scores, rows[title])
    sheet.notes = _notes(study, rows, request, view, name)
    return sheet


def _cell(found: Difference, *, signed: bool = False) -> TableCell:
    low, high = found.interval()
    text = f"{found.value:+.1f}" if signed else f"{found.value:.1f}"
    return TableCell((text,), (f"{(high - low) / 2:.1f}",), numbers=(found.value,))


def _notes(
    study: StudyResults | None, rows: Mapping[str, Sequence[Run]], request: ProbeRequest, view: LabelView, name: str
) -> list[str]:  # fmt: skip
    """Return the notes that say what was scored, and how."""
    first = next(iter(rows.values()))[0]
    counts = {len(runs) for runs in rows.values()}
    metric = "the mean of the task's metrics" if view.is_whole else "accuracy over the labels of the file"
    joined = {
        group: [c for c, of in zip(first.task.labels, view.of_class, strict=True) if of == i]
        for i, group in enumerate(view.names)
    }
    words = "; ".join(f"{group} = {' or '.join(some)}" for group, some in joined.items())
    numbers = {label: view.names[i] for label, i in sorted(view.of_label.items()) if label == str(i)}
    numbered = ", ".join(f"{label} = {group}" for label, group in numbers.items() if label != group)
    typos = f"Typos: two inner letters exchanged in {value(100 * request.rate)} % of the words of four or more letters"
    return [
        f"Scores: {metric}, mean over {count_range(counts, 'seed')} ± half of the 95 % interval; drop: how much lower "
        "than on the task's own reported rows.",
        "The error counts items, by bootstrap, and seeds; changed texts are paired with their originals."
        + (notes.ONE_SEED if 1 in counts else ""),
        *([f"{name}: {len(request.rows):,} rows{_seen(first, request.rows)}."] if request.rows else []),
        *([f"Labels: {words}."] if not view.is_whole else []),
        *([f"Labels of {name} are the numbers of classes: {numbered}."] if numbered and view.is_whole else []),
        *([f"{typos} (seed {request.seed})."] if "typos" in request.perturbations else []),
        *(["Capitals: everything in capitals; networks without capitals do not notice."]
          if "case" in request.perturbations else []),
        *([left_out] if study and (left_out := regressions_note(study)) else []),
        *(notes.evidence_notes(study) if study else []),
    ]  # fmt: skip


def _seen(run: Run, rows: Sequence[LabelledRow]) -> str:
    """Say how many rows have a text that the run's task trains on; "" where none has."""
    from kdbench.planning.inputs import load_data

    train = set(load_data(run.spec.task, run.spec.data).splits["train"].texts())
    seen = sum((first, second or "") in train for first, second in (row.texts for row in rows))
    return f", of which {seen:,} have a text that is in train" if seen else ""


def _records(title: str, task: str, scores: ProbeScores, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the unrounded numbers, a record a part."""
    out = []
    for part, found in scores.scores.items():
        low, high = found.interval()
        record = {"row": title, "task": task, "part": part, "unit": "per cent", "score": found.value, "low": low,
                  "high": high, "drop": "", "drop_low": "", "drop_high": "", "seeds": found.seeds,
                  "runs": " ".join(run.id for run in runs)}  # fmt: skip
        if part in scores.drops:
            low, high = scores.drops[part].interval()
            record |= {"drop": scores.drops[part].value, "drop_low": low, "drop_high": high}
        out.append(record)
    return out
