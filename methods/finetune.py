"""Fine-tuning: no distillation. It trains the teachers and is the baseline that every method should beat.

Loss: L = CE(y, S); of a regression, the mean of (s - y)^2.
Trained: one network, from its pre-trained weights.
Paper and code: standard fine-tuning (Devlin et al., 2019). AdamW, learning rate and schedule are settings of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.distill.losses import label_loss
from kdbench.distill.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class Finetune(Method):
    """Minimise the cross-entropy with the labels, or the squared error of a regression."""

    title = "Fine-tuning"
    version = 1
    paper = "Devlin et al., 2019"
    group = "paper"
    position = 0
    limits = {"labels_only": {}}
    no_regression = ""

    def loss(self, batch: Batch) -> Tensor:
        return label_loss(batch.labels, self.student.logits(batch))
