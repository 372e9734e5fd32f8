"""Numbers and sentences of docs/lgtm.md beside the kept results, read without the project's own statistics."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import chain
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from kdbench.results.archive.compression import read_predictions, read_series

ROOT = Path(__file__).resolve().parent.parent
PAGE = " ".join((ROOT / "docs" / "lgtm.md").read_text(encoding="utf-8").split())
PRINTED = {"influence_sign": 1, "influence_coef": 1.0}  # among the options of LGTM as printed
TASKS = ("trec", "tweeteval-emotion", "banking77", "sst2")  # of the kept study


@cache
def runs(name: str) -> list[dict[str, Any]]:
    """The finished runs of a kept study."""
    lines = (ROOT / "results" / f"minilm-{name}" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    return [run for run in map(json.loads, lines) if run["result"]]


def of(name: str, method: str, task: str, **options: Any) -> list[dict[str, Any]]:
    """The runs of a method on a task with these options."""
    return [
        run for run in runs(name)
        if (run["spec"]["method"], run["spec"]["task"]) == (method, task)
        and options.items() <= run["spec"]["options"].items()
    ]  # fmt: skip


@cache
def series(name: str) -> dict[str, list[dict[str, Any]]]:
    file = ROOT / "results" / f"minilm-{name}" / "series.jsonl.xz"
    return {run: [json.loads(row) for row in rows] for run, rows in read_series(file)}


def seeds(found: list[dict[str, Any]]) -> int:
    return len({run["spec"]["seed"] for run in found})


def test_the_ratio_of_norms_as_printed() -> None:
    """Its highest value in the first epoch, run by run, and its median afterwards."""
    high, later = [], []
    for name, task in [*(("study", task) for task in TASKS), ("influence", "mrpc")]:
        for run in of(name, "lgtm", task, **PRINTED):
            at = [
                (row["epoch"], float(np.ravel(row["value"])[0]))
                for row in series(name)[run["id"]] if row["key"] == "influence_ratio"
            ]  # fmt: skip
            high.append(max(ratio for epoch, ratio in at if epoch <= 1))
            later.append(median(ratio for epoch, ratio in at if epoch > 1))
    assert f"rises to {min(high):.0f} to {max(high):.0f} in the first epoch" in PAGE
    assert f"the median of each run is {min(later):.1f} to {max(later):.1f} afterwards" in PAGE


def test_how_many_seeds_and_rows_the_tables_are_of() -> None:
    words = {2: "two", 3: "three", 5: "five"}
    numbers = [seeds(of("study", "lgtm", task, **PRINTED)) for task in TASKS]
    assert f"{words[min(numbers)]} to {words[max(numbers)]} seeds each" in PAGE
    (drawn,) = {run["spec"]["training"]["train_rows"] for run in of("study", "lgtm", "sst2")}
    assert f"SST-2 ({drawn:,} rows of train)" in PAGE
    mrpc = of("influence", "lgtm", "mrpc", **PRINTED)
    assert f"(`studies/influence.toml`) on MRPC, {words[seeds(mrpc)]} seeds" in PAGE
    at = {
        (task, name): seeds(of(name, "prokt", task))
        for task in ("trec", "banking77")
        for name in ("study", "zero-heads")
    }
    trec, banking = ([at[task, name] for name in ("study", "zero-heads")] for task in ("trec", "banking77"))
    assert (
        f"TREC has {trec[0]} seeds, from zeros {trec[1]}; Banking77 has {banking[0]}, from zeros {banking[1]}:" in PAGE
    )


def test_what_was_trained_from_zeros() -> None:
    """The table of the section about MRPC was; of the two about measurements the second, whose runs were not kept."""
    zeros = {
        name: {run["spec"]["options"]["zero_heads"] for run in runs(name) if "zero_heads" in run["spec"]["options"]}
        for name in ("study", "influence", "mrpc", "zero-heads")
    }
    assert zeros == {"study": {False}, "influence": {False}, "mrpc": {True}, "zero-heads": {True}}
    said = "the second one of [What was measured](#what-was-measured) were measured from zeros."
    assert f"The table of [What goes wrong at 1](#what-goes-wrong-at-1) and {said}" in PAGE


def test_rows_of_lgtm_and_prokt_share_their_rates_on_emotion() -> None:
    rates = {
        run["spec"]["training"]["student_lr"]
        for method in ("lgtm", "prokt") for run in of("study", method, "tweeteval-emotion")
    }  # fmt: skip
    assert rates == {1e-4}
    assert "on Emotion it is 1e-4 for both" in PAGE


def test_what_the_answer_paraphrase_scores() -> None:
    answers = read_predictions(ROOT / "results" / "minilm-influence" / "predictions.safetensors.xz")
    share = float(np.mean(next(iter(answers.values()))[0].labels == 1))
    score = fmean((share, 2 * share / (1 + share)))  # accuracy; F1 with a recall of 1
    assert f"which has {100 * score:.1f} on the reported rows" in PAGE


def test_from_zeros_rare_classes_are_missed_and_learning_is_slow() -> None:
    answers = read_predictions(ROOT / "results" / "minilm-zero-heads" / "predictions.safetensors.xz")
    for method in ("lgtm", "prokt"):
        found = [answers[run["id"]][0] for run in of("zero-heads", method, "trec")]
        rarest = int(np.bincount(found[0].labels).argmin())
        assert sorted(rarest in one.classes for one in found) == [False, False, True]
    assert "two of three seeds never predict TREC's rarest class, for either method" in PAGE
    ends = []
    for name in ("zero-heads", "study"):
        (run,) = (
            run for run in of(name, "lgtm", "banking77", influence_sign=-1, influence="jvp") if run["spec"]["seed"] == 0
        )
        rows = series(name)[run["id"]]
        ends += [r["value"] for r in rows if (r["epoch"], r["split"], r["key"]) == (1.0, "test", "accuracy")]
    slow, fast = (f"{100 * end:.1f}" for end in ends)
    assert f"LGTM gets {slow} % of the test set right from zeros and {fast} % otherwise (seed 0)." in PAGE


def test_what_is_said_of_the_measurements_that_chose_the_default() -> None:
    """Their runs were not kept; the sentences are those of their table."""
    rows = {
        name: [[float(number) for number in cell.split(", ")] for cell in cells.split(" | ")]
        for name, cells in re.findall(r"\| `(none|student_lr)`(?: \(the default\))? \| ((?:[\d., ]+ \| ?)+)", PAGE)
        for cells in [cells.rstrip(" |")]
    }
    apart = [[a - b for a, b in zip(*both, strict=True)] for both in zip(rows["student_lr"], rows["none"], strict=True)]
    assert len(apart) == 8
    teachers, students = [*chain(*apart[::2])], [*chain(*apart[1::2])]
    assert f"within {max(map(abs, teachers)):.1f} points on all four tasks" in PAGE
    assert min(teachers) < 0 < max(teachers)
    assert min(students) < 0 < max(students)
    assert "go both ways, for teachers and for students" in PAGE
