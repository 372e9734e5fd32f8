"""Every sentence of docs/study.md, on made results whose numbers can be worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file
from scipy import stats

from kdbench.analysis.study_page import facts, layers, paper, questions, scores
from kdbench.analysis.study_page.__main__ import write_page
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.cost import CostBesideScore
from kdbench.analysis.study_page.page import limits, pair_words, ranks, readings_table, study_page
from kdbench.core.atomic_files import write_json
from kdbench.core.spec import ModelRef
from kdbench.reporting.compare_rows import show_comparison
from kdbench.results.store import Store
from kdbench.results.study import studies
from kdbench.results.sweep_files import read_sweeps
from tests.analysis.made import COST, STUDY, Made, spec, teacher
from tests.test_documentation import parse

ITEMS = 200
ROOT = Path(__file__).resolve().parents[2]
Scores = Mapping[str, Mapping[str, Sequence[float]]]  # row -> task -> accuracy in per cent, by seed


def answer(made: Made, run_id: str, accuracy: float) -> str:
    """A finished run that is wrong on as many of the items as the accuracy says, which ones by chance."""
    labels, split = np.arange(ITEMS) % 2, "validation"
    wrong = np.random.default_rng(int.from_bytes(run_id.encode()[-6:])).permutation(ITEMS)
    predicted = labels.copy()
    predicted[wrong[: round(ITEMS * (1 - accuracy / 100))]] ^= 1
    logits = np.eye(2, dtype=np.float32)[predicted]
    made.done(run_id, accuracy / 100)
    tensors = {f"{name}/{split}/logits": logits for name in ("best", "last")}
    save_file(
        tensors | {f"{name}/{split}/labels": labels for name in ("best", "last")}, made.store.run(run_id).predictions
    )
    return run_id


def study(root: Path, rows: Scores, teachers: Mapping[str, Sequence[float]] | None = None) -> Made:
    """Rows with these accuracies; all are taught, where there are teachers."""
    made = Made(Store(root))
    parents = {
        (task, seed): answer(made, made.need(teacher(task, seed)), score)
        for task, each in (teachers or {}).items() for seed, score in enumerate(each)
    }  # fmt: skip
    for row, tasks in rows.items():
        for task, each in tasks.items():
            for seed, score in enumerate(each):
                needs = {"teacher": parents[task, seed]} if parents and row != "finetune" else {}
                options = {} if row in ("lgtm", "kd") else {"of": row}
                wanted = spec(_method(row), task, seed, needs=needs, options=options, feedback=_feedback(row))
                answer(made, made.ask(wanted, row), score)
    made.write()
    return made


def _method(row: str) -> str:
    return row.split("_")[0] if row.startswith(("lgtm", "prokt")) else row


def _feedback(row: str) -> str | None:
    return "train:0.1" if row.startswith("lgtm") else None


def contrasts(root: Path, rows: Scores, teachers: Mapping[str, Sequence[float]] | None = None) -> StudyContrasts:
    study(root, rows, teachers)
    (found,) = studies(Store(root))
    return StudyContrasts(found)


def compared(root: Path, first: str, second: str, task: str = "average") -> dict[str, str]:
    """What `kdbench compare` says of two rows."""
    out = io.StringIO()
    show_comparison((first, second), Store(root), None, None, "csv", Console(file=out))
    return next(row for row in csv.DictReader(io.StringIO(out.getvalue())) if row["task"] == task)


def words_of(one: dict[str, str]) -> str:
    value, low, high = (float(one[key]) for key in ("difference", "low", "high"))
    return f"{value:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}"


def commands(text: str) -> list[list[str]]:
    return [shlex.split(code) for code in re.findall(r"`(kdbench run [^`]*)`", text)]


TWO = ("rte", "qnli")
NEAR = dict.fromkeys(TWO, (70.0, 71.0, 69.0))


def shifted(points: float) -> dict[str, tuple[float, ...]]:
    return {task: tuple(score + points for score in each) for task, each in NEAR.items()}


def test_kd_is_beaten(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"kd": NEAR, "dist": shifted(20), "skd": shifted(0.5), "pkd": shifted(-18)})
    text = questions.beats_kd(found)
    dist, skd, pkd = (compared(tmp_path, row, "kd") for row in ("dist", "skd", "pkd"))
    assert float(dist["difference"]) == pytest.approx(20)
    p = sorted(float(one["p"]) for one in (dist, pkd))  # Holm: the least of three is multiplied by 3
    assert float(skd["p"]) > 0.05
    assert p[0] < 0.05 / 3
    assert f"Yes: DIST {words_of(dist)}; p " in text
    assert f"Separable below plain KD: PKD {words_of(pkd)}; p " in text
    assert "SKD" not in text
    assert text.endswith("3 methods compared over RTE and QNLI; p is Holm-corrected.")


def test_kd_is_not_beaten(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"finetune": shifted(25), "kd": NEAR, "dist": shifted(0.5), "pkd": shifted(-0.5)})
    text = questions.beats_kd(found)
    one = compared(tmp_path, "dist", "kd")
    doubled = min(1.0, 2 * min(float(compared(tmp_path, row, "kd")["p"]) for row in ("dist", "pkd")))
    assert text.startswith(
        f"No method is separable above plain KD. The highest difference is that of DIST {words_of(one)}; p = "
    )
    assert float(re.findall(r"p = ([\d.]+)\)", text)[0]) == pytest.approx(max(doubled, float(one["p"])), abs=1e-3)
    assert "+0.5 points" in text
    assert "Separable below" not in text


def test_rows_that_are_missing_are_named_with_a_command(tmp_path: Path) -> None:
    rows = {"kd": NEAR, "dist": {"rte": (80.0, 81.0, 82.0), "qnli": (80.0,)}, "pkd": {"rte": (60.0,), "qnli": (60.0,)}}
    text = questions.beats_kd(contrasts(tmp_path, rows))
    assert "Fewer than two seeds are done of PKD on RTE; PKD, DIST on QNLI." in text
    one, other = commands(text)
    assert one[:8] == ["kdbench", "run", "--methods", "pkd", "--tasks", "rte", "--seeds", "0,1,2"]
    assert other[:6] == ["kdbench", "run", "--methods", "pkd,dist", "--tasks", "qnli"]
    assert "1 method compared on RTE" in text
    for words in (one, other):
        parse(words[1:])


def test_one_seed_gives_no_number(tmp_path: Path) -> None:
    rows = {row: {"rte": (score,)} for row, score in (("finetune", 60.0), ("kd", 70.0), ("dist", 90.0))}
    found = contrasts(tmp_path, rows, {"rte": (95.0,)})
    for text in questions.answers(found).values():
        assert text.startswith("Not known yet. Fewer than two seeds are done of ")
        (words,) = commands(text)
        assert words[words.index("--seeds") + 1] == "0,1,2"
    assert pair_words(found) == ["3 methods make 3 pairs, and none has two common seeds, so none is compared."]
    assert scores.lead_words(found, "finetune", "kd").startswith(
        "How far the teacher is above fine-tuning is not known"
    )
    assert scores.share_table(found, "finetune") == ""
    assert "Nothing is known of that here yet." in paper.claim_words(found)
    assert "0 of 11 methods have two seeds on every task, 4 are needed." in paper.order_words(found)
    assert limits(found).startswith("- The numbers are of 1 seed and 1 task. Where a number has one seed, the sign °")


READINGS = {"lgtm": shifted(10), "lgtm_no_influence": shifted(-10), "prokt_lgtm": shifted(20)}


def test_influence_and_feedback(tmp_path: Path) -> None:
    """The influence gives 20 points on the same rows, the rows of feedback cost 30, together LGTM is 10 below."""
    found = contrasts(tmp_path, READINGS)
    gain, cost, net = (
        compared(tmp_path, *pair)
        for pair in (("lgtm", "lgtm_no_influence"), ("prokt_lgtm", "lgtm_no_influence"), ("lgtm", "prokt_lgtm"))
    )
    text = questions.influence_helps(found)
    assert text.startswith(f"Yes: LGTM is better with its influence, {words_of(gain)}) over RTE and QNLI.")
    text = questions.feedback_pays(found)
    assert text.startswith("Yes, it costs more than it gives: LGTM minus ProKT with labels on all rows is -10.0 points")
    assert words_of(net) in text
    assert (
        f"The 10 % of train held out for feedback cost {words_of(cost)}); the influence gives {words_of(gain)})."
        in text
    )
    assert "+30.0" in text
    assert "+20.0" in text
    table = readings_table(found)
    assert f"| LGTM without influence | -20.0 | {-float(gain['high']):+.1f} to {-float(gain['low']):+.1f} |" in table
    assert "Fewer than two seeds are done of LGTM (released code), LGTM (as printed), ProKT on RTE, QNLI." in table


@pytest.mark.parametrize(
    ("shift", "helps", "pays"),
    [(0.5, "Not shown: LGTM with and without influence are not separable, -0.5 points", "Not shown: cost and gain"),
     (25, "No: LGTM is worse with its influence, -25.0 points", "Yes, it costs more"),
     (-25, "Yes: LGTM is better with its influence, +25.0 points", "No, it gives more than it costs")],
)  # fmt: skip
def test_the_other_answers_on_influence(tmp_path: Path, shift: float, helps: str, pays: str) -> None:
    rows = {"lgtm": NEAR, "lgtm_no_influence": shifted(shift), "prokt_lgtm": shifted(shift)}
    found = contrasts(tmp_path, rows)
    assert questions.influence_helps(found).startswith(helps)
    assert questions.feedback_pays(found).startswith(pays)


def test_without_the_reading_the_command_is_said(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"kd": NEAR, "lgtm": NEAR})
    text = questions.influence_helps(found)
    assert text.startswith("Not known yet. Fewer than two seeds are done of LGTM without influence on RTE, QNLI.")
    (words,) = commands(text)
    assert words[:8] == ["kdbench", "run", "--methods", "lgtm_no_influence", "--tasks", "rte,qnli", "--seeds", "0,1,2"]


@pytest.mark.parametrize(
    ("takd", "rco", "expected"),
    [(20, 0.5, "No: with a weaker teacher than KD's a student is better, TAKD +20.0 points"),
     (-20, -25, "Yes: with weaker teachers students are worse, RCO -25.0 points"),
     (0.5, -25, "Not shown: against KD, whose teacher is the strongest, TAKD +0.5 points")],
)  # fmt: skip
def test_a_stronger_teacher(tmp_path: Path, takd: float, rco: float, expected: str) -> None:
    found = contrasts(tmp_path, {"kd": NEAR, "takd": shifted(takd), "rco": shifted(rco)})
    text = questions.stronger_teacher(found)
    assert text.startswith(expected)
    assert text.endswith("2 methods compared over RTE and QNLI; p is Holm-corrected.")


def test_the_assistant_is_named_beside_the_teacher(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for seed in range(2):
        parent = answer(made, made.need(teacher("rte", seed)), 95.0 + seed)
        answer(made, made.ask(spec("kd", "rte", seed, needs={"teacher": parent})), 70.0 + seed)
        middle = spec("kd", "rte", seed, student=ModelRef(name="m", fingerprint="fp/m"), needs={"teacher": parent})
        assistant = answer(made, made.need(middle), 85.0 + seed)
        answer(made, made.ask(spec("takd", "rte", seed, needs={"assistant": assistant})), 71.0)
    found = StudyContrasts(studies(made.write())[0])
    assert "TAKD's assistant scores 85.5 against 95.5 on RTE for the teacher." in questions.stronger_teacher(found)


def test_separable_pairs(tmp_path: Path) -> None:
    """KD and SKD are alike, DIST is above both: 2 of 3 pairs."""
    found = contrasts(tmp_path, {"kd": NEAR, "skd": shifted(0.5), "dist": shifted(22)})
    assert pair_words(found) == [
        "3 methods make 3 pairs. Separable, Holm-corrected over the pairs: on RTE 2 of 3 (2 uncorrected), on QNLI 2 of "
        "3 (2 uncorrected), on average 2 of 3 (2 uncorrected)."
    ]


def test_share_of_the_lead(tmp_path: Path) -> None:
    """60, 75, 80 per cent: three quarters. The teacher's lead is that of `kdbench compare`."""
    rows = {"finetune": shifted(-10), "kd": shifted(5), "pkd": shifted(-10)}
    found = contrasts(tmp_path, rows, shifted(10))
    assert (
        f"Teacher minus fine-tuned student: {words_of(compared(tmp_path, 'teacher', 'finetune'))})"
        in scores.lead_words(found, "finetune", "kd")
    )
    shares = scores.gap_shares(found, "finetune")
    assert shares["kd"][0].value == pytest.approx(0.75)
    assert shares["pkd"][0].value == pytest.approx(0.0, abs=1e-9)
    low, high = shares["kd"][0].interval or (0.0, 0.0)
    assert low < 0.75 < high
    first, second = scores.share_table(found, "finetune").splitlines()[2:4]
    assert first == f"| KD | 75 | {100 * low:.0f} to {100 * high:.0f} | RTE, QNLI |"
    assert second.startswith("| PKD | 0 | ")


