"""The other sentences and tables of docs/study.md, on results worked out by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import stats

from kdbench.analysis.cost import Cost
from kdbench.analysis.study_page import facts, layers, paper, questions, scores
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.convergence import convergence_table
from kdbench.analysis.study_page.cost import CostBesideScore
from kdbench.analysis.study_page.page import other_depths, ranks, study_page
from kdbench.core.atomic_files import write_json
from kdbench.core.errors import UserError
from kdbench.core.spec import ModelRef
from kdbench.reporting.html.chart_data import cost_chart
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.drawn import PER_EPOCH, finish
from tests.analysis.exact_results import (
    ITEMS,
    NEAR,
    READINGS,
    answer,
    commands,
    compared,
    contrasts,
    shifted,
    study,
    words_of,
)
from tests.analysis.made import COST, STUDY, Made, spec, teacher
from tests.test_documentation import parse


def numbers(text: str) -> list[float]:
    """The signed numbers of a text."""
    return [float(number) for number in re.findall(r"[-+]\d+\.\d", text)]


def test_share_of_the_lead(tmp_path: Path) -> None:
    """60, 75, 80 per cent: three quarters. The teacher's lead is that of `kdbench compare`."""
    rows = {"finetune": shifted(-10), "kd": shifted(5), "pkd": shifted(-10)}
    found = contrasts(tmp_path, rows, shifted(10))
    said = scores.lead_words(found, "finetune", "kd")
    assert said.startswith("Teacher minus fine-tuned student: +20.0 points (95 % interval ")
    # to a digit: the page and the command draw items of their own
    own, told = (numbers(text) for text in (said, words_of(compared(tmp_path, "teacher", "finetune"))))
    assert own == pytest.approx(told, abs=0.15)
    shares = scores.gap_shares(found, "finetune")
    assert shares["kd"][0].value == pytest.approx(0.75)
    assert shares["pkd"][0].value == pytest.approx(0.0, abs=1e-9)
    low, high = shares["kd"][0].interval or (0.0, 0.0)
    assert low < 0.75 < high
    first, second = scores.share_table(found, "finetune").splitlines()[2:4]
    assert first == f"| KD | 75 | {100 * low:.0f} to {100 * high:.0f} | RTE, QNLI |"
    assert second.startswith("| PKD | 0 | ")


@pytest.mark.parametrize("lead", [0, -20])
def test_no_share_of_a_lead_that_is_none(tmp_path: Path, lead: int) -> None:
    """A teacher as good as fine-tuning ended in an error, a worse one gave the worst rows the largest shares."""
    rows = {"finetune": NEAR, "kd": shifted(-10), "pkd": shifted(5)}
    found = contrasts(tmp_path, rows, shifted(lead) if lead else NEAR)
    assert scores.share_table(found, "finetune") == scores.NO_LEAD


def test_ranks_are_those_of_the_scores(tmp_path: Path) -> None:
    found = contrasts(tmp_path / "three", {"kd": NEAR, "skd": shifted(5), "dist": shifted(22)})
    said, table = ranks(found)
    # q = 2.343 for three rows; sqrt(3 * 4 / (6 * 2)) = 1 (Demšar 2006, Table 5); mean ranks are at most 2 apart
    assert said.startswith(
        "Nemenyi's test can tell no pair apart on 2 tasks: its critical difference 2.34 is larger than 2, the most "
        "that mean ranks of 3 rows can differ. It needs at least 3 tasks"
    )
    # q = 1.960 for two rows; on four tasks the difference is 0.98
    few = dict.fromkeys(("rte", "qnli", "mrpc", "sst2"), (70.0, 71.0))
    more = dict.fromkeys(few, (80.0, 81.0))
    said, _ = ranks(contrasts(tmp_path / "two", {"kd": few, "skd": more}))
    assert said.startswith(
        "By Nemenyi's test pairs differ whose mean ranks are more than the critical difference 0.98 apart (2 rows, 4 "
        "tasks; Demšar 2006): 1 of 1."
    )
    said, table = ranks(found)
    # the second task repeats the order of the first, which chance does once in 3! times
    assert said.endswith("Friedman's test that no row differs has p = 0.167 (exact).")
    assert [line.split(" | ")[:2] for line in table.splitlines()[2:5]] == [
        ["| DIST", "1.00"], ["| SKD", "2.00"], ["| KD", "3.00"],
    ]  # fmt: skip


