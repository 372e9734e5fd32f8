"""torchdistill's DistillationBox with its KDLoss, fed as in its GLUE example.

Two patches. It imports torchvision for image models and data sets, which have no part in this; a build of torchvision
fits one build of torch only, and one that does not fit breaks transformers too, so that empty modules stand in for it.
And no `accelerator` is handed over, as the example does: the box asks it for `state.use_fp16`, which current versions
of accelerate do not have.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.batches import collator, loader
from benchmarks.kernels import product
from benchmarks.stopwatch import Stopwatch
from benchmarks.work import CE_WEIGHT, KD_WEIGHT, RATE, How, Timing, Work, network

STOOD_IN = ("", ".models", ".models.densenet", ".models.resnet", ".datasets")
IMPORTED = ("_DenseBlock", "_Transition", "BasicBlock", "conv1x1")  # by name; nothing here calls them


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Within the block, importing torchvision gives modules with nothing in them."""
    modules = {f"torchvision{name}": ModuleType(f"torchvision{name}") for name in STOOD_IN}
    for name in IMPORTED:
        for module in modules.values():
            setattr(module, name, object)
    modules["torchvision"].models = modules["torchvision.models"]  # type: ignore[attr-defined]
    real = {name: sys.modules.pop(name) for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(real)


logging.getLogger("torchdistill").setLevel(logging.WARNING)
with without_torchvision():
    from torchdistill.core.distillation import get_distillation_box


def build(student: nn.Module, teacher: nn.Module, batches: DataLoader[Any] | None, how: How) -> Any:
    network_config = {"forward_proc": "forward_batch_only_as_kwargs", "forward_hook": {"output": ["classifier"]}}
    loss = {
        "key": "KDLoss",
        "kwargs": {
            "student_module_path": "classifier", "student_module_io": "output",
            "teacher_module_path": "classifier", "teacher_module_io": "output",
            "temperature": 1.0, "alpha": CE_WEIGHT, "beta": KD_WEIGHT,
        },
    }  # fmt: skip
    optimizer = {"lr": RATE, "weight_decay": 0.0, **({"fused": True} if how.fused else {})}
    steps = len(batches) if batches else 1
    config = {
        "num_epochs": 1,
        "teacher": {**network_config, "requires_grad": False},
        "student": network_config,
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}}},
        "optimizer": {"key": "AdamW", "kwargs": optimizer},
        "scheduler": {"key": "LinearLR", "kwargs": {"start_factor": 1.0, "end_factor": 0.0, "total_iters": steps},
                      "scheduling_step": 1},
    }  # fmt: skip
    box = get_distillation_box(teacher, student, {}, config, torch.device("cpu"), None, False, 1)
    box.train_data_loader = batches
    return box


def forward(box: Any, batch: dict[str, Tensor]) -> Tensor:
    """Its loss of a batch."""
    loss: Tensor = box.forward_process(batch, batch["labels"])
    return loss


def measure(work: Work, how: How) -> Timing:
    student, teacher = (network(name, work, how.attention) for name in (work.student, work.teacher))
    batches, watch = loader(work, how, collator(work, how)), Stopwatch(work.warmup)
    with product(how):
        box = build(student, teacher.eval(), batches, how)
        box.optimizer.register_step_post_hook(watch.lap)
        box.pre_epoch_process(epoch=0)
        for batch in box.train_data_loader:
            box.pre_forward_process()
            box.post_forward_process(loss=forward(box, batch))
        box.post_epoch_process()
    return Timing(watch.seconds(work.steps), work.steps)
