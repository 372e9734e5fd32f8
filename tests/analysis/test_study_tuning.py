"""What docs/study.md says of the rates that were tried before."""

from __future__ import annotations

from pathlib import Path

from kdbench.analysis.study_page import tuning
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.exact_results import NEAR, contrasts
from tests.analysis.made import Made, spec


def test_what_was_tuned(tmp_path: Path) -> None:
    found = contrasts(tmp_path / "study", {"kd": NEAR, "dist": NEAR})
    assert tuning.tuning_words(found, None).startswith(
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
        "Tuned on the selection split with seed 100, which is not reported: student_lr of 0.0001, 0.0003 on RTE, all "
        "for every tuned method."
    )
    rows = [line.split(" | ") for line in tuning.tuning_table(tuned).splitlines()[2:4]]
    assert rows == [["| KD", "71.1 ←", "60.0 |"], ["| DIST", "60.0", "71.1 ← |"]]
    edges = "the lowest on RTE for KD; the highest on RTE for DIST"
    assert f"end of those tried, and a rate beyond may be better: {edges}.\n" in tuning.tuning_table(tuned)
    rest = "No rate was tuned on QNLI."
    assert tuning.tuning_words(found, tuned).endswith(f"{said} {rest}")
    more = contrasts(tmp_path / "more", {"kd": NEAR, "dist": NEAR, "pkd": NEAR})
    assert tuning.tuning_words(more, tuned).endswith(
        f"{said} Not tuned themselves, with the rates of the table: PKD. {rest}"
    )
    assert tuning.tuning_table(None) == ""
    assert tuning.same_rates_words(tuned) == "The rates were tuned for s-net alone."
    assert tuning.same_rates_words(None) == ""


def test_variants_have_the_rates_of_their_method(tmp_path: Path) -> None:
    """LGTM without influence is a variant of LGTM, which was tuned; KD was not."""
    found = contrasts(tmp_path / "study", dict.fromkeys(("kd", "lgtm", "lgtm_no_influence"), NEAR))
    made = Made(Store(tmp_path / "tuning"))
    made.done(made.ask(spec("lgtm", "rte", 100, student_lr=1e-4), None, {"student_lr": 1e-4}), 0.7)
    (tuned,) = studies(made.write())
    text = tuning.tuning_words(found, tuned)
    assert "Not tuned themselves, with the rates of their method: LGTM without influence." in text
    assert "Not tuned themselves, with the rates of the table: KD." in text
