"""Data and networks that change between a plan and its training: refused, never trained on under the planned name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.core.errors import RunFailure
from kdbench.core.spec import DataLocation, RunSpec
from kdbench.data.new_declaration import Wishes, declare
from kdbench.data.task import TaskData
from kdbench.data.task_registry import TASKS
from kdbench.planning import inputs
from kdbench.planning.make_plan import data_ref, model_ref
from kdbench.results.store import Store
from kdbench.tasks.rte import Rte
from kdbench.training.runner import execute
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run
from tests.models.made import config, save

ROWS = [f"{'good' if i % 2 else 'bad'} film number {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
SETS = ("train_rows=0", "epochs=1", "student=tiny-1x32")


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working folder, and no data of another test in memory."""
    monkeypatch.chdir(tmp_path)
    TASKS.refresh()
    yield
    another_process()


def another_process() -> None:
    """Forget what a process has read."""
    inputs.clear_caches()
    for cached in (data_ref, model_ref, inputs.network_shape):
        cached.cache_clear()


def write(rows: list[str]) -> None:
    Path("films.csv").write_text("\n".join(["text,label", *rows]) + "\n")


def planned() -> RunSpec:
    write(ROWS)
    declare(Wishes("films.csv")).write()
    return the_run(plan(Path(), *SETS, methods="finetune", tasks="films"))


def test_a_run_is_not_trained_on_data_that_have_changed_since_its_plan(tmp_path: Path) -> None:
    spec, store = planned(), Store(tmp_path / "results")
    write([row.replace(",yes", ",NO").replace(",no", ",yes").replace(",NO", ",no") for row in ROWS])
    another_process()
    with pytest.raises(
        RunFailure, match=r"The data of Films, .* have changed since runs on them were planned; put them"
    ):
        execute(spec, store, CPU, FEW)
    # nor do tokens of the other rows stand in the cache under the planned name
    assert not list(store.cache.rglob("*.safetensors"))
    write(ROWS)
    another_process()
    execute(spec, store, CPU, FEW)
    again = Store(tmp_path / "again")
    execute(spec, again, CPU, FEW)
    assert contents(store, spec.id) == contents(again, spec.id)


def test_a_run_is_not_trained_from_a_network_that_has_changed_since_its_plan(tmp_path: Path) -> None:
    folder, store = tmp_path / "net", Store(tmp_path / "results")
    save(folder, config(num_hidden_layers=1))
    spec = the_run(plan(tmp_path, "epochs=1", f"student={folder}", methods="finetune"))
    weights = folder / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-4] + bytes(4))
    another_process()
    with pytest.raises(RunFailure, match=f"The model {folder} has changed since the run was planned; put it back"):
        execute(spec, store, CPU, FEW)
    weights.write_bytes(before)
    execute(spec, store, CPU, FEW)
    assert store.run(spec.id).is_done()


def test_a_task_may_have_a_fingerprint_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dated(Rte):
        title = "Dated"

        def fingerprint(self, location: DataLocation) -> str:
            return "2024-05-01"

    Dated.name = "dated"
    monkeypatch.setattr(TASKS, "_found", {**TASKS.all(), "dated": Dated})
    found = inputs.load_data("dated", data_ref(Dated, DataLocation("generated"), None))
    assert isinstance(found, TaskData)