def test_order_and_claims_beside_the_paper(tmp_path: Path) -> None:
    """Paper: LGTM 83.4, DML 82.2, PKD 81.7, KD 81.6, SKD 81.0. Here PKD is above DML, and SKD above LGTM."""
    order = {"lgtm": 20, "pkd": 12, "dml": 7, "kd": 0, "skd": 28}
    found = contrasts(tmp_path, {row: shifted(points) for row, points in order.items()})
    tau = stats.kendalltau([83.4, 81.7, 82.2, 81.6, 81.0], list(order.values()))
    assert tau.statistic == pytest.approx((5 - 5) / 10)  # of ten pairs, SKD's four and DML with PKD are turned round
    text = paper.order_words(found)
    assert "(5 methods) is +0.00; 1 is the same order" in text
    assert "\n- Task by task: +0.00 on RTE, +0.00 on QNLI.\n- Over all tasks: +0.00 with seed 0, +0.00 with " in text
    assert text.endswith("On average over the tasks, 10 of 10 pairs of these methods are separable.")
    text = paper.claim_words(found)
    assert text.startswith(
        "The paper claims that LGTM is better than each of 10 other methods. Here it is kdbench's default form, "
        "neither as printed nor as released ([LGTM](lgtm.md)). 4 methods can be compared:"
    )
    assert "\n- The claim is contradicted here for 1: SKD." in text
    assert "\n- The claim holds here for 3: KD, PKD, DML." in text
    assert "lies outside the 95 % interval here for 4 of 4" in text
    rows = {line.split(" | ")[0]: line for line in paper.claim_table(found).splitlines()}
    assert rows["| KD"].split(" | ")[1:3] == ["+1.8", "+20.0"]
    assert rows["| SKD"].split(" | ")[1:3] == ["+2.4", "-8.0"]
    assert rows["| SKD"].endswith("is contradicted here |")


def test_an_order_of_rows_that_are_not_separable_is_hardly_known(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {row: shifted(i / 2) for i, row in enumerate(("lgtm", "pkd", "dml", "kd"))})
    assert paper.order_words(found).endswith(
        "0 of 6 pairs of these methods are separable, so that their order here is hardly known."
    )