def test_ranks_are_those_of_the_scores(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"kd": NEAR, "skd": shifted(5), "dist": shifted(22)})
    said, table = ranks(found)
    # q = 2.343 for three rows; sqrt(3 * 4 / (6 * 2)) = 1 (Demšar 2006, Table 5)
    assert said.startswith(
        "By Nemenyi's test 0 of 3 pairs differ: their mean ranks are more than the critical difference 2.34"
    )
    # all tasks in the same order: no rest is left
    assert said.endswith("Friedman's test that no row differs has p < 0.001.")
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
    assert "(5 methods; RTE, QNLI) is +0.00, 95 % interval" in text
    assert f"(p = {tau.pvalue:.3f} for no relation)" in text
    text = paper.claim_words(found)
    assert text.startswith(
        "The paper claims that LGTM is better than each of 10 other methods. Of the 4 that can be compared"
    )
    assert "is contradicted for 1 (SKD)" in text
    assert "holds for 3 (KD, PKD, DML)" in text
    rows = {line.split(" | ")[0]: line for line in paper.claim_table(found).splitlines()}
    assert rows["| KD"].split(" | ")[1:3] == ["+1.8", "+20.0"]
    assert rows["| SKD"].split(" | ")[1:3] == ["+2.4", "-8.0"]
    assert rows["| SKD"].endswith("is contradicted |")


