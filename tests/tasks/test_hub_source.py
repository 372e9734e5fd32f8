"""Loading from the hub, with the library's download replaced: there is no network in tests."""

from __future__ import annotations

from typing import Any

import datasets
import pytest

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.tasks import hub
from kdbench.tasks.mnli import Mnli
from kdbench.tasks.sst2 import Sst2

HUB = DataLocation("hub")


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("kdbench.core.hub.connection_problem", str)


def serve(monkeypatch: pytest.MonkeyPatch, **splits: dict[str, list[Any]]) -> list[tuple[object, ...]]:
    """Make the library answer with these splits; returns the calls it gets."""
    calls: list[tuple[object, ...]] = []

    def load_dataset(path: str, name: str, *, revision: str) -> datasets.DatasetDict:
        calls.append((path, name, revision))
        return datasets.DatasetDict({key: datasets.Dataset.from_dict(columns) for key, columns in splits.items()})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def complaint() -> str:
    with pytest.raises(UserError) as caught:
        Sst2().load(HUB)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message
    assert "--glue-dir DIR" in message
    return message


def test_pair_task_is_read_at_the_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"premise": ["p "], "hypothesis": ["n/a"], "label": [2], "idx": [0]}
    unlabelled = {**rows, "label": [-1]}
    calls = serve(monkeypatch, train=rows, validation_matched=rows, validation_mismatched=rows, test_matched=unlabelled)
    data = Mnli().load(HUB)
    assert calls == [("nyu-mll/glue", "mnli", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")]
    assert set(data.splits) == {"train", "validation_matched", "validation_mismatched"}
    split = data.splits["validation_mismatched"]
    assert (split.text_a, split.text_b, split.labels) == (["p "], ["n/a"], [2])
    assert not data.vocabulary


def test_single_text_task(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"sentence": ["a film ", "b"], "label": [1, 0]}
    serve(monkeypatch, train=rows, validation=rows)
    split = Sst2().load(HUB).splits["train"]
    assert (split.text_a, split.text_b, split.labels) == (["a film ", "b"], None, [1, 0])


def test_test_splits_come_without_labels_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"premise": ["p ", "q"], "hypothesis": ["n/a", "h"], "label": [-1, -1], "idx": [0, 1]}
    serve(monkeypatch, test_matched=rows, test_mismatched={**rows, "idx": [1, 0]})
    split = Mnli().load_test(HUB, "test_matched")
    assert (split.text_a, split.text_b, split.labels) == (["p ", "q"], ["n/a", "h"], [-1, -1])
    with pytest.raises(UserError, match="'test_mismatched': expected column 'idx' to count the rows from 0"):
        Mnli().load_test(HUB, "test_mismatched")


def test_a_single_text_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, test={"sentence": ["a film"], "label": [-1], "idx": [0]})
    split = Sst2().load_test(HUB, "test")
    assert (split.text_a, split.text_b, split.labels) == (["a film"], None, [-1])


@pytest.mark.parametrize(
    "error",
    [ConnectionError("Couldn't reach 'nyu-mll/glue'. Try again.\nmore"), OSError(), ValueError("bad cache")],
)
def test_any_failure_becomes_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    message = complaint()
    assert "nyu-mll/glue@bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c/sst2 cannot be loaded" in message
    assert "run once with network" in message


def test_offline_switch_set_late_is_still_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = serve(monkeypatch)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in complaint()
    assert not calls


@pytest.mark.usefixtures("no_network")
def test_offline_library_fails_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    assert "cannot be loaded" in complaint()


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": {"sentence": ["a"], "label": [0]}}, "split 'validation': no such split (found: train)"),
        ({"train": {"text": ["a"], "label": [0]}}, "expected a column 'sentence' (found: text, label)"),
        ({"train": {"sentence": ["a"], "label": [-1]}}, "split 'train': expected labels 0 to 1"),
    ],
)
def test_other_contents_are_reported(
    monkeypatch: pytest.MonkeyPatch, splits: dict[str, dict[str, list[Any]]], expected: str
) -> None:
    serve(monkeypatch, **splits)
    assert expected in complaint()


@pytest.mark.usefixtures("no_network")
def test_fingerprint_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = serve(monkeypatch)
    assert Sst2().fingerprint(HUB) == f"{hub.REPOSITORY}@{hub.REVISION}/sst2" != Mnli().fingerprint(HUB)
    assert not calls
