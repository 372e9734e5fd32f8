"""What a person sees while runs train."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.training.executors.progress_bars import ProgressBars, ProgressLines
from tests.kdbench.small_runs import plan, the_run


@pytest.mark.parametrize(("task", "name"), [("mrpc", "F1"), ("rte", "accuracy")])
@pytest.mark.parametrize("kind", [ProgressBars, ProgressLines])
def test_a_score_says_of_what_it_is(
    kind: type[ProgressBars | ProgressLines], task: str, name: str, tmp_path: Path
) -> None:
    made, out = plan(tmp_path, methods="finetune", tasks=task), io.StringIO()
    run = the_run(made).id
    with kind(made, Console(file=out, force_terminal=kind is ProgressBars, width=200)) as board:
        board.started(run, 0, 10)
        board.stepped(run, 1, 0.5, 82.4)
        if isinstance(board, ProgressBars):
            board._progress.refresh()
        else:
            board.finished(run, "")
    assert f"loss 0.500  selection {name} 82.4" in out.getvalue()
