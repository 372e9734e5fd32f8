"""Export a trained network as a folder with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import kdbench
from kdbench.core.atomic_files import replacing
from kdbench.core.errors import UserError, check_known
from kdbench.core.formatting import value
from kdbench.data.task import metric_title
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_files import method_of
from kdbench.models.display_names import display_name
from kdbench.reporting import provenance
from kdbench.reporting.show_method import plugin_summary
from kdbench.results.comparison import mean_score, scale_interval
from kdbench.results.data_origin import data_source
from kdbench.results.read_studies import asked_runs
from kdbench.results.store import Store
from kdbench.results.study import Run

if TYPE_CHECKING:
    from kdbench.training.deployment.export import ExportCheck

LOAD = {
    "hf": """from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForSequenceClassification.from_pretrained("FOLDER").eval()
inputs = tokenizer(TEXTS, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
logits = model(**inputs).logits""",
    "onnx": """import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
session = onnxruntime.InferenceSession("FOLDER/model.onnx", providers=["CPUExecutionProvider"])
inputs = tokenizer(TEXTS, truncation=True, max_length=LENGTH, padding=True, return_tensors="np")
logits = session.run(None, dict(inputs))[0]""",
}
LOAD["int8"] = LOAD["onnx"]


def export_folder(run: Run, store: Store, form: str, target: Path) -> ExportCheck:
    """Write the student of a run with its model card into a new folder, and check that it can be loaded.

    Raises:
        UserError: no such format, the folder is there already, or see `export_network`.
    """
    from kdbench.training.deployment.export import FORMATS, export_network

    check_known("format", [form], FORMATS)
    if target.exists():
        raise UserError(f"{target} is there already; give another with --out DIR.")
    with replacing(target) as folder:
        folder.mkdir()
        check = export_network(run, form, folder)
        (folder / "README.md").write_text(model_card(run, store, form, check, target.name), encoding="utf-8")
    return check


def model_card(run: Run, store: Store, form: str, check: ExportCheck, folder: str) -> str:
    """Return the text of the model card as Markdown, in the form that the Hugging Face hub reads."""
    spec, kind = run.spec, TASKS.get(run.spec.task)
    method = method_of(spec)
    paper, settings = getattr(method, "paper", ""), {**spec.training.model_dump(), **spec.options}
    texts = "[text], [other_text]" if _has_pairs(run) else "[text]"
    code = LOAD[form].replace("FOLDER", folder).replace("LENGTH", str(spec.training.max_length)).replace("TEXTS", texts)
    where = "transformers" if form == "hf" else "onnxruntime"
    checked = (
        f"Loaded by {where}, it gives {check.rows} reported rows logits that differ by at most {check.difference:.1e} "
        f"from those of the trained network{check.class_words}."
    )
    parts = [
        f"---\nlibrary_name: {'transformers' if form == 'hf' else 'onnx'}\npipeline_tag: text-classification\n---",
        f"# {method.title} on {kind.title}",
        f"A text classifier, trained by kdbench {kdbench.__version__}: {plugin_summary(method)}"
        + (f" ({paper})" if paper else ""),
        "## What it is",
        _table(_facts(run, store)),
        "## Scores",
        _scores(run),
        *_cautions(run, form),
        "## How to load it",
        f"```python\n{code}\n```",
        f"The columns of `logits` are {', '.join(map(str, kind.labels))}. {checked}",
        "## Settings",
        _table({key: value(item) for key, item in settings.items() if item not in (None, "")}),
        "## Licences",
        "kdbench is under the Apache License 2.0, which says nothing about this network. Its weights come from the "
        f"network {spec.student.title}, its labels and texts from {kind.title}; both have terms of their own, which "
        "hold for what is made of them. A teacher's outputs may have terms too. Look at these before you pass it on.",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(run: Run, store: Store) -> dict[str, str]:
    """Return what the network is and what it was trained on."""
    spec = run.spec
    known = asked_runs(store)
    taught = {role: known[need].spec for role, need in spec.needs.items() if need in known}
    teachers = {role: f"{display_name(other.student)}, {other.method}" for role, other in taught.items()}
    if spec.teacher is not None:
        teachers["teacher, trained along"] = display_name(spec.teacher)
    return {
        "task": TASKS.get(spec.task).title, "network": display_name(spec.student), **teachers,
        "data": f"{data_source(spec)}, fingerprint {spec.data.fingerprint}",
        "checkpoint selected on": spec.selection, **({"feedback from": spec.feedback} if spec.feedback else {}),
        "seed": str(spec.seed), "run": run.id,
    }  # fmt: skip


def _has_pairs(run: Run) -> bool:
    """Return whether the task has two texts."""
    from kdbench.planning.inputs import load_data

    data = load_data(run.spec.task, run.spec.data)
    return data.splits[TASKS.get(run.spec.task).report_splits[0]].text_b is not None


def _scores(run: Run) -> str:
    """Return the scores of the network, and the interval of their mean."""
    kind = TASKS.get(run.spec.task)
    cell = provenance.run_cell(run)
    numbers = zip(kind.numbers(), provenance.run_scores(cell), strict=True)
    rows = {f"{metric_title(metric)}, {split}": f"{number:.1f} %" for (metric, split), number in numbers}
    try:
        found = mean_score(kind(), [cell])
    except UserError as missing:  # no predictions were kept
        return f"{_table(rows)}\n\nNo interval: {missing}"
    low, high = scale_interval(kind(), found)
    rows["mean"] = f"{found.value:.1f} % (95 % interval {low:.1f} to {high:.1f})"
    return f"{_table(rows)}\n\nThe interval counts items; another seed gives another network."


def _cautions(run: Run, form: str) -> list[str]:
    """Say what the scores are not: those of rounded weights, or of real data."""
    return [
        *(["These are the scores before the weights were rounded to 8 bits; kdbench measure has those after."]
          if form == "int8" else []),
        *(["Made data: these numbers say nothing about the method."]
          if TASKS.get(run.spec.task).is_generated(run.spec.data.location) else []),
    ]  # fmt: skip


def _table(rows: dict[str, str]) -> str:
    return "| | |\n|---|---|\n" + "\n".join(f"| {key} | {text.replace('|', '/')} |" for key, text in rows.items())
