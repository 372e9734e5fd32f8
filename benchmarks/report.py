"""From what was measured to tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import effects, embedding, products, side_by_side, whole_study
from benchmarks.suites import CONTESTANTS, PATCHES, SUITES, Table
from benchmarks.work import BATCH, EPOCHS, MAX_LENGTH, PRODUCTS, Precision
from kdbench.core.atomic_files import read_json, write_text
from kdbench.core.formatting import count
from kdbench.models import matmul_precision

PADDING = {"fixed": "to 128", "dynamic": "to the longest of the batch", "bucketed": "rows of like length together"}
Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Hold the median over the rounds, and its range."""

    middle: float
    least: float
    most: float

    def text(self, digits: int) -> str:
        return f"{self.middle:.{digits}f} ({self.least:.{digits}f}-{self.most:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def per_step(found: Measured, *, whole: bool = False) -> float:
    """Seconds of a step; of a pass of the teacher that is made once a sixth is counted, or the `whole`."""
    return float(found["seconds"] + found["once"] * (1 if whole else 1 / EPOCHS)) / int(found["steps"])


def write(folder: Path) -> Path:
    """speed.md, of all suites that were measured into the folder."""
    parts = [_suite(folder / f"{name}.json", name) for name in SUITES if (folder / f"{name}.json").exists()]
    sections = {
        "products": _products,
        "harness": _harness,
        "embedding": _embedding,
        "effects": _effects,
        "side-by-side": _side_by_side,
        "whole-study": _whole_study,
    }
    for name, section in sections.items():
        file = folder / f"{name}.json"
        parts += [section(read_json(file))] if file.exists() else []
    write_text(folder / "speed.md", "\n".join(["# Benchmark", "", *parts]))
    return folder / "speed.md"


def _suite(file: Path, name: str) -> str:
    stored, suite = read_json(file), SUITES[name]
    lines = [f"## {suite.title}", "", _circumstances(stored), ""]
    for table in suite.tables:
        lines += _table(table, stored, suite.unit)
    return "\n".join(lines)


def _circumstances(stored: Mapping[str, Any]) -> str:
    """Data, sizes and machine, in a paragraph."""
    work, machine = stored["work"], stored["environment"]
    rounds = count(1 + max(found["round"] for found in stored["measured"]), "interleaved round")
    data = "MRPC" if work["glue_dir"] else "made sentence pairs in the shape of MRPC (no --glue-dir was given)"
    load = max(found["load"] for found in stored["measured"])
    return (
        f"{data}, {stored['rows']} training rows, batches of {BATCH}, at most {MAX_LENGTH} tokens; `{work['teacher']}` "
        f"teaches `{work['student']}`. {rounds} of {work['steps']} steps after {work['warmup']} to "
        f"warm up, each contestant in a process of its own: the median, and the range in brackets. "
        f"{machine['cpu']}, {work['threads']} threads; torch {machine['packages']['torch']}, transformers "
        f"{machine['packages']['transformers']}; commit {machine['commit']}; load of the machine before a measurement "
        f"at most {load:.1f}, of which the measurement before it is {work['threads']}."
    )


def _table(table: Table, stored: Mapping[str, Any], unit: str) -> list[str]:
    """Write a heading, the rows, and what is to be known of them."""
    by_name: dict[str, dict[int, Measured]] = {}
    for found in stored["measured"]:
        by_name.setdefault(found["contestant"], {})[found["round"]] = found
    rows = [name for name in table.rows if name in by_name]
    once = any(found["once"] for name in rows for found in by_name[name].values())
    heads = ["", "padding", "product", f"s for {unit}", *(["s, teacher counted in full"] if once else []),
             "s/epoch", "times as fast", "peak MB"]  # fmt: skip
    lines = [f"### {table.title}", "", "|".join(["", *heads, ""]), "|".join(["", *["---"] * len(heads), ""])]
    lines += [_row(name, by_name[name], by_name[table.baseline], stored["rows"], once) for name in rows]
    notes = [f"Times as fast: than {CONTESTANTS[table.baseline].title}, round by round."]
    if once:
        notes.append(
            f"A teacher that is asked once for all rows is spread over the {EPOCHS} epochs of a training; counted in "
            f"full, it is as if there were only one. An epoch is reckoned from the step."
        )
    packages = dict.fromkeys(CONTESTANTS[name].package for name in rows)
    if patches := [PATCHES[package] for package in packages if package in PATCHES]:
        notes.append(f"Patched: {'; '.join(patches)}.")
    if table.overhead and all(name in by_name for name in table.overhead):
        notes.append(_overhead(*(by_name[name] for name in table.overhead)))
    return [*lines, "", " ".join(notes), ""]


