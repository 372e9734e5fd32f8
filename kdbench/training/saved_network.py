"""Load the student that a finished run saved, with its tokenizer and the data of its task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kdbench.core.errors import UserError
from kdbench.core.spec import SAVED, ModelRef
from kdbench.data.task import Examples, Task, TaskData
from kdbench.data.tokens import Tokens, tokenise
from kdbench.models import build
from kdbench.planning import inputs
from kdbench.results.study import Run


@dataclass(frozen=True)
class SavedNetwork:
    """The student of a finished run, in eval mode, and what it needs to be asked."""

    run: Run
    module: nn.Module
    tokenizer: Any
    task: Task

    def tokens(self, examples: Examples) -> Tokens:
        """Encode examples as in the run."""
        return tokenise(self.tokenizer, examples, self.run.spec.training.max_length)


def load_network(run: Run, device: torch.device) -> SavedNetwork:
    """Load the student of a run.

    Raises:
        UserError: the run is not done, or its student is missing or damaged, or a file of outputs.
    """
    if run.result is None:
        raise UserError(f"{run.id} is not done, so it has no student; see: kdbench status")
    if run.spec.student.is_outputs:
        raise UserError(
            f"{run.id} is a teacher that is only a file of outputs, {run.spec.student.title}, so there is no network "
            f"to ask; name a run whose student was trained."
        )
    try:
        if problem := run.folder.damage(run.folder.model):
            raise ValueError(problem)
        module: nn.Module = build.load(run.folder.model, attention=run.spec.training.attention)
    except Exception as error:  # absent, cut short, of another library: for the user they all mean the same
        raise UserError(
            f"The student in {run.folder.model} cannot be loaded ({type(error).__name__}: {error}); "
            f"{run.folder.way_out}"
        ) from None
    module = module.to(device).eval()
    # the tokenizer saved with the student; that of its initial network may have been deleted or changed
    tokenizer = build.tokenizer(ModelRef(name=str(run.folder.model.resolve()), fingerprint=f"{SAVED}{run.id}"))
    return SavedNetwork(run, module, tokenizer, inputs.load_task(run.spec.task))


def load_data(run: Run) -> TaskData:
    """Load the data of a run.

    Raises:
        UserError: they have changed since the run was trained, or are gone.
    """
    return inputs.load_data(run.spec.task, run.spec.data)
