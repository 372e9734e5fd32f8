"""Write gpu.md from the figures of the stages that have been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import side_by_side
from benchmarks.report import per_step
from benchmarks.work import BATCH, EPOCHS
from kdbench.core.atomic_files import read_json, write_text
from kdbench.core.formatting import count
from kdbench.distill.method_registry import METHODS

COST = Path(__file__).resolve().parents[2] / "docs" / "cost.md"
EXA, TERA, HOUR = 1e18, 1e12, 3600.0
FORMULA = (
    "TFLOP/s sustained are achieved model FLOPs a second. Operations of a row's forward pass: two for every weight of "
    "the encoder and token, and those of attention; a backward pass counts twice, a forward-mode pass three times. "
    "Passes are those that the contestant makes; padding, embeddings, optimiser and dropout count as nothing. Looking "
    "up a frozen teacher has no operations; the pass in which it is asked once is a column of its own."
)
TITLES = {
    "correctness": "Correct on this device", "kd": "A step of KD", "graphs": "A step of KD as a CUDA graph",
    "lgtm": "A step of LGTM",
    "side_by_side": "Several runs on one device", "study": "A study on TREC",
}  # fmt: skip
Figures = Sequence[Mapping[str, Any]]


def write(out: Path) -> Path:
    """Write the tables of all stages in `out` that have figures, or a problem."""
    stored = {name: _read(out / f"{name}.json") for name in ("machine", *TITLES)}
    sections = {"correctness": _correctness, "side_by_side": _side_by_side, "study": _study}
    lines = ["# kdbench on a GPU", "", *_machine(stored["machine"])]
    for name in TITLES:
        section = sections.get(name, _steps)
        problem = out / f"{name}.problem.json"
        if stored[name] or problem.exists():
            lines += [f"## {TITLES[name]}", "", *(section(stored[name]) if stored[name] else [])]
            lines += [f"The stage did not finish: {read_json(problem)['problem']}.", ""] if problem.exists() else []
    if stored["machine"] and not stored["machine"][0]["small"]:
        lines += _hours(stored)
    write_text(out / "gpu.md", "\n".join(lines))
    return out / "gpu.md"


def _read(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(file) if file.exists() else []
    return found


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [*("|".join(["", *line, ""]) for line in (heads, ["---"] * len(heads), *rows)), ""]


def _machine(stored: Figures) -> list[str]:
    if not stored:
        return []
    found, sizes = stored[0], stored[0]["sizes"]
    here, rates = found["environment"], found["product_tflops"]
    packages = here["packages"]
    lines = [
        f"{here['gpu'] or here['cpu']}; torch {packages['torch']}, transformers {packages['transformers']}; commit "
        f"{here['commit']}. A BERT of {count(sizes['teacher'], 'layer')} and width {sizes['hidden']} teaches one of "
        f"{count(sizes['student'], 'layer')}, weights random, batches of {BATCH} made rows with the lengths of GLUE's "
        f"training sets. A large product of matrices alone: "
        + ", ".join(f"{rate:.1f} TFLOP/s in {name}" for name, rate in rates.items())
        + ".",
        "",
        FORMULA,
        "",
    ]
    if found["small"]:
        lines += ["Tiny sizes, to try the script out: these figures say nothing of a GPU.", ""]
    return lines


def _correctness(stored: Figures) -> list[str]:
    words = {True: "yes", False: "**no**", None: "not checked"}
    return _table(["", "passed", ""], [[s["check"], words[s["passed"]], s["detail"]] for s in stored])


def _steps(stored: Figures) -> list[str]:
    """Return a table of contestants beside the first that is not kdbench, and the reasons of those that are missing."""
    measured = [found for found in stored if "problem" not in found]
    baseline = next((f for f in measured if f["title"].startswith(("Hugging Face", "the released"))), None)
    rows = []
    for found in measured:
        times = f"{per_step(baseline) / per_step(found):.2f}" if baseline else ""
        once = f"{1000 * found['once'] / found['steps'] / EPOCHS:.2f}" if found["once"] else ""
        rows.append([
            found["title"], f"{1000 * found['seconds'] / found['steps']:.1f}", once,
            f"{found['rows_per_second']:.0f}", f"{found['tflops']:.2f}", times, f"{found['peak'] / 1e9:.1f}",
        ])  # fmt: skip
    heads = ["", "ms for a step", "ms for the teacher, asked once", "rows/s", "TFLOP/s sustained", "times as fast",
             "peak GB"]  # fmt: skip
    lines = _table(heads, rows) if rows else []
    notes = [f"The teacher's pass is spread over {EPOCHS} epochs."]
    if baseline:
        notes.insert(0, f"Times as fast: than {baseline['title']}, the teacher's pass included.")
    lines += [" ".join(notes), ""] if rows else []
    return lines + [
        line for f in stored if "problem" in f for line in (f"{f['title']}: not measured. {f['problem']}", "")
    ]


def _side_by_side(stored: Figures) -> list[str]:
    return [
        *side_by_side.table(stored),
        "",
        "KD, with the first settings of the table of KD's steps; all processes share the device.",
        "",
    ]


def _study(stored: Figures) -> list[str]:
    *runs, total = stored if "runs" in stored[-1] else [*stored, {}]
    rows = [[f["method"], f["run"], f"{f['score']:.1f}", f"{f['steps']}", f"{f['seconds']:.1f}"] for f in runs]
    lines = _table(["", "run", "accuracy on the selection split, %", "steps", "s of training"], rows)
    if total:
        data = "made questions of TREC's lengths" if total["made_data"] else "TREC"
        networks = "MiniLM" if total["networks"] == "MiniLM" else "random weights"
        lines += [
            f"{total['finished']} of {total['runs']} of preset `minilm` ({total['precision']}, {networks}, {data}) "
            f"in {total['wall']:.0f} s, {total['jobs']} at once; the rest was interrupted when the time was over.", "",
        ]  # fmt: skip
        lines += [line for run, why in total["failed"].items() for line in (f"{run} failed: {why}", "")]
    return lines


def _hours(stored: Mapping[str, Figures]) -> list[str]:
    """Return the hours of preset bert-6l's study, from measured rates and the operations in docs/cost.md."""
    rates = {
        name: {f["title"]: TERA * f["tflops"] for f in stored[name] if f.get("tflops") and "kdbench" in f["title"]}
        for name in ("kd", "lgtm")
    }
    both = [title for title in rates["kd"] if title in rates["lgtm"]]
    if not both:
        return []
    with_feedback = {method.title for method in METHODS.all().values() if "feedback" in method.requires}
    work = study_operations()
    work.pop("all", None)
    gain, jobs = side_by_side.best_gain(stored["side_by_side"]) if stored["side_by_side"] else (1.0, 1)
    rows = []
    for title in both:
        suites = {name: "lgtm" if name in with_feedback else "kd" for name in work}
        hours = sum(total / rates[suites[name]][title] for name, total in work.items()) / HOUR
        rows.append([title, f"{hours:.0f}", f"{hours / gain:.0f}"])
    about = (
        "All methods on all tasks, as in docs/cost.md, by its operations divided by the TFLOP/s sustained above: those "
        "of LGTM for methods with feedback, those of KD for all others. Reckoned, not measured; evaluation is in the "
        f"operations, saving is not. The last column takes over the gain of {count(jobs, 'run')} at once from the "
        "table above, which is KD's."
    )
    heads = ["", "hours on this GPU, one run at a time", "several at once"]
    return ["## Hours of the study with preset bert-6l", "", about, "", *_table(heads, rows)]


def study_operations(file: Path = COST) -> dict[str, float]:
    """Read the operations of each method's runs, and of the runs that they share, in docs/cost.md."""
    section = file.read_text(encoding="utf-8").partition("## Operations")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return {title: EXA * float(total) for title, _, _, total, _ in cells}
