"""Fine-tuning: no distillation. It makes the teachers, and it is the student that every method should beat.

Loss: L = CE(y, S).
Trained: one network, from its pre-trained weights.
Paper and code: as everybody does it; AdamW, learning rate and schedule are settings of every training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.distill.losses import cross_entropy
from kdbench.distill.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class Finetune(Method):
    """Cross-entropy with the labels."""

    title = "Fine-tuning"
    paper = "Devlin et al., 2019"
    position = 0
    limits = {"labels_only": {}}

    def loss(self, batch: Batch) -> Tensor:
        return cross_entropy(batch.labels, self.student.logits(batch))
