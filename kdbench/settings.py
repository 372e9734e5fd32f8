"""The settings of a training that are not a method's own."""

from __future__ import annotations

from typing import Literal

from kdbench.options import Options, option


class Training(Options):
    """How a run is trained. Every one of these can change a result, so all are part of a run's identity."""

    student_lr: float = option(5e-5, "peak learning rate of the trained student", source="LGTM Table 5", gt=0)
    teacher_lr: float | None = option(
        3e-5, "peak learning rate of the teacher, fine-tuned alone or trained along", source="LGTM App. D", gt=0
    )
    epochs: int = option(6, "passes over the training set", source="LGTM Table 5", ge=1)
    batch_size: int = option(32, "examples in a batch", source="LGTM Table 5", ge=1)
    max_length: int = option(128, "longest input, in tokens", source="LGTM Table 5", ge=8)
    warmup: float = option(0.0, "share of the steps with rising learning rate", source="LGTM code", ge=0, lt=1)
    weight_decay: float = option(0.0, "AdamW's decoupled weight decay", source="LGTM code", ge=0)
    adam_eps: float = option(1e-6, "AdamW's epsilon, added to the uncorrected root", source="LGTM code", gt=0)
    max_grad_norm: float = option(0.0, "clip gradients to this norm; 0 does not clip", source="LGTM code", ge=0)
    eval_every: int = option(
        0, "steps between evaluations, at least one an epoch and the last step; 0 is once an epoch", ge=0
    )
    train_rows: int = option(0, "train on this many rows only (drawn once per task); 0 is all", ge=0)
    split_seed: int = option(0, "which rows of train are held out for feedback and selection", ge=0)
    precision: Literal["fp32", "fp32-fast", "bf16"] = option(
        "fp32", "fp32: plain float32; fp32-fast: the fast float32 product, on a CPU if as exact; bf16: autocast"
    )
    bucket: int = option(
        50, "batches that are sorted by length together, then shuffled, for little padding; 1 is none", later=True, ge=1
    )
    dropout: Literal["torch", "packed"] = option(
        "torch", "how masks are drawn on the CPU: an element at a time, or packed, four with one draw", later=True
    )
    attention: Literal["eager", "sdpa"] = option(
        "eager", "attention kernel; sdpa may draw other dropout masks in forward-mode derivatives than in training"
    )
    last_layer: Literal["whole", "first"] = option(
        "whole", "of a BERT's last layer: all tokens, or the first alone, which is all that is read of it", later=True
    )
    compile: bool = option(
        False,
        "torch.compile for a step's passes; look-aheads, forward-mode and second derivatives, evaluation stay without",
        later=True,
    )


class Recording(Options):
    """What a run writes down beside its result. None of these can change a result."""

    probe_size: int = option(2048, "training rows on which the entropy gap is measured", source="LGTM Fig. 5, 6", ge=0)
    influence_samples: int = option(64, "training rows whose influence is followed", source="LGTM Fig. 4", ge=0)
    influence_points: int = option(140, "how many times in a run the influence is measured", ge=0)


class Execution(Options):
    """Where and how a run is carried out; no part of its identity.

    Another device or number of threads may add numbers up in another order: the last bits, not the experiment.
    """

    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    jobs: int = option(1, "runs at once on this machine, each on its share of the cores", ge=1, le=256)
    threads: int = option(0, "CPU threads; 0 leaves it to torch; keep it when resuming bit for bit", ge=0)
    checkpoint_seconds: float = option(60.0, "seconds between checkpoints", ge=0)
    micro_batch: int = option(0, "rows of a batch that are in memory at once; 0 is all of them", ge=0)
