"""The settings of a training that are not a method's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from kdbench.core.errors import UserError, unknown
from kdbench.core.options import Options, option


class Training(Options):
    """How a run is trained. Every one of these can change a result, so all are part of a run's identity."""

    student_lr: float = option(5e-5, "peak learning rate of the trained student", source="LGTM Table 5", gt=0)
    teacher_lr: float | None = option(
        3e-5, "peak learning rate of the teacher, fine-tuned alone or trained along", source="LGTM App. D", gt=0
    )
    epochs: int = option(6, "passes over the training set", source="LGTM Table 5", ge=0)  # 0: see `as_it_is`
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

    def of_teacher(self, own: Mapping[str, Any]) -> Training:
        """The settings of the run that fine-tunes the teacher.

        Args:
            own: see `teacher_settings`; what is not in it is as for the run that needs the teacher.
        """
        return self.model_copy(update={"student_lr": self.teacher_lr, **{FIELDS.get(k, k): v for k, v in own.items()}})

    def as_it_is(self) -> Training:
        """The settings of a run that only evaluates; what does not matter to it has its default."""
        return Training(epochs=0, **{key: getattr(self, key) for key in (*EVALUATED, *DIVIDING)})


DIVIDING = ("train_rows", "split_seed")  # decide which rows are trained on, and which are held out
EVALUATED = ("max_length", "precision", "attention", "last_layer", "compile")  # matter to a network that only predicts
FIELDS = {"lr": "student_lr"}  # of the teacher's section -> of `Training`: the run's student is the teacher


def teacher_keys() -> list[str]:
    """The settings that a teacher's own fine-tuning may have."""
    others = {"student_lr", "teacher_lr", *DIVIDING}
    return [*FIELDS, *(key for key in Training.model_fields if key not in others)]


def teacher_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Validate settings of the teacher's own fine-tuning, such as {epochs: 3, lr: 1e-4}.

    Raises:
        UserError: an unknown key, a value of the wrong type or range, or a key that has to be the same for students.
    """
    for key in values:
        if key in DIVIDING:
            raise UserError(f"teacher.{key}: {key} divides the data for teacher and students alike; give {key} alone.")
        if key not in teacher_keys():
            raise unknown("key of section 'teacher'", key, teacher_keys())
    names = {key: "teacher_lr" if key in FIELDS else key for key in values}
    parsed = Training.parse({names[key]: value for key, value in values.items()}, "section 'teacher'")
    if not parsed.epochs:
        raise UserError("teacher.epochs is 1 or more; --teacher-is-finetuned takes a teacher as it is.")
    return {key: getattr(parsed, name) for key, name in names.items()}


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


class Study(Options):
    """What is compared on what."""

    student: str = option("tiny-2x64", "the student's starting network")
    teacher: str = option("tiny-4x64", "the teacher's starting network")
    source: Literal["generated", "glue-dir", "hub"] = option("generated", "where the examples come from")
    glue_dir: str = option("", "a folder in the classic GLUE layout")
    feedback: str = option("train:0.1", "what methods with feedback learn from: train:F or validation")
    selection: str = option("train:0.1", "what picks checkpoints and grid points: train:F or validation")
    teacher_is_finetuned: bool = option(
        False, "take the teacher as it is: it was fine-tuned on the task, with the task's labels", later=True
    )


class Invocation(Options):
    """What to do, as far as a file may say it."""

    preset: str = option("tiny", "the preset to start from")
    methods: str | list[str] = option("all", "methods to run")
    tasks: str | list[str] = option("glue", "tasks to run")
    seeds: str | int | list[int] = option("0", "seeds to run")
    results: str = option("results", "the results folder")
    executor: str = option("local", "where runs are trained: local, or a cluster's queue such as slurm")
    devices: str | list[str] = option("", "devices to share out among the jobs, such as cuda:0,cuda:1")
    runs_per_job: int = option(1, "runs that one job of a queue carries", ge=1)
