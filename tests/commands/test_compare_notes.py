"""What `kdbench compare` says beside its numbers, and why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.results.archive.write import collect_study
from kdbench.results.store import Store
from tests.analysis.made import Made, spec
from tests.commands.test_compare import predict, records, study, table, told


def test_an_average_says_of_what(tmp_path: Path) -> None:
    """MRPC has other seeds than RTE, and LGTM nothing on MNLI."""
    made = Made(Store(tmp_path / "results"))
    for task, seeds in (("mrpc", (2, 3, 4)), ("rte", (0, 1)), ("mnli", (0,))):
        for seed in seeds:
            for row in ("kd", "lgtm") if task != "mnli" else ("kd",):
                predict(made, made.ask(spec(row, task, seed)), 0.5, 10 * seed + len(row))
    made.write()
    text = told(tmp_path, "kd", "lgtm")
    assert "No seed in common: MNLI; the average is over the other 2 tasks." in text
    assert "Average: tasks have different seeds, and it has the fewest of a task." in text
    assert records(tmp_path, "kd", "lgtm")["average"]["seeds"] == ""


def test_one_seed_is_said_to_be_one(tmp_path: Path) -> None:
    study(tmp_path / "results", ("rte",), seeds=(0,))
    text = told(tmp_path, "kd", "finetune")
    assert "RTE: KD is higher (one seed: another may differ)." in text
    assert "One seed: only items are resampled" in text
    assert records(tmp_path, "kd", "finetune")["rte"]["seeds_needed"] == ""


def test_a_task_with_one_seed_beside_others(tmp_path: Path) -> None:
    """Its note says which task it is, and that of the other tasks stands, too."""
    made = Made(Store(tmp_path / "results"))
    for task, seeds in (("mrpc", (0, 1)), ("rte", (0,))):
        for seed in seeds:
            for row in ("kd", "lgtm"):
                predict(made, made.ask(spec(row, task, seed)), 0.5, 10 * seed + len(row))
    made.write()
    text = told(tmp_path, "kd", "lgtm")
    assert "One seed on RTE: only items are resampled" in text
    assert "(on a task at 5 % / 2, as p is corrected)" in text
    assert ">50 also where items are too few, – where there is one seed." in text


def varied(root: Path) -> Made:
    """Runs of KD and LGTM whose loss was varied on purpose; DML and PKD as they are."""
    made = Made(Store(root))
    for i, row in enumerate(("kd", "dml", "pkd", "lgtm")):
        purpose = {"kd_loss": "mse"} if row in ("kd", "lgtm") else {}
        predict(made, made.ask(spec(row, "rte", 0, options=purpose), varies=purpose), 0.5, i)
    made.write()
    return made


def test_rows_that_were_varied_on_purpose(tmp_path: Path) -> None:
    """They have a seed in common, but no run that Table 1 shows."""
    varied(tmp_path / "results")
    said = "was varied on purpose for another table, and is compared with none; see: kdbench show kd rte"
    with pytest.raises(UserError, match=f"^Every run of 'kd' {said}$"):
        told(tmp_path, "kd", "dml")
    with pytest.raises(UserError, match=f"^Every run of 'kd' and 'lgtm' on rte {said}$"):
        told(tmp_path, "kd", "lgtm", only="rte")


def test_a_collected_study_names_rows_that_can_be_compared(tmp_path: Path) -> None:
    made = varied(tmp_path / "results")
    collect_study("kept", [made.store], tmp_path / "kept", None)
    assert "kdbench compare pkd dml --results results/kept " in (tmp_path / "kept" / "README.md").read_text()
    single = Made(Store(tmp_path / "single"))
    predict(single, single.ask(spec("kd", "rte", 0)), 0.5, 0)
    collect_study("one", [single.write()], tmp_path / "one", None)
    assert "kdbench compare A B " in (tmp_path / "one" / "README.md").read_text()


def test_signs_in_blocks_say_of_which_rows(tmp_path: Path) -> None:
    """Table 2 compares DIST with LGTM's form of it, and MSE with its own."""
    made = Made(Store(tmp_path / "results"))
    own = {"influence_loss": "kd_loss"}
    asked: list[dict[str, str]] = [{}, {"kd_loss": "dist", **own}, {"kd_loss": "mse"}, {"kd_loss": "mse", **own}]
    for i, (row, varies) in enumerate(zip(("dist", "lgtm", "kd", "lgtm"), asked, strict=True)):
        predict(made, made.ask(spec(row, "rte", 0, options=varies), varies=varies), 0.5 + i // 2, i)
    made.write()
    assert (
        "° Not separable from the best of its column among the rows from DIST to LGTM (w. DIST) or from MSE to LGTM "
        "(w. MSE) (5 %, Holm-corrected over these rows)."
    ) in " ".join(table(tmp_path, number="2").split())
