"""Measure a whole study on TREC, from nothing to the table, beside the same runs made by plain scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contestants.plain_script import METHODS, TASK, Script
from benchmarks.harness.clock import Took, kdbench, python
from benchmarks.made_rows import made_words, write_trec
from benchmarks.work import BATCH, Work
from kdbench.core.environment import core_count
from kdbench.core.formatting import count
from kdbench.core.spec import RunSpec
from kdbench.models import build, reference
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.results.store import Store

GOAL = 4.0  # times as fast as the scripts
EPOCHS = 4  # preset minilm
TRAINED_ON = 0.9  # of the rows that a run is given; the others select


def play(work: Work, steps: int) -> Iterator[dict[str, Any]]:
    """Make the study with kdbench and with scripts, run by run; both begin with nothing but the data.

    Args:
        steps: of every run at most, in one epoch; 0 trains on all rows for all epochs.

    Yields:
        the seconds of kdbench's whole command, and how many runs it trains at once; then of every run its id, method,
        steps, and seconds with kdbench and with a script (None where there is no script).
    """
    with TemporaryDirectory() as made:
        folder = Path(made)
        data_dir = work.data_dir or str(write_trec(folder / "data", made_words(work)))
        limits = {"epochs": 1, "train_rows": round(steps * BATCH / TRAINED_ON)} if steps else {}
        layer: dict[str, Any] = {
            "preset": "minilm", "methods": "all", "tasks": TASK, "seeds": str(work.seed), "data_dir": data_dir,
            "student": work.student, "teacher": work.teacher, **limits,
        }  # fmt: skip
        plan, jobs = make_plan(assemble_config(layer, folder)), core_count()
        sets = [f"{key}={value}" for key, value in layer.items() if key in ("student", "teacher", *limits)]
        took = kdbench(
            "run", "--preset", "minilm", "--methods", "all", "--tasks", TASK, "--seeds", str(work.seed), "--data-dir",
            data_dir, "--yes", *(part for text in sets for part in ("--set", text)), folder=folder,
        )  # fmt: skip
        yield {
            "command": took.seconds, "cpu": took.cpu, "jobs": jobs, "limit": steps, "made_data": not work.data_dir,
            "threads": work.threads,
        }  # fmt: skip
        yield from _runs(plan, Store(folder / "results"), folder, data_dir, jobs, work.threads)


def _runs(plan: Plan, store: Store, folder: Path, data_dir: str, jobs: int, threads: int) -> Iterator[dict[str, Any]]:
    """Make each run that a script can make, in the plan's order, and put its seconds beside kdbench's."""
    for run, spec in plan.runs.items():
        cost = store.run(run).cost()
        started, ended = (store.run(run).path / name for name in ("spec.json", "checksums.json"))
        whole = ended.stat().st_mtime - started.stat().st_mtime
        other = None
        if spec.method in METHODS:
            other = _script(_of(plan, spec, folder, data_dir, cost["steps"]), folder, threads)
        yield {
            "run": run, "method": spec.method, "steps": cost["steps"], "training": cost["train_seconds"],
            "kdbench": whole / jobs, "other": other and other.seconds, "other_cpu": other and other.cpu,
        }  # fmt: skip


def _of(plan: Plan, spec: RunSpec, folder: Path, data_dir: str, steps: int) -> Script:
    """Describe a run for a script: networks fresh from pre-training, and of frozen teachers those of their scripts."""
    teacher = next(iter(spec.needs.values()), "")
    taught = str(folder / "scripts" / teacher) if teacher else ""
    if spec.method == "lgtm":
        assert spec.teacher is not None, "its teacher is trained along"
        taught = _fresh(spec.teacher.name, folder)
    out = folder / "scripts" / spec.id
    return Script(
        spec.method, _fresh(spec.student.name, folder), taught, data_dir, steps, spec.training.epochs, str(out)
    )


def _fresh(name: str, folder: Path) -> str:
    """Return a folder with a network fresh from pre-training, which a script can load; not counted for the scripts."""
    place = folder / "fresh" / name.replace("/", "_")
    if not place.exists():
        from kdbench.data.task_registry import TASKS

        ref = reference.resolve(name)
        build.quiet()
        build.build(ref, TASKS.get(TASK).labels, "sdpa").save_pretrained(place)
        build.tokenizer(ref).save_pretrained(place)
    return str(place)


def _script(script: Script, folder: Path, threads: int) -> Took:
    """Measure a script's process.

    Raises:
        RuntimeError: it failed.
    """
    file = folder / "script.json"
    script.write(file)
    variables = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(threads)}
    return python(
        "-m", "benchmarks.contestants.plain_script", str(file), folder=folder, name=f"the script of {script.method}",
        variables=variables,
    )  # fmt: skip


def section(stored: Mapping[str, Any]) -> list[str]:
    """Return the lines of a paragraph, the table of runs, and the totals."""
    total, *runs = stored["measured"]
    here = stored["environment"]
    limit = f"one epoch of at most {total['limit']} steps a run" if total["limit"] else f"{EPOCHS} epochs"
    data = "made questions of TREC's lengths" if total["made_data"] else "TREC"
    about = (
        f"Preset `minilm` on {data}, all methods of the paper, one seed, {limit} on both sides; {here['cpu']}, "
        f"{here['cores']} cores, torch {here['packages']['torch']}, transformers {here['packages']['transformers']}. "
        f"kdbench is the command `kdbench run`, which trains {total['jobs']} runs at once; of a run that is its time "
        f"divided by {total['jobs']}. The scripts are run one after the other with "
        f"{count(total['threads'], 'thread')}: a subclass of Hugging "
        f"Face's Trainer with batches padded to their longest row, for LGTM the released algorithm padded to 128. All "
        f"of it is counted: imports, tokenising, loading, evaluation, saving."
    )
    lines = ["| run | steps | s, kdbench | s, script | times as fast |", f"|{'---|' * 5}"]
    for found in runs:
        other = found["other"]
        beside = ["", ""] if other is None else [f"{other:.1f}", f"{other / found['kdbench']:.1f}"]
        lines.append("|".join(["", f"`{found['run']}`", str(found["steps"]), f"{found['kdbench']:.1f}", *beside, ""]))
    return [about, "", *lines, "", *_totals(runs, total)]


def _totals(runs: Sequence[Mapping[str, Any]], total: Mapping[str, Any]) -> list[str]:
    both = [found for found in runs if found["other"] is not None]
    others = sum(found["other"] for found in both)
    own = sum(found["kdbench"] for found in both)
    rest = max(0.0, total["command"] - sum(found["kdbench"] for found in runs))
    processors = sum(found["other_cpu"] for found in both)
    return [
        f"From nothing to the table kdbench takes {total['command']:.0f} s for all {len(runs)} runs. The {len(both)} "
        f"runs that scripts make too take {others:.0f} s with scripts and {own + rest:.0f} s with kdbench, start and "
        f"table and idle processes included: {others / (own + rest):.1f} times as fast (goal: {GOAL:g}). "
        f"In seconds of processors, which other programs on the machine disturb less, all {len(runs)} runs take "
        f"{total['cpu']:.0f} with kdbench, and the {len(both)} runs {processors:.0f} with scripts.",
        "",
    ]