def test_tau_and_its_interval_on_the_same_order() -> None:
    found = paper.rank_correlation([1, 2, 3, 4, 5, 6], [2, 3, 5, 7, 11, 13])
    assert found.tau == pytest.approx(1)
    assert found.high == pytest.approx(1)
    assert found.p == pytest.approx(2 / 720)  # one of 6! orders, and its reverse
    assert paper.rank_correlation([1, 2, 3, 4], [1, 2, 4, 3]).tau == pytest.approx(4 / 6)


def test_cost_beside_score(tmp_path: Path) -> None:
    made = study(tmp_path, {"kd": NEAR, "lgtm": shifted(5)})
    for run_id, run in made.runs.items():
        seconds = 600.0 if run.method == "lgtm" else 200.0
        write_json(made.store.run(run_id).path / "cost.json", {**COST, "train_seconds": seconds})
    found = StudyContrasts(studies(made.store)[0])
    cost = CostBesideScore(found, "kd")
    assert cost.words() == "LGTM trains longest, 3.0 times as long as KD."
    # two tasks of 200 and of 600 seconds
    rows = [line.split(" | ")[:4] for line in cost.table().splitlines()[2:4]]
    assert rows == [["| KD", "70.0", "6.7", "1.0"], ["| LGTM", "75.0", "20.0", "3.0"]]
    assert facts.time_words(found) == "12 finished runs took 80 min one after the other, the teachers 0 s of it."


