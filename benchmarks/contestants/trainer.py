"""Hugging Face's Trainer, as most users write distillation with it: a teacher's forward pass in `compute_loss`.

Logging, clipping, saving and evaluation are off; everything else is the library's default.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from benchmarks.batches import collator, loader
from benchmarks.kernels import product
from benchmarks.stopwatch import Stopwatch
from benchmarks.work import BATCH, CE_WEIGHT, KD_WEIGHT, RATE, How, Timing, Work, network


class DistillationTrainer(Trainer):  # type: ignore[misc]  # the library has no types
    """A Trainer with a teacher, on batches made beforehand."""

    def __init__(self, *args: Any, teacher: nn.Module, batches: DataLoader[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teacher, self.batches = teacher.eval(), batches

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self.batches

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(**inputs)
        with torch.no_grad():
            t = self.teacher(**inputs).logits
        s, labels = outputs.logits, inputs["labels"]
        soft = functional.kl_div(s.log_softmax(1), t.log_softmax(1), reduction="batchmean", log_target=True)
        loss = CE_WEIGHT * functional.cross_entropy(s, labels) + KD_WEIGHT * soft
        return (loss, outputs) if return_outputs else loss


class Laps(TrainerCallback):  # type: ignore[misc]
    def __init__(self, watch: Stopwatch) -> None:
        self.on_step_end = watch.lap


def build(
    student: nn.Module, teacher: nn.Module, batches: DataLoader[Any], how: How, folder: str, device: str = "cpu"
) -> Trainer:
    arguments = TrainingArguments(
        folder, per_device_train_batch_size=BATCH, max_steps=len(batches), learning_rate=RATE, max_grad_norm=0.0,
        save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
        use_cpu=device == "cpu", bf16=how.precision == "bf16",
        **({"optim": "adamw_torch_fused"} if how.fused else {}),
    )  # fmt: skip
    return DistillationTrainer(student, arguments, teacher=teacher, batches=batches)


def measure(work: Work, how: How) -> Timing:
    student, teacher = (network(name, work, how.attention) for name in (work.student, work.teacher))
    batches, watch = loader(work, how, collator(work, how)), Stopwatch(work.warmup, work.device)
    with TemporaryDirectory() as folder, product(how, work.device):
        trainer = build(student, teacher, batches, how, folder, work.device)
        trainer.add_callback(Laps(watch))
        trainer.train()
    return Timing(watch.seconds(work.steps), work.steps)
