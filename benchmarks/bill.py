"""cost.md: what a full study costs, from what was measured and counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import embedding, study
from benchmarks.suites import ALL
from benchmarks.work import BATCH, EPOCHS
from kdbench.core.atomic_files import read_json, write_text
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS
from kdbench.planning.make_plan import parse_seeds, select_methods

SUSTAINED = (30, 60, 120)  # TFLOP/s that a GPU may keep up on batches as small as these
GPUS = (1, 8, 32)
HOUR, TERA, PETA, EXA = 3600.0, 1e12, 1e15, 1e18


def write(folder: Path) -> Path:
    """cost.md, from study.json and, if it is there, methods.json."""
    account = study.Account(study.whole(), read_json(folder / "study.json")["measured"][0])
    measured, short = folder / "methods.json", folder / "embedding.json"
    parts = [
        "# What a full study costs",
        "",
        *(_measured(read_json(measured), account) if measured.exists() else []),
        *(_short_texts(read_json(short)) if short.exists() else []),
        *_methods(account),
        *_sharing(account),
        *_hours(account),
    ]
    write_text(folder / "cost.md", "\n".join(parts))
    return folder / "cost.md"


def _ordered() -> list[str]:
    return list(select_methods("all"))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [*("|".join(["", *line, ""]) for line in lines), ""]


def _measured(stored: Mapping[str, Any], account: study.Account) -> list[str]:
    """Samples a second of every method, and how many times KD's time that is."""
    by_name: dict[str, dict[int, float]] = defaultdict(dict)
    for found in stored["measured"]:
        seconds = found["seconds"] + found["once"] / EPOCHS
        by_name[found["contestant"].removeprefix("method-")][found["round"]] = seconds / found["steps"]
    rows = []
    for name in _ordered():
        steps = by_name[name]
        beside = [seconds / by_name["kd"][number] for number, seconds in steps.items()]
        rows.append([METHODS.get(name).title, f"{BATCH / median(steps.values()):.0f}", f"{median(beside):.2f}"])
    work, rounds = stored["work"], 1 + max(found["round"] for found in stored["measured"])
    about = (
        f"`{work['teacher']}` teaches `{work['student']}` on MRPC, batches of {BATCH}, bfloat16, {ALL}, on "
        f"{stored['environment']['cpu']} with {work['threads']} threads; medians of "
        f"{rounds} round{'s' * (rounds > 1)} of {work['steps']} steps. Training steps alone: "
        f"without evaluation and without the runs that a method needs. What a frozen teacher is asked once is "
        f"spread over {EPOCHS} epochs."
    )
    return ["## Measured", "", about, "", *_table(["", "samples/s", "time, × KD"], rows)]


def _short_texts(stored: Mapping[str, Any]) -> list[str]:
    """Measure what is saved where most of the vocabulary does not occur."""
    return ["## Short texts", "", *embedding.section(stored), ""]


def _methods(account: study.Account) -> list[str]:
    """Operations of every method's own runs, of what they share, and of all."""
    plan = account.plan
    of_row: dict[str, list[float]] = defaultdict(list)
    for cell in plan.cells:
        of_row[cell.row].append(account.run(plan.runs[cell.run]))
    asked = {cell.run for cell in plan.cells}
    lines = {METHODS.get(name).title: of_row[name] for name in _ordered()}
    lines["teachers and assistants, shared"] = [
        account.run(spec) for run, spec in plan.runs.items() if run not in asked
    ]
    lines["all"] = [account.run(spec) for spec in plan.runs.values()]
    kd = sum(of_row["kd"])
    rows = [
        [title, str(len(runs)), f"{max(runs) / PETA:.0f}", f"{sum(runs) / EXA:.2f}", f"{sum(runs) / kd:.2f}"]
        for title, runs in lines.items()
    ]
    lengths = ", ".join(f"{TASKS.get(task).title} {length:.0f}" for task, length in account.lengths.items())
    about = (
        f"Preset `bert-6l`, by arithmetic: all methods on all tasks with {len(study.RATES)} learning rates and "
        f"{len(parse_seeds(study.SEEDS))} seeds, {EPOCHS} epochs. Operations are those of the matrix products: two for "
        f"every weight and token, and those of attention; a backward pass has twice those of a forward pass, a "
        f"forward-mode pass three times; of the last layer only keys and values are made of all tokens. Rows are those "
        f"of the published training sets; mean tokens of a row, without "
        f"padding: {lengths}. Passes of each network a row are counted on runs of kdbench; evaluations are in."
    )
    return ["## Operations", "", about, "", *_table(["", "runs", "PFLOP, longest run", "EFLOP, all", "× KD"], rows)]


def _sharing(account: study.Account) -> list[str]:
    """With and without what kdbench shares."""
    plan = account.plan
    shared = sum(map(account.run, plan.runs.values()))
    looked_up = sum(account.run(spec, looked_up=False) for spec in plan.runs.values())
    alone = sum(account.alone(cell.run) for cell in plan.cells)
    rows = [
        [
            "every run by itself: its own teachers, which are asked in every step",
            f"{alone / EXA:.1f}",
            f"{alone / shared:.2f}",
        ],
        ["teachers trained once for all that need them", f"{looked_up / EXA:.1f}", f"{looked_up / shared:.2f}"],
        ["and asked once for each row by each run, then looked up", f"{shared / EXA:.1f}", "1.00"],
    ]
    about = (
        "What a frozen teacher says is kept on disk by its weights and the rows, so that runs which share a teacher "
        "share that pass too; the last line counts it for each run all the same."
    )
    return ["## What sharing saves", "", about, "", *_table(["", "EFLOP", "×"], rows)]


def _hours(account: study.Account) -> list[str]:
    """On one GPU and on several."""
    total = sum(map(account.run, account.plan.runs.values()))
    longest = max(map(account.chain, account.plan.runs))
    rows = [
        [f"{sustained} TFLOP/s", *(f"{max(total / gpus, longest) / sustained / TERA / HOUR:.0f}" for gpus in GPUS)]
        for sustained in SUSTAINED
    ]
    about = (
        "The same operations at what a GPU may sustain on batches of 32 short rows in bfloat16; that rate is an "
        "assumption, not a measurement. A current data-centre GPU has 300 to 1,000 TFLOP/s on large matrices. On "
        "several GPUs the time is each one's share, or that of the longest chain of runs that need one another."
    )
    return ["## Hours", "", about, "", *_table(["sustained by each", *(f"{n} GPU{'s' * (n > 1)}" for n in GPUS)], rows)]