def test_what_was_trained_and_tuned(tmp_path: Path) -> None:
    found = contrasts(tmp_path / "study", {"kd": NEAR, "dist": NEAR})
    row = next(line for line in facts.trained_table(found).splitlines() if line.startswith("| RTE"))
    assert row.split(" | ")[2:10] == ["–", "2", "5e-05", "3e-05", "6", "32", "2", "0, 1, 2"]
    assert facts.tuning_words(found, None).startswith(
        "Every method has the same number of settings in these results: 1. No"
    )
    made = Made(Store(tmp_path / "tuning"))
    for row_name, best in (("kd", 1e-4), ("dist", 3e-4)):
        for rate in (1e-4, 3e-4):
            made.done(
                made.ask(spec(row_name, "rte", 100, student_lr=rate), None, {"student_lr": rate}),
                0.7,
                0.6 + (rate == best) / 9,
            )
    (tuned,) = studies(made.write())
    said = (
        "Tuned on the selection split with seed 100, which is not reported. RTE: student_lr of 0.0001, 0.0003, the "
        "same for every tuned method; chosen: KD 0.0001, DIST 0.0003."
    )
    assert facts.tuning_words(found, tuned).endswith(said)
    more = contrasts(tmp_path / "more", {"kd": NEAR, "dist": NEAR, "pkd": NEAR})
    assert facts.tuning_words(more, tuned).endswith(f"{said} Not tuned themselves, with the rates of the table: PKD.")


