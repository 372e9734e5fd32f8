"""A teacher that is only a file of logits or probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.core.spec import RunSpec
from kdbench.data.outputs_content import SMALLEST
from kdbench.data.task import Examples, TaskData
from kdbench.data.teacher_outputs import read_outputs, row_tokens
from kdbench.distill.method_registry import METHODS
from kdbench.planning import inputs
from kdbench.planning.cost_estimate import estimate_cost
from kdbench.planning.make_plan import select_methods
from kdbench.planning.plan import Plan
from kdbench.reporting.tables import TABLES
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.training import preflight
from kdbench.training.setup import prepare
from tests.kdbench.small_runs import CPU, FEW, plan, refusal, the_run, train

LABELS = ("entailment", "not_entailment")
FIT = {"finetune", "kd", "skd", "dist", "takd"}  # of the paper; and every later one on logits
DATA = TaskData({
    "train": Examples(["a", "b", "c", "a"], ["x", "y", "z", "x"], [0, 1, 0, 0]),
    "validation": Examples(["d", "a"], ["w", "x"], [1, 0]),
})  # fmt: skip
slow = pytest.mark.slow


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"row": [0, 1, 2, 3], "entailment": [0.9, 0.2, 0.5, 0.7],
                         "not_entailment": [0.1, 0.8, 0.5, 0.3], **columns})  # fmt: skip


def written(folder: Path, table: pd.DataFrame, suffix: str = ".csv") -> Path:
    path = folder / f"probs{suffix}"
    writers: dict[str, Callable[[], object]] = {
        ".csv": lambda: table.to_csv(path, index=False),
        ".tsv": lambda: table.to_csv(path, index=False, sep="\t"),
        ".parquet": lambda: table.to_parquet(path),
        ".jsonl": lambda: path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records"))),
        ".npz": lambda: np.savez(path, **{str(name): table[name].to_numpy() for name in table}),  # type: ignore[arg-type]
    }
    writers[suffix]()
    return path


def test_equal_rows_may_repeat_and_others_may_not(tmp_path: Path) -> None:
    """A file about every row of the data, by text, repeats the texts that the data repeat."""
    table = pd.DataFrame({"text_a": ["a", "b", "c", "a"], "text_b": ["x", "y", "z", "x"],
                          "entailment": [3.0, 1, 2, 3.00001], "not_entailment": [0.0, 0, 5, 0]})  # fmt: skip
    found = read_outputs(written(tmp_path, table), "auto", LABELS, DATA).logits
    assert found["train"].tolist() == [[3, 0], [1, 0], [2, 5], [3, 0]]
    assert found["validation"][1].tolist() == [3, 0]
    numbered = frame(row=[0, 1, 1, 2], entailment=[0.9, 0.2, 0.2, 0.7], not_entailment=[0.1, 0.8, 0.8, 0.3])
    read_outputs(written(tmp_path, numbered), "auto", LABELS, DATA)
    table.loc[3, "entailment"] = 3.1
    message = r"^probs.csv has 1 row with other outputs .*\(row 0, for row 0 of 'train'\), such as its row 3 "
    with pytest.raises(UserError, match=message):
        read_outputs(written(tmp_path, table), "auto", LABELS, DATA)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl", ".npz"])
def test_every_format_gives_the_same_logarithms(suffix: str, tmp_path: Path) -> None:
    turned = frame()[["not_entailment", "row", "entailment"]]
    found = read_outputs(written(tmp_path, turned, suffix), "auto", LABELS, DATA)
    assert found.are_probabilities
    np.testing.assert_allclose(found.logits["train"][:, 0], np.log([0.9, 0.2, 0.5, 0.7]), rtol=1e-6)
    assert np.isnan(found.logits["validation"]).all()
    assert found.remark.startswith("The outputs of 4 rows in probs")


def test_rows_are_found_by_their_texts_in_every_split(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"text_a": ["a", "b", "c", "d"], "text_b": ["x", "y", "z", "w"], "class_0": [3, 1, 2, 4], "class_1": [0] * 4}
    )
    found = read_outputs(written(tmp_path, table), "auto", LABELS, DATA)
    assert not found.are_probabilities
    assert found.logits["train"][:, 0].tolist() == [3, 1, 2, 3]
    assert found.logits["validation"][:, 0].tolist() == [4, 3]


def test_a_matrix_alone_is_the_training_rows_in_their_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", logits=np.arange(8).reshape(4, 2))
    assert read_outputs(tmp_path / "x.npz", "auto", LABELS, DATA).logits["train"].tolist() == [
        [0, 1], [2, 3], [4, 5], [6, 7],
    ]  # fmt: skip


def test_what_the_user_says_holds(tmp_path: Path) -> None:
    path = written(tmp_path, frame(entailment=[0.0, 0.2, 0.5, 0.7], not_entailment=[1.0, 0.8, 0.5, 0.3]))
    assert read_outputs(path, "logits", LABELS, DATA).logits["train"][0].tolist() == [0, 1]
    assert read_outputs(path, "auto", LABELS, DATA).logits["train"][0, 0] == pytest.approx(np.log(SMALLEST))


def test_tokens_are_numbers_through_all_splits() -> None:
    assert row_tokens(DATA, "train").ids.tolist() == [0, 1, 2, 3]
    assert row_tokens(DATA, "validation").ids.tolist() == [4, 5]


PROBLEMS: dict[str, tuple[pd.DataFrame, str]] = {
    "other classes": (
        frame().rename(columns={"entailment": "yes"}),
        "must have a column for each class, entailment, not_entailment or class_0 to class_1; it has row, yes",
    ),
    "one class more": (frame(neutral=[0.0, 0.0, 0.1, 0.0]), "and neutral is none of them"),
    "twice": (frame(row=[0, 1, 1, 2]), r"1 row with other outputs than an earlier .*\(row 1, for row 1 of 'train'\)"),
    "no such row": (frame(row=[0, 1, 2, 9]), r"1 row with no row number .*'train' has 4 rows.* its row 3 "),
    "no such split": (frame(split="dev"), "names the split 'dev'; the task has train, validation"),
    "no number": (frame(entailment=[0.9, np.nan, np.inf, 0.7]), "2 rows with not a finite number .* its row 1 "),
    "no rows": (frame().iloc[:0], "has no rows"),
    "nameless": (frame().drop(columns="row"), "does not say which rows it is about; give a column 'row'"),
    "unknown text": (
        frame(text_a=list("abcq"), text_b=list("xyzx")).drop(columns="row"),
        "1 row with a text that is not in the data",
    ),
    "other first text": (frame(text=list("bcaa")), r"3 rows whose 'text' is not .* its row 0 \(row 0 of 'train'"),
    "other second text": (
        frame(text_a=list("abca"), text_b=list("xyzw")), r"1 row whose 'text_b' is not .* its row 3 .*column 'text_b'"),
    "other label": (frame(label=[0, 0, 0, -1]), "1 row whose 'label' is not .* its row 1 "),
    "other label words": (
        frame(labels=["Entailment", "not_entailment", "?", "not_entailment"]), "1 row whose 'labels' is not .* row 3 "),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_file_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    table, said = PROBLEMS[name]
    with pytest.raises(UserError, match=said):
        read_outputs(written(tmp_path, table), "auto", LABELS, DATA)


def test_probabilities_that_do_not_sum_to_1_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, frame(entailment=[0.9, 0.3, 0.5, 1.7]))
    for content in ("probabilities", "auto"):
        with pytest.raises(
            UserError, match=r"2 rows with no probabilities that sum to 1, such as its row 1 \(.* 0.3, 0.8"
        ):
            read_outputs(path, content, LABELS, DATA)
    assert not read_outputs(path, "logits", LABELS, DATA).are_probabilities
    (tmp_path / "x.parquet").write_text("no table")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        read_outputs(tmp_path / "x.parquet", "auto", LABELS, DATA)


def spec_of_rte(folder: Path) -> RunSpec:
    return the_run(plan(folder, methods="finetune"))


def outputs_of_rte(folder: Path, *splits: str) -> Path:
    """Write probabilities of the made rows of RTE: 0.8 on the right class."""
    spec = spec_of_rte(folder)
    parts = []
    for split in splits:
        labels = np.asarray(inputs.load_data("rte", spec.data).splits[split].labels)
        right = np.where(labels == 0, 0.8, 0.2)
        rows = np.arange(len(labels))
        parts.append(pd.DataFrame({"split": split, "row": rows, LABELS[1]: 1 - right, LABELS[0]: right}))
    return written(folder, pd.concat(parts))


def of(folder: Path, path: Path, *sets: str, methods: str = "kd") -> Plan:
    return plan(folder, f"teacher={path}", "teacher_is_finetuned=true", *sets, methods=methods)


@slow
def test_every_method_that_fits_learns_from_a_file(tmp_path: Path) -> None:
    path, store = outputs_of_rte(tmp_path, "train"), Store(tmp_path / "r")
    made = of(tmp_path, path, "takd.assistants=tiny-2x32", methods=",".join(sorted(FIT)))
    remark = preflight.check(made, [CPU], store)
    assert len(remark) == 1
    assert remark[0].endswith("probs.csv are read as probabilities, of which the logarithm is taken.")
    assert estimate_cost(made, store).runs == len(made.runs)
    train(made, store)
    kd = next(spec for spec in made.runs.values() if spec.method == "kd" and "tiny-2x32" in spec.student.name)
    setup = prepare(kd, store, CPU, FEW)
    batch = setup.train.at(0)
    wanted = torch.full((len(batch), 2), 0.2).scatter(1, batch.labels[:, None], 0.8).log()
    torch.testing.assert_close(setup.method.teacher.logits(batch), wanted)  # type: ignore[attr-defined]
    log = store.run(kd.needs["teacher"]).log.read_text()
    assert "are read as probabilities" in log


def test_the_methods_that_fit_are_those_that_say_so() -> None:
    needing = {"teacher", "teacher_network"}
    fit = {name for name, method in METHODS.all().items() if not method.requires & needing}
    assert fit == FIT | select_methods("logits").keys()


@slow
def test_content_and_meaning_of_the_file_are_part_of_the_run(tmp_path: Path) -> None:
    path = outputs_of_rte(tmp_path, "train")
    ids = [the_run(of(tmp_path, path)).id, the_run(of(tmp_path, Path(f"{path}:logits"))).id]
    path.write_text(path.read_text().replace("0.8", "0.80"))
    from kdbench.planning.make_plan import model_ref

    model_ref.cache_clear()
    ids.append(the_run(of(tmp_path, path)).id)
    assert len(set(ids)) == 3


@slow
@pytest.mark.parametrize("with_report", [True, False])
def test_the_teacher_s_row_shows_the_file_s_own_score(
    with_report: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = outputs_of_rte(tmp_path, "train", *(["validation"] if with_report else []))
    assert app([*run_command(), "--teacher-outputs", str(path)], standalone_mode=False) in (0, None)
    sheet = TABLES.get("table1")().build(studies(Store(Path("results")))[-1])
    assert sheet is not None
    assert sheet.row_keys[0] == "teacher"
    assert any("a file of outputs, probs.csv" in str(note) for note in sheet.notes)
    cells = [cell.text for cell in sheet.rows[0]]
    assert any("100" in text for text in cells) is with_report
    (teacher,) = (run for run in Store(Path("results")).runs() if run.spec.student.is_outputs)
    assert json.loads((teacher.model / "config.json").read_text())["model_type"] == "kdbench_outputs"


def run_command(*more: str) -> list[str]:
    sets = ["epochs=1", "train_rows=96", "batch_size=16", "student=tiny-2x32"]
    return [
        "run", "--methods", "kd", "--tasks", "rte", "--device", "cpu", *(p for s in sets for p in ("--set", s)), *more,
    ]  # fmt: skip


@slow
@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv", ".jsonl"])
def test_a_student_of_exported_outputs_is_the_student_of_the_network(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app([*run_command("--set", "teacher=tiny-3x32")], standalone_mode=False) in (0, None)
    store = Store(Path("results"))
    first = next(run for run in store.runs() if run.spec.method == "kd")
    app(["export-outputs", first.spec.needs["teacher"], "--out", f"t{suffix}"], standalone_mode=False)
    assert app([*run_command("--teacher-outputs", f"t{suffix}")], standalone_mode=False) in (0, None)
    second = next(run for run in store.runs() if run.spec.method == "kd" and run.id != first.id)
    teachers = [store.run(run.spec.needs["teacher"]).result() for run in (first, second)]
    assert teachers[0] is not None
    assert teachers[1] is not None
    assert teachers[0]["best"]["report"]["validation"]["accuracy"] == pytest.approx(
        teachers[1]["best"]["report"]["validation"]["accuracy"]
    )
    one, other = (load_file(run.model / "model.safetensors") for run in (first, second))
    for name, values in one.items():
        torch.testing.assert_close(other[name], values, atol=1e-5, rtol=1e-4)


@slow
def test_what_a_file_cannot_do_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(outputs_of_rte(tmp_path, "train"))
    given = ["--teacher-outputs", path]
    said = {
        refusal("run", "--methods", "kd,pkd,dml", "--tasks", "rte", *given): [
            "has no network, and pkd, dml would read", "are finetune, kd, skd, dist, takd",
        ],
        refusal("run", "--methods", "kd", "--tasks", "rte,mrpc", *given): ["about one task, not mrpc, rte"],
        refusal("run", "--methods", "takd", "--tasks", "rte", *given): ["no layers", "takd.assistants=NETWORK"],
        refusal("run", "--methods", "kd", "--tasks", "rte", "--teacher", "tiny-2x32", *given): ["give one"],
        refusal("run", "--methods", "kd", "--tasks", "rte", "--teacher", path): ["--teacher-outputs FILE"],
        refusal("run", "--methods", "finetune", "--tasks", "rte", "--student", path): ["cannot be trained"],
        refusal("run", "--methods", "kd", "--tasks", "rte", "--teacher-outputs", "x.txt"): ["is not a .parquet"],
        refusal("run", "--methods", "kd", "--tasks", "rte", "--teacher-outputs", "x.csv"): ["There is no file"],
        refusal("run", "--methods", "kd", "--tasks", "rte", "--teacher-outputs-are", "logits"): ["give the file"],
    }  # fmt: skip
    for text, parts in said.items():
        assert all(part in text for part in parts), text
    lines = Path(path).read_text().splitlines()
    Path(path).write_text("\n".join([*lines[:3], *lines[5:]]))
    from kdbench.planning.make_plan import model_ref

    model_ref.cache_clear()
    said_missing = refusal("run", "--methods", "kd", "--tasks", "rte", *given)
    assert "lacks 2 rows of split 'train'" in said_missing
    assert "such as row 2" in said_missing
    assert not (tmp_path / "results").exists()
