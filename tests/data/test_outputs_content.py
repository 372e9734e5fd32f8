"""Files of a teacher's outputs: matrices, rounded probabilities, doubtful values, class names, texts as they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdbench.core.errors import UserError
from kdbench.data.outputs_content import Content
from kdbench.data.task import Examples, TaskData
from kdbench.data.teacher_outputs import TeacherOutputs, read_outputs
from tests.kdbench.test_teacher_outputs import DATA, LABELS, written


@pytest.mark.parametrize("names", [["text_a", "text_b"], ["split", "row"]])
def test_a_matrix_has_the_rows_that_other_arrays_name(names: list[str], tmp_path: Path) -> None:
    naming = {"text_a": ["c", "b"], "text_b": ["z", "y"], "split": ["train"] * 2, "row": [2, 1]}
    np.savez(tmp_path / "x.npz", logits=[[1, 2], [3, 4]], **{name: np.array(naming[name]) for name in names})  # type: ignore[arg-type]
    found = read_outputs(tmp_path / "x.npz", "auto", LABELS, DATA).logits["train"]
    assert found[[2, 1]].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(found[[0, 3]]).all()


def test_the_name_of_a_matrix_says_what_it_holds(tmp_path: Path) -> None:
    halves, path = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3]]), tmp_path / "x.npz"
    np.savez(path, logits=halves)
    assert read_outputs(path, "auto", LABELS, DATA).logits["train"][0].tolist() == pytest.approx([0.9, 0.1])
    np.savez(path, probs=halves * [[1], [1], [1], [0.9]])
    with pytest.raises(UserError, match=r"1 row with no probabilities .*its row 3 \(.* 0.63, 0.27, with the sum 0.9\)"):
        read_outputs(path, "auto", LABELS, DATA)
    assert not read_outputs(path, "logits", LABELS, DATA).are_probabilities
    np.savez(path, probs=halves, logits=halves)
    with pytest.raises(UserError, match="has the matrices logits and probs; leave one of them"):
        read_outputs(path, "auto", LABELS, DATA)


def of_classes(folder: Path, values: Any, content: Content = "auto") -> TeacherOutputs:
    """Read outputs [n, C] for the rows of a task with C classes."""
    rows, classes = values.shape
    data = TaskData({"train": Examples(list(map(str, range(rows))), None, [0] * rows)})
    table = pd.DataFrame({"row": np.arange(rows), **{f"class_{i}": values[:, i] for i in range(classes)}})
    return read_outputs(written(folder, table), content, [f"c{i}" for i in range(classes)], data)


@pytest.mark.parametrize(("classes", "decimals"), [(6, 3), (6, 2), (77, 3), (77, 2)])
def test_rounded_probabilities_are_divided_by_their_sums(classes: int, decimals: int, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).dirichlet(np.ones(classes), 120)
    values = drawn.round(decimals)
    error = np.abs(values.sum(1) - 1).max()
    assert error > 9e-4
    found = of_classes(tmp_path, values)
    assert found.are_probabilities
    np.testing.assert_allclose(np.exp(found.logits["train"]).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.exp(found.logits["train"]), drawn, atol=error + 10.0**-decimals)
    assert f"each row is divided by its sum, which was up to {error:.2g} from 1" in found.remark


def test_a_sum_at_the_edge_of_the_tolerance_is_taken(tmp_path: Path) -> None:
    found = of_classes(tmp_path, np.array([[0.015, 0.051, 0.577, 0.006, 0.215, 0.135]]), "probabilities")
    assert found.logits["train"][0, 2] == pytest.approx(np.log(0.577 / 0.999))


SHARES = np.random.default_rng(1).dirichlet(np.ones(9), 20)
DOUBTFUL = {"per cent": SHARES * 100, "rounded per cent": (SHARES * 100).round(), "sums of 0.99": SHARES * 0.99,
            "votes": SHARES * 8, "sums of 0.8 to 1": SHARES * np.linspace(0.8, 0.99, 20)[:, None]}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTFUL)
def test_values_that_may_be_either_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"20 rows with no .* and 5 more, with the sum .* --teacher-outputs-are logits"):
        of_classes(tmp_path, DOUBTFUL[name])
    assert not of_classes(tmp_path, DOUBTFUL[name], "logits").are_probabilities


def test_logits_are_still_known_by_their_values(tmp_path: Path) -> None:
    drawn = np.random.default_rng(3).normal(size=(20, 9))
    collapsed = drawn[:, :2] / 100 + [0.05, 0.35]
    for values in (drawn, drawn - drawn.mean(1, keepdims=True), np.log(SHARES), drawn.clip(0) * 9, collapsed):
        assert not of_classes(tmp_path, values).are_probabilities


def test_class_names_that_differ_in_case_are_two_classes(tmp_path: Path) -> None:
    table = pd.DataFrame({"row": [0], "us": [1.0], "US": [3.0], "Uk": [2.0]})
    found = read_outputs(written(tmp_path, table), "auto", ("US", "us", "UK"), DATA)
    assert found.logits["train"][0].tolist() == [3, 1, 2]
    with pytest.raises(UserError, match="two columns of the class 'UK', UK and Uk; leave out one"):
        read_outputs(written(tmp_path, table.assign(UK=0.0)), "auto", ("US", "us", "UK"), DATA)
    with pytest.raises(UserError, match="must have a column for each class, US, us, UK"):
        read_outputs(written(tmp_path, table.drop(columns="us")), "auto", ("US", "us", "UK"), DATA)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("texts", [["0000", "010"], ["true", "False"], ["a\u2028b", "c\x85d"]])
def test_texts_are_read_as_they_stand(suffix: str, texts: list[str], tmp_path: Path) -> None:
    data = TaskData({"train": Examples(texts, None, [0, 1])})
    path = tmp_path / f"x{suffix}"
    rows = [{"text": text, "class_0": i, "class_1": -1} for i, text in enumerate(texts)]
    mark = "\t" if suffix == ".tsv" else ","
    lines = [mark.join(rows[0]), *(mark.join(map(str, row.values())) for row in rows)]
    if suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_outputs(path, "auto", LABELS, data).logits["train"].tolist() == [[0, -1], [1, -1]]