def test_the_time_of_each_part(tmp_path: Path) -> None:
    """A command for two methods, then one for a third; what both need counts in the first."""
    made = Made(Store(tmp_path))
    parent = answer(made, made.need(teacher("rte", 0)), 90.0)
    for row in ("kd", "dist"):
        answer(made, made.ask(spec(row, "rte", 0, needs={"teacher": parent})), 70.0)
    made.write()
    later = Made(made.store)
    later.need(made.runs[parent])
    answer(later, later.ask(spec("pkd", "rte", 0, needs={"teacher": parent})), 70.0)
    later.ask(spec("pkd", "rte", 1))
    later.write("two", "2026-01-02T00:00:00+0000")
    for run_id in made.runs:
        write_json(made.store.run(run_id).path / "cost.json", {**COST, "train_seconds": 3600.0})
    table = facts.parts_table(studies(made.store), read_sweeps(made.store)).splitlines()
    assert table[2:4] == ["| KD, DIST | RTE | 0 | 3 of 3 | 3.0 |", "| PKD | RTE | 0, 1 | 1 of 2 | 0.0 |"]


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
    assert apart == before == int(float(compared(tmp_path, "kd", "dist", "rte")["p"]) < 0.05)


def test_the_students_layers(tmp_path: Path) -> None:
    made = study(tmp_path, {"kd": {"rte": (70.0, 71.0)}})
    (only,) = studies(made.store)
    assert layers.layers_section(only, [only])[0].startswith("Only one initial student was trained, s-net.")
    other = Made(made.store, study={**STUDY, "student": "s-net:0+1"})
    for seed in (0, 1):
        student = ModelRef(name="s-net:0+1", fingerprint="fp/s:0+1")
        answer(other, other.ask(spec("kd", "rte", seed, student=student)), 60.0 + seed)
    write_sweep(other, {"student": "fp/s:0+1", "teacher": "fp/t"})
    said, table = layers.layers_section(only, studies(made.store))
    assert said == "The layers matter most to KD on RTE: 10.0 points lie between its starts."
    assert "| KD | RTE | 70.5 (2) | 60.5 (2) | 10.0 |" in table


def write_sweep(made: Made, models: Mapping[str, str]) -> None:
    """Write a sweep of other networks than `Made` has."""
    made.write("two", "2026-01-02T00:00:00+0000")
    file = made.store.sweeps_folder / "two.json"
    write_json(file, {**json.loads(file.read_text()), "models": dict(models)})


def test_collapsed_networks_are_said(tmp_path: Path) -> None:
    found = contrasts(tmp_path / "sound", {"kd": {"rte": (70.0, 71.0)}})
    assert facts.collapse_words(found).startswith(
        "In 2 runs, no student and no teacher trained along predicts one class"
    )
    made = study(tmp_path / "one", {"kd": {"rte": (70.0, 71.0)}})
    for run_id in made.runs:
        logits = np.tile(np.array([[1.0, 0.0]], np.float32), (ITEMS, 1))
        tensors: dict[str, Any] = {f"{name}/validation/logits": logits for name in ("best", "last")}
        tensors |= {f"{name}/validation/labels": np.arange(ITEMS) % 2 for name in ("best", "last")}
        save_file(tensors, made.store.run(run_id).predictions)
    collapsed = StudyContrasts(studies(made.store)[0])
    assert facts.collapse_words(collapsed).startswith("§ Predicts one class only")


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
    assert headings[:3] == ["Four questions", "What was trained", "Scores"]
    assert len(headings) == len(set(headings)) == 11
    assert "Not known yet" not in page
    assert page == study_page("results/made", studies(Store(tmp_path)))
    for words in commands(page):
        parse(words[1:])


@pytest.mark.slow
def test_the_kept_page_is_that_of_the_kept_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make docs` writes it."""
    monkeypatch.chdir(ROOT)
    write_page(Path("results/minilm-study"), tmp_path / "study.md")
    assert (tmp_path / "study.md").read_text(encoding="utf-8") == (ROOT / "docs/study.md").read_text(encoding="utf-8")