def test_tau_of_orders() -> None:
    assert paper.rank_correlation([1, 2, 3, 4, 5, 6], [2, 3, 5, 7, 11, 13]) == pytest.approx(1)
    assert paper.rank_correlation([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert paper.rank_correlation([1, 2, 3, 4], [5, 5, 5, 5]) == 0.0


def test_cost_beside_score(tmp_path: Path) -> None:
    made = study(tmp_path, {"kd": NEAR, "lgtm": shifted(5)})
    for run_id, run in made.runs.items():
        seconds = 600.0 if run.method == "lgtm" else 200.0
        write_json(made.store.run(run_id).path / "cost.json", {**COST, "train_seconds": seconds})
    found = StudyContrasts(studies(made.store)[0])
    cost = CostBesideScore(found, "kd")
    assert cost.words() == "LGTM trains longest, 3.0 times as long as KD."
    # two tasks of 200 and of 600 seconds
    rows = [line.split(" | ") for line in cost.table().splitlines()[2:4]]
    assert [row[:4] for row in rows] == [["| KD", "70.0", "6.7", "1.0"], ["| LGTM", "75.0", "20.0", "3.0"]]
    assert [row[5:] for row in rows] == [["2.0/0/1.0", "0.25/0/0 |"]] * 2
    assert (
        facts.time_words(found)
        == "The recorded times of 12 finished runs add up to 80 min, those of the teachers to 0 s."
    )


@pytest.mark.parametrize(
    ("seconds", "spent", "said"),
    [
        ((100.0, 199.0), (95.0, 190.0), ""),
        ((100.0, 201.0), (95.0, 95.0), "seeds of one row took 100 to 201 s."),
        ((100.0, 100.0), (99.0, 49.0), "runs had 49% to 99% of their threads."),
        ((100.0, 100.0), (99.0, None), ""),  # a record from before there was this number
        ((10.0, 29.0), (9.0, 9.0), ""),  # too short to tell
    ],
)
def test_times_of_a_busy_machine(
    seconds: tuple[float, float], spent: tuple[float, float | None], said: str, tmp_path: Path
) -> None:
    made = study(tmp_path, {"kd": {"rte": (70.0, 71.0)}, "lgtm": {"rte": (70.0, 71.0)}})
    for run_id, run in made.runs.items():
        cost = {**COST, "train_seconds": seconds[run.seed], "cpu_seconds": spent[run.seed]}
        write_json(made.store.run(run_id).path / "cost.json", cost)
    (found,) = studies(made.store)
    cost = CostBesideScore(StudyContrasts(found), "kd")
    warning = f"The times cannot be compared, because the machine had other work: {said}" if said else ""
    table = Cost().build(found)
    assert table is not None
    assert cost.warning == warning
    assert facts.time_words(StudyContrasts(found)).endswith(warning or "to 0 s.")
    assert (warning in table.notes) == bool(said)
    assert (cost.ratio("lgtm") is None) == bool(said)
    assert not said or cost.words() == warning
    assert ("Time" in cost.table()) != bool(said)
    chart = cost_chart("chart", found, found.tasks)  # of the report
    assert chart is not None
    assert chart["about"].endswith(warning or "of the score. Time depends on the machine.")


def test_what_was_trained(tmp_path: Path) -> None:
    found = contrasts(tmp_path / "study", {"kd": NEAR, "dist": NEAR})
    row = next(line for line in facts.trained_table(found).splitlines() if line.startswith("| RTE"))
    assert row.split(" | ")[2:11] == ["–", "2", "5e-05", "3e-05", "6", "32", "fp32", "2", "0, 1, 2"]


def test_the_hours_of_each_group_of_methods(tmp_path: Path) -> None:
    """A run counts once, a teacher apart; a method of another group, a variant, a run that is not done."""
    made = Made(Store(tmp_path))
    parent = answer(made, made.need(teacher("rte", 0)), 90.0)
    for row in ("kd", "dist", "dkd", "prokt_lgtm"):
        answer(made, made.ask(spec(row, "rte", 0, needs={"teacher": parent}), row), 70.0)
    made.ask(spec("pkd", "rte", 0, needs={"teacher": parent}))
    made.write()
    for run_id in made.runs:
        write_json(made.store.run(run_id).path / "cost.json", {**COST, "train_seconds": 3600.0})
    (study,), (tuned,) = studies(made.store), studies(made.store)
    table = facts.hours_table(study, [study]).splitlines()
    assert table[0] == "|  | Needed first | Paper | Logits | Variants | All | Runs done |"
    assert table[2:4] == ["| RTE | 1.0 | 3.0 | 1.0 | 1.0 | 6.0 | 5 of 6 |", ""]
    assert facts.hours_table(study, [study], tuned).splitlines()[3].startswith("| RTE, tuning |")


def test_runs_without_predictions_are_not_compared(tmp_path: Path) -> None:
    made = study(tmp_path, {"kd": NEAR, "dist": NEAR})
    for run_id in made.runs:
        made.store.run(run_id).predictions.unlink()
    found = StudyContrasts(studies(made.store)[0])
    assert questions.beats_kd(found) == "Not known yet. The runs kept no predictions that can be compared."


def test_pairs_with_other_seeds_are_compared_on_those_in_common(tmp_path: Path) -> None:
    rows = {"kd": {"rte": (70.0, 71.0, 69.0)}, "dist": {"rte": (90.0, 91.0)}, "pkd": {"rte": (90.0,)}}
    found = contrasts(tmp_path, rows)
    apart, before, known = found.pairs_apart("rte")
    assert known == 1
    assert apart == ([("dist", "kd")] if float(compared(tmp_path, "kd", "dist", "rte")["p"]) < 0.05 else [])
    assert before == len(apart)


STARTS = {"s-net:1+3": "fp/s", "s-net:0+1": "fp/s:0+1", "s-net:5": "fp/s:5"}


def started_from(made: Made, name: str, score: float, seeds: int = 2) -> None:
    """Add KD on RTE with a student that starts from layers, a point more with every seed, in a sweep of its own."""
    other = Made(made.store, study={**STUDY, "student": name})
    for seed in range(seeds):
        student = ModelRef(name=name, fingerprint=STARTS[name])
        answer(other, other.ask(spec("kd", "rte", seed, student=student)), score + seed)
    write_sweep(other, name, {"student": STARTS[name], "teacher": "fp/t"})


def test_the_students_layers(tmp_path: Path) -> None:
    """Starts are compared on their common seeds; a student of another depth is in a table of its own."""
    made = Made(Store(tmp_path))
    started_from(made, "s-net:1+3", 70.0, seeds=4)  # 70.5 with two seeds, 71.5 with all
    (only,) = studies(made.store)
    assert layers.layers_section(only, [only])[0].startswith("Only one initial student was trained, ")
    assert other_depths(only, [only]) == [
        "No student of another depth was trained. To train one of two layers: `make study PART=gap`."
    ]
    started_from(made, "s-net:0+1", 60.0)
    started_from(made, "s-net:5", 50.0)
    every = studies(made.store)
    assert len(every) == 3
    said, table = layers.layers_section(only, every)
    assert said == "The means of KD on RTE lie farthest apart: 10.0 points between its starts."
    assert "| KD | RTE | 60.5 (2) | 70.5 (2) | 10.0 |" in table
    (scored,) = other_depths(only, every)  # one method makes no pair
    assert re.search(r"^\| KD \| \**50\.5", scored, re.MULTILINE)


def write_sweep(made: Made, student: str, models: Mapping[str, str]) -> None:
    """Write a sweep of other networks than `Made` has."""
    name = re.sub(r"\W", "-", student)
    made.write(name, f"2026-01-0{1 + list(STARTS).index(student)}T00:00:00+0000")
    file = made.store.sweeps_folder / f"{name}.json"
    write_json(file, {**json.loads(file.read_text()), "models": dict(models)})


def test_what_the_last_epoch_changes(tmp_path: Path) -> None:
    """The mean over the seeds at the end of whole epochs: (60 + 70) / 2, then (80 + 70) / 2."""
    made = Made(Store(tmp_path))
    for seed, ends in enumerate(((0.6, 0.8), (0.7, 0.7))):
        points = ((0, 0.1), (PER_EPOCH // 2, 0.2), (PER_EPOCH, ends[0]), (2 * PER_EPOCH, ends[1]))
        finish(made, spec("finetune", "rte", seed), [(step, "selection", {"accuracy": at}) for step, at in points])
    made.write()
    found = StudyContrasts(studies(made.store)[0])
    said = convergence_table(found, "finetune")
    assert said.startswith("Long enough? Fine-tuning at the end of each epoch, ")
    assert "| RTE | 65.0 | 75.0 | +10.0 | 0 of 2 | Fine-tuning +10.0 |" in said
    assert convergence_table(found, "kd") == ""


def test_collapsed_networks_are_said(tmp_path: Path) -> None:
    found = contrasts(tmp_path / "sound", {"kd": {"rte": (70.0, 71.0)}})
    assert facts.collapse_words(found).startswith(
        "- In 2 runs, no student and no teacher trained along predicts only one class"
    )
    made = study(tmp_path / "one", {"kd": {"rte": (70.0, 71.0)}})
    for run_id in made.runs:
        logits = np.tile(np.array([[1.0, 0.0]], np.float32), (ITEMS, 1))
        tensors: dict[str, Any] = {f"{name}/validation/logits": logits for name in ("best", "last")}
        tensors |= {f"{name}/validation/labels": np.arange(ITEMS) % 2 for name in ("best", "last")}
        save_file(tensors, made.store.run(run_id).predictions)
    collapsed = StudyContrasts(studies(made.store)[0])
    assert facts.collapse_words(collapsed).startswith("- § Predicts only one class.")
    # all items go to one of two classes, which half of them have
    assert facts.collapse_words(collapsed).endswith(
        "\n- Every seed predicts one class far too often: KD on RTE (50 %); in brackets the items that it takes more "
        "than have it, of all reported ones."
    )
    assert "far too often" not in facts.collapse_words(found)


def test_the_whole_page(tmp_path: Path) -> None:
    rows = {
        "finetune": shifted(-10),
        "kd": NEAR,
        "dist": shifted(5),
        **READINGS,
        "takd": shifted(1),
        "rco": shifted(-1),
    }
    study(tmp_path, rows, shifted(25))
    every = studies(Store(tmp_path))
    page = study_page("results/made", every)
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings[:3] == ["Questions", "What was trained", "Scores"]
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == list(questions.answers(StudyContrasts(every[0])))
    assert len(headings) == len(set(headings)) == 15
    assert "Not known yet" not in page
    assert page == study_page("results/made", studies(Store(tmp_path)))
    for words in commands(page):
        parse(words[1:])


@pytest.mark.parametrize("row", ["finetune", "kd", "takd", "prokt", "lgtm", "dkd"])
def test_a_study_of_one_row_has_a_page(row: str, tmp_path: Path) -> None:
    """Without a teacher, and where the row is done on one of two tasks alone; without a result there is no page."""
    made = Made(Store(tmp_path))
    runs = [made.ask(spec(row, task, seed)) for task in ("rte", "trec") for seed in (0, 1)]
    with pytest.raises(UserError, match="No run in results/made is done"):
        study_page("results/made", studies(made.write()))
    for run in runs[:2]:
        made.done(run, 0.6)
    assert "The numbers are of 2 seeds and 1 task." in study_page("results/made", studies(made.write()))
