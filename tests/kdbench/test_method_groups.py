"""Groups of methods for --methods, and methods that need more classes than a task has."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.distill.method_registry import METHODS, in_group, method_groups
from kdbench.planning.make_plan import select_methods
from kdbench.planning.reproduce import exhibit_command
from kdbench.reporting.tables import TABLES
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.training import preflight
from tests.analysis.made import Made, spec
from tests.kdbench.small_runs import CPU, plan, refusal

PAPER = [
    "finetune", "kd", "pkd", "skd", "dist", "takd", "rco", "dml", "prokt", "pesf_kd", "meta_distill", "lgtm",
]  # fmt: skip
LOGITS = ["dkd", "lskd", "nkd", "mlkd", "divergence", "wsl", "ctkd", "sinkd"]
FEATURES = ["tinybert", "minilm"]


def test_groups() -> None:
    assert sorted(method_groups()) == ["all", "everything", "features", "logits", "paper"]
    assert list(select_methods("all")) == list(select_methods("paper")) == PAPER
    assert list(select_methods("logits")) == LOGITS
    assert list(select_methods("features,kd")) == ["kd", *FEATURES]
    assert list(select_methods("everything")) == [*PAPER, *LOGITS, *FEATURES]
    with pytest.raises(UserError, match="Did you mean 'logits'"):
        select_methods("logit")
    assert METHODS.name_problem("everything", "here").startswith("'everything' cannot name a method")
    assert "cannot name a method" in refusal("new-method", "everything")


def test_rows_belong_to_the_group_of_their_method() -> None:
    assert in_group("lgtm_released", "paper")
    assert in_group("lgtm_released", "all")
    assert in_group("dkd_lgtm", "logits")
    assert not in_group("dkd_lgtm", "all")
    assert in_group("of_a_plugin_that_is_gone", "all")
    assert not in_group("of_a_plugin_that_is_gone", "paper")


def test_a_group_leaves_out_what_has_too_few_classes(tmp_path: Path) -> None:
    made = plan(tmp_path, methods="logits", tasks="mrpc,mnli")
    assert [cell.task for cell in made.cells if cell.row == "lskd"] == ["mnli"]
    assert made.remarks == ["LSKD is left out on MRPC, which has too few classes."]
    remarks = preflight.check_plan(made, [CPU])
    assert made.remarks[0] in remarks
    assert "MRPC has two classes: DKD's second term is 0: it is KD with the weight alpha." in remarks
    # who names the method is refused
    with pytest.raises(UserError, match="'lskd' cannot teach tiny-2x32 on mrpc: it needs 3 classes or more"):
        preflight.check_plan(plan(tmp_path, methods="logits,lskd", tasks="mrpc"), [CPU])


@pytest.mark.parametrize("method", ["kd", "dkd", "mlkd"])
def test_standardised_logits_need_three_classes(method: str, tmp_path: Path) -> None:
    sets = f"{method}.standardize=true"
    with pytest.raises(UserError, match="standardised logits of two classes are the same for every example"):
        preflight.check_plan(plan(tmp_path, sets, methods=method, tasks="mrpc"), [CPU])
    preflight.check_plan(plan(tmp_path, sets, methods=method, tasks="mnli"), [CPU])


def mixed(folder: Path) -> Store:
    """KD, DKD, LSKD and WSL on MRPC and MNLI, as --methods finds them."""
    made = Made(Store(folder))
    for task in ("mrpc", "mnli"):
        for row in ("kd", "dkd", "wsl", *(["lskd"] if task == "mnli" else [])):
            made.done(made.ask(spec(row, task, 0)), 0.7)
    return made.write()


def test_table_1_has_the_paper_s_rows_and_the_table_of_scores_every_one(tmp_path: Path) -> None:
    (study,) = studies(mixed(tmp_path))
    table, scores = (TABLES.get(name)() for name in ("table1", "tablescores"))
    one, every = table.build(study), scores.build(study)
    assert one is not None
    assert every is not None
    assert [row[0].text for row in one.rows] == ["KD"]
    texts = {row[0].text: [cell.text for cell in row[1:3]] for row in every.rows}
    assert texts == {
        "KD": ["70.0/70.0", "70.0/70.0"],
        "DKD": ["70.0/70.0¶", "70.0/70.0"],
        "LSKD": ["–¶", "70.0/70.0"],
        "WSL": ["70.0/70.0", "70.0/70.0"],
    }
    assert every.title.startswith("Scores, preset bert-6l: ")
    note = "¶ On two classes: DKD's second term is 0: it is KD with the weight alpha; LSKD needs 3 classes or more."
    assert note in every.notes
    assert not [note for note in every.notes if note.startswith("Not asked for")]
    assert scores.adds_to_all(study)
    words = exhibit_command([scores], tmp_path, study, tasks=["mrpc"])
    assert words[:4] == ["kdbench", "run", "--methods", "kd,dkd,lskd,wsl"]


def test_a_study_of_the_paper_s_methods_has_one_table_of_them(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    (study,) = studies(made.write())
    assert not TABLES.get("tablescores")().adds_to_all(study)
    assert TABLES.get("tablescores")().build(study) is not None
