"""How many runs are trained at once where nobody says, and with how many threads a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.errors import Stopped
from kdbench.core.settings import Execution
from kdbench.results.store import Store
from kdbench.training import runner
from kdbench.training.executors import machine_share
from kdbench.training.executors.machine_share import LIBRARIES, choose_jobs, memory_bytes
from kdbench.training.runner import execute
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run
from tests.kdbench.test_pool import executions

MUCH = 10**12  # bytes of memory


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine_share, "GPU", tmp_path / "nvidiactl")


def test_a_run_for_each_core_as_far_as_runs_and_memory_allow(tmp_path: Path) -> None:
    """Of each task teacher and fine-tuned student, then two students that learn: four runs can be ready at once."""
    made, here = plan(tmp_path, methods="finetune,kd,dist", tasks="rte,mnli"), Execution()
    assert [choose_jobs(made, here, cores, MUCH) for cores in (1, 2, 4, 64)] == [1, 2, 4, 4]
    assert choose_jobs(made, here.model_copy(update={"threads": 3}), 8, MUCH) == 2
    assert [choose_jobs(made, here, 4, int(n * LIBRARIES)) for n in (1, 2.5, 3.5)] == [1, 2, 3]


def test_a_gpu_is_for_one_run(tmp_path: Path) -> None:
    made = plan(tmp_path, methods="kd,dist")
    assert choose_jobs(made, Execution(device="cuda:1"), 8, MUCH) == 1
    machine_share.GPU.touch()
    assert choose_jobs(made, Execution(), 8, MUCH) == 1
    assert choose_jobs(made, Execution(device="cpu"), 8, MUCH) == 2


def test_cores_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.training.executors.local.core_count", lambda: 8)
    free = ("threads=0", "jobs=0")
    assert [e.threads for e in executions(tmp_path, *free, methods="kd,dist,pkd,skd")] == [2, 2, 2, 2]
    assert [e.threads for e in executions(tmp_path, *free, methods="kd")] == [0]
    assert [e.device for e in executions(tmp_path, *free, devices="cuda:0,cuda:1")] == ["cuda:0", "cuda:1"]


def test_a_container_may_have_less_memory_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_share, "CGROUP", tmp_path / "memory.max")
    whole = memory_bytes()
    for text, expected in (("max\n", whole), ("4096\n", 4096), (f"{2 * whole}\n", whole)):
        machine_share.CGROUP.write_text(text)
        assert memory_bytes() == expected


def test_a_run_goes_on_with_the_threads_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "core_count", lambda: 2)
    spec = the_run(plan(tmp_path, methods="finetune"))
    whole, halves = Store(tmp_path / "whole"), Store(tmp_path / "halves")
    execute(spec, whole, CPU, FEW)
    calls = iter([False] * 5)
    with pytest.raises(Stopped):
        execute(spec, halves, CPU, FEW, should_stop=lambda: next(calls, True))
    execute(spec, halves, CPU.model_copy(update={"threads": 2}), FEW)
    assert halves.run(spec.id).environment()["threads"] == 1
    assert contents(halves, spec.id) == contents(whole, spec.id)
