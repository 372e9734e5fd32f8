"""A network that looks up a teacher's outputs by the number of a row, in place of computing them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdbench.core.errors import RunFailure
from kdbench.data.teacher_outputs import TeacherOutputs
from kdbench.models.model_files import read_object

MODEL_TYPE = "kdbench_outputs"


class OutputsNetwork(nn.Module):
    """A table of logits in the form of a text classifier.

    Its tokens are row numbers (`teacher_outputs.row_tokens`). It has no hidden states and nothing to train.

    Args:
        table: logits of the rows of all splits [N, C]; NaN where there are none.
        labels: the task's label words, in the order of its classes.
    """

    base_model_prefix = "outputs"

    def __init__(self, table: Tensor, labels: Sequence[str]) -> None:
        super().__init__()
        self.table = nn.Parameter(table)
        self.config = SimpleNamespace(
            model_type=MODEL_TYPE, num_labels=table.shape[1], id2label=dict(enumerate(labels)),
            _attn_implementation="eager",
        )  # fmt: skip

    @classmethod
    def of(cls, outputs: TeacherOutputs, labels: Sequence[str]) -> OutputsNetwork:
        """Build the network of a file's outputs."""
        return cls(torch.cat([torch.from_numpy(values) for values in outputs.logits.values()]), labels)

    @classmethod
    def load(cls, folder: Path) -> OutputsNetwork:
        """Load a network that `save_pretrained` saved."""
        labels: Any = read_object(folder / "config.json")["labels"]
        return cls(load_file(folder / "model.safetensors")["table"], labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **asked: Any) -> Any:
        """Look up logits [B, C].

        Args:
            input_ids: numbers of rows [B, 1].

        Raises:
            RunFailure: something else than logits is asked for.
        """
        from transformers.modeling_outputs import SequenceClassifierOutput

        if any(asked.values()):
            raise RunFailure(
                "setting",
                "the teacher is a file of outputs, which has no hidden states or attention maps; give a network as "
                "teacher, or a method that compares logits.",
            )
        return SequenceClassifierOutput(logits=self.table[input_ids[:, 0]])

    def save_pretrained(self, folder: Path) -> None:
        """Save the table and the label words."""
        folder.mkdir(parents=True, exist_ok=True)
        words = {"model_type": MODEL_TYPE, "labels": list(self.config.id2label.values())}
        (folder / "config.json").write_text(json.dumps(words), encoding="utf-8")
        save_file({"table": self.table.detach().contiguous()}, folder / "model.safetensors")


def is_saved_in(folder: Path) -> bool:
    """Return whether a model folder holds outputs instead of a network."""
    return read_object(folder / "config.json").get("model_type") == MODEL_TYPE
