"""The answers to the four questions of docs/study.md, and LGTM's readings, on results worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench.analysis.study_page import paper, questions, scores
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.differences import separability_section
from kdbench.analysis.study_page.page import limits, readings_table
from kdbench.core.formatting import interval_end
from kdbench.core.spec import ModelRef
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.drawn import PER_EPOCH, finish
from tests.analysis.exact_results import NEAR, READINGS, answer, commands, compared, contrasts, shifted, words_of
from tests.analysis.made import Made, spec, teacher
from tests.test_documentation import parse


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
    assert "\n- 3 methods compared over RTE and QNLI; p is Holm-corrected." in text
    assert "\n- On a task alone, separable above plain KD:" in text
    assert re.findall(r"(\w+) \+20.0 points[^)]*\) on (\w+)", text.partition("On a task alone")[2]) == [
        ("DIST", "RTE"), ("DIST", "QNLI"),
    ]  # fmt: skip


def test_kd_is_not_beaten(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"finetune": shifted(25), "kd": NEAR, "dist": shifted(0.5), "pkd": shifted(-0.5)})
    text = questions.beats_kd(found)
    one = compared(tmp_path, "dist", "kd")
    doubled = min(1.0, 2 * min(float(compared(tmp_path, row, "kd")["p"]) for row in ("dist", "pkd")))
    assert text.startswith(
        "No method is separable above plain KD on average over tasks.\n\n- The highest difference is that of DIST "
        f"{words_of(one)}; p = "
    )
    assert float(re.findall(r"p = ([\d.]+)\)", text)[0]) == pytest.approx(max(doubled, float(one["p"])), abs=1e-3)
    assert "+0.5 points" in text
    assert "Separable below" not in text
    assert "On a task alone, none is separable above plain KD with p corrected over the methods there; nearest" in text
    assert "nearest comes DIST +0.5 points (95 % interval" in text


def test_fine_tuning_is_the_first_row_to_beat(tmp_path: Path) -> None:
    rows = {"finetune": NEAR, "kd": shifted(0.5), "dist": shifted(20)}
    found = contrasts(tmp_path, rows, dict.fromkeys(NEAR, (80.0, 81.0, 79.0)))
    text = questions.beats_baseline(found)
    dist, kd = (compared(tmp_path, row, "finetune") for row in ("dist", "kd"))
    lead = compared(tmp_path, "teacher", "finetune", "rte")
    assert text.startswith(f"Yes: DIST {words_of(dist)}; p ")
    assert f"Plain KD alone: {words_of(kd)})." in text
    assert f"The teacher is better than the fine-tuned student by {words_of(lead)}) on RTE, +10.0 points" in text
    assert "2 methods compared over RTE and QNLI" in text


def test_an_end_of_an_interval_keeps_its_side_of_zero() -> None:
    ends = ["-0.03", "+0.04", "+0.1", "-1.3", "0.0"]
    assert [interval_end(number) for number in (-0.03, 0.0449, 0.05, -1.26, 0.0)] == ends


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


def test_rows_that_a_task_has_too_few_classes_for_are_not_missing(tmp_path: Path) -> None:
    found = contrasts(tmp_path, {"kd": NEAR, "lskd": {"rte": (60.0,), "qnli": (60.0,)}})
    assert found.lacking(["kd", "lskd"]) == {}


def test_one_seed_gives_no_number(tmp_path: Path) -> None:
    rows = {row: {"rte": (score,)} for row, score in (("finetune", 60.0), ("kd", 70.0), ("dist", 90.0))}
    found = contrasts(tmp_path, rows, {"rte": (95.0,)})
    for text in questions.answers(found).values():
        assert text.startswith("Not known yet. Fewer than two seeds are done of ")
        (words,) = commands(text)
        assert words[words.index("--seeds") + 1] == "0,1,2"
    assert separability_section(found, "kd") == [
        "3 methods make 3 pairs, and none has two common seeds, so none is compared."
    ]
    assert scores.lead_words(found, "finetune", "kd").startswith(
        "How far the teacher is above fine-tuning is not known"
    )
    assert scores.share_table(found, "finetune") == ""
    assert "Nothing is known of that here yet." in paper.claim_words(found)
    assert "0 of 11 methods have two seeds on every task, 4 are needed." in paper.order_words(found)
    assert limits(found).startswith("- The numbers are of 1 seed and 1 task. Where a number has one seed, the sign °")


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
        "Training on the 10 % of train held out for feedback too, with more steps and without dropout in the teacher's "
        f"target, changes the score by {words_of(cost)}).\n- The influence changes the score by {words_of(gain)})."
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
    [(20, 0.5, "No: a student is better without KD's teacher all the time, TAKD +20.0 points"),
     (-20, -25, "Yes: students are worse without KD's teacher all the time, RCO -25.0 points"),
     (0.5, -25, "Not shown: TAKD +0.5 points")],
)  # fmt: skip
def test_a_stronger_teacher(tmp_path: Path, takd: float, rco: float, expected: str) -> None:
    found = contrasts(tmp_path, {"kd": NEAR, "takd": shifted(takd), "rco": shifted(rco)})
    text = questions.stronger_teacher(found)
    assert text.startswith(expected)
    assert text.endswith("2 methods compared over RTE and QNLI; p is Holm-corrected.")


@pytest.mark.parametrize("score", [85.0, 94.5])
def test_the_assistant_is_named_beside_the_teacher(score: float, tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for seed in range(4):
        parent = answer(made, made.need(teacher("rte", seed)), 95.0 + seed)
        answer(made, made.ask(spec("kd", "rte", seed, needs={"teacher": parent})), 70.0 + seed)
        middle = spec("kd", "rte", seed, student=ModelRef(name="m", fingerprint="fp/m"), needs={"teacher": parent})
        assistant = answer(made, made.need(middle), score + seed)
        answer(made, made.ask(spec("takd", "rte", seed, needs={"assistant": assistant})), 71.0)
    found = StudyContrasts(studies(made.write())[0])
    text = questions.stronger_teacher(found)
    told = f"TAKD's assistant scores {score + 1.5} against 96.5 on RTE for the teacher: {score - 95:+.1f} points (95 % "
    assert told in text
    assert ("It is not shown to be weaker, so that TAKD says little about the question." in text) == (score > 90)


@pytest.mark.parametrize(("ends", "shrinks"), [((0.9, 0.8, 0.75), True), ((0.9, 0.64, 0.75), False)])
def test_a_lead_that_shrinks_with_every_epoch_is_said(ends: tuple[float, ...], shrinks: bool, tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for row, each in (("finetune", (0.5, 0.6, 0.7)), ("skd", ends)):
        points = [(PER_EPOCH * epoch, "selection", {"accuracy": at}) for epoch, at in enumerate(each, start=1)]
        finish(made, spec(row, "rte", 0), points)
    made.write()
    text = questions._by_epoch(StudyContrasts(studies(made.store)[0]), "skd", "finetune", "rte")
    assert text.startswith(f" (epoch by epoch on the selection split +40.0, {100 * ends[1] - 60:+.1f}, +5.0")
    assert text.endswith("; the lead shrinks with every epoch, and might with further ones)" if shrinks else "+5.0)")