def _overhead(bare: Mapping[int, Measured], run: Mapping[int, Measured]) -> str:
    """Say how much the runner adds to the loop by hand; the teacher's pass, which both make, is left out."""
    both = bare.keys() & run.keys()
    more = spread([100 * (run[r]["seconds"] / bare[r]["seconds"] - 1) for r in sorted(both)])
    told = f"The runner adds {more.middle:+.1f} % ({more.least:+.1f} to {more.most:+.1f}) to the loop by hand"
    around = [100 * (1 - found["inside"] / found["seconds"]) for found in run.values() if found.get("inside")]
    if not around:
        return f"{told}."
    return f"{told}, from process to process; within one, {median(around):.1f} % of its time is outside of KD's steps."


def _row(name: str, found: Mapping[int, Measured], baseline: Mapping[int, Measured], rows: int, once: bool) -> str:
    contestant = CONTESTANTS[name]
    step = spread([per_step(m) for m in found.values()])
    speed = spread([per_step(baseline[r]) / per_step(m) for r, m in found.items() if r in baseline])
    whole = [spread([per_step(m, whole=True) for m in found.values()]).text(3)] if once else []
    product = _product(contestant.how.precision, found)
    cells = [
        contestant.title, PADDING[contestant.how.padding], product, step.text(3), *whole,
        f"{step.middle * -(-rows // BATCH):.0f}", speed.text(2),
        f"{median(m['peak'] for m in found.values()) / 1e6:.0f}",
    ]  # fmt: skip
    return "|".join(["", *cells, ""])


def _product(precision: Precision, found: Mapping[int, Measured]) -> str:
    """Name the product that was taken; that of `fp32-fast` is the plain one where the fast one is less exact."""
    fell_back = precision == "fp32-fast" and any(m.get("setting") == matmul_precision.PLAIN for m in found.values())
    return f"{PRODUCTS['fp32']} (the fast one is less exact here)" if fell_back else PRODUCTS[precision]


def _harness(stored: Mapping[str, Any]) -> str:
    lines = ["## Around the training", "", "| | seconds | goal | of processors | peak MB | rounds |", f"|{'---|' * 6}"]
    for found in stored["measured"]:
        seconds, cpu = (spread(found[key]).text(2) for key in ("seconds", "cpu"))
        goal, peak = "" if found["goal"] is None else f"{found['goal']:g}", f"{found['peak'] / 1e6:.0f}"
        lines.append(" | ".join([f"| {found['title']}", seconds, goal, cpu, peak, f"{len(found['seconds'])} |"]))
    return "\n".join([*lines, ""])


def _embedding(stored: Mapping[str, Any]) -> str:
    return "\n".join(["## Only embedding rows that occur", "", *embedding.section(stored), ""])


def _side_by_side(stored: Mapping[str, Any]) -> str:
    here, work = stored["environment"], stored["work"]
    rounds = count(1 + max(found["round"] for found in stored["measured"]), "interleaved round")
    about = (
        f"KD with preset `minilm`: `{work['teacher']}` teaches `{work['student']}` TREC in batches of {BATCH}, on "
        f"{here['cpu']} with {here['cores']} cores. {rounds} of {work['steps']} steps a run: rows a "
        f"second of all runs together, and how many times those of one run with one thread, with the range."
    )
    return "\n".join(["## Runs side by side", "", about, "", *side_by_side.table(stored["measured"]), ""])


def _whole_study(stored: Mapping[str, Any]) -> str:
    return "\n".join(["## A whole study", "", *whole_study.section(stored)])


def _effects(stored: Mapping[str, Any]) -> str:
    title = "## What the faster settings do to results"
    about = (
        f"`{stored['work']['student']}` fine-tuned on {effects.ROWS} rows of SST-2 for {effects.EPOCHS} epochs, at the "
        f"end of the training, on the validation set. Differences from the first row, seed by seed: their mean and its "
        f"interval of {effects.SURE:.0%} by Student's t. An interval that holds 0 is no proof that there is no effect: "
        f"it says how large one could be."
    )
    return "\n".join([title, "", about, "", *effects.table(stored["measured"]), ""])


def _products(stored: Mapping[str, Any]) -> str:
    about = (
        f"[{products.ROWS}, {products.NARROW}] times [{products.NARROW}, {products.WIDE}], "
        f"{stored['work']['threads']} threads. The error is a share of the largest element."
    )
    return "\n".join(["## The matrix product alone", "", about, "", *products.table(stored["measured"]), ""])
