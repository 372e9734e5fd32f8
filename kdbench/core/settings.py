"""Settings of runs, sweeps and studies that do not belong to a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from kdbench.core.errors import UserError, unknown
from kdbench.core.options import Options, option


class Training(Options):
    """Say how a run is trained. Every setting can change a result, so all are part of a run's ID."""

    student_lr: float = option(5e-5, "peak learning rate of the trained student", source="LGTM Table 5", gt=0)
    teacher_lr: float | None = option(
        3e-5, "peak learning rate of the teacher, in its fine-tuning and with the student", source="LGTM App. D", gt=0
    )
    epochs: int = option(6, "passes over the training set", source="LGTM Table 5", ge=0)  # 0: see `as_it_is`
    batch_size: int = option(32, "examples in a batch", source="LGTM Table 5", ge=1)
    max_length: int = option(128, "longest input, in tokens", source="LGTM Table 5", ge=8)
    warmup: float = option(0.0, "share of the steps with rising learning rate", source="LGTM code", ge=0, lt=1)
    weight_decay: float = option(0.0, "AdamW's decoupled weight decay", source="LGTM code", ge=0)
    adam_eps: float = option(1e-6, "AdamW's epsilon, added to the uncorrected root", source="LGTM code", gt=0)
    max_grad_norm: float = option(0.0, "clip gradients to this norm; 0 does not clip", source="LGTM code", ge=0)
    eval_every: int = option(
        0, "steps between evaluations, at most an epoch; 0 is an epoch; the last step is always evaluated", ge=0
    )
    train_rows: int = option(0, "train on this many rows only (drawn once per task); 0 is all", ge=0)
    split_seed: int = option(0, "seed that chooses the rows of train held out for feedback and selection", ge=0)
    precision: Literal["fp32", "fp32-fast", "bf16"] = option(
        "fp32", "fp32: float32; fp32-fast: a faster float32 product, on a CPU only if as exact; bf16: autocast"
    )
    bucket: int = option(
        50, "batches whose rows are sorted by length together, for less padding; 1 does not sort", later=True, ge=1
    )
    recipe: int = option(
        2,
        "2: feedback is not sorted by length, a short last batch holds random rows, the warm-up begins at 0, biases "
        "and LayerNorm do not decay; 1: the opposite of each, as in earlier versions",
        source="Hugging Face Trainer",
        before=1,
        ge=1,
        le=2,
    )
    dropout: Literal["torch", "packed"] = option(
        "torch", "dropout masks on the CPU: one random draw per element, or packed, one per four elements", later=True
    )
    attention: Literal["eager", "sdpa"] = option(
        "eager", "attention kernel; sdpa may draw other dropout masks in forward-mode derivatives than in training"
    )
    last_layer: Literal["whole", "first"] = option(
        "whole", "compute BERT's last layer for all tokens, or only for [CLS], which its classifier reads", later=True
    )
    compile: bool = option(
        False,
        "use torch.compile for the passes of a step, except look-aheads, forward-mode and second derivatives",
        later=True,
    )
    student_layers: str = option(
        "", "encoder layers of the student that are kept, such as 0+1+2; empty: the network as named",
        later=True, pattern=r"^(\d+(\+\d+)*)?$",
    )  # fmt: skip

    def of_teacher(self, own: Mapping[str, Any]) -> Training:
        """Return the settings of the run that fine-tunes the teacher.

        Args:
            own: the teacher's own settings (see `teacher_settings`), which take precedence.
        """
        return self.model_copy(update={"student_lr": self.teacher_lr, **{FIELDS.get(k, k): v for k, v in own.items()}})

    def as_it_is(self) -> Training:
        """Return the settings of a run that only evaluates, with fixed values where they do not matter."""
        return Training(epochs=0, recipe=1, **{key: getattr(self, key) for key in (*EVALUATED, *DIVIDING)})


DIVIDING = ("train_rows", "split_seed")  # divide the rows among the roles
EVALUATED = ("max_length", "precision", "attention", "last_layer", "compile")  # change predictions
FIELDS = {"lr": "student_lr"}  # key of section `teacher` -> field of its run, in which the teacher is the student


def teacher_keys() -> list[str]:
    """Return the keys of section `teacher`, the settings of the teacher's own fine-tuning."""
    others = {"student_lr", "teacher_lr", "student_layers", *DIVIDING}
    return [*FIELDS, *(key for key in Training.model_fields if key not in others)]


def shared_key(key: str) -> str:
    """Return the key that sets for all runs what this key of section `teacher` sets for the teacher's own."""
    return "teacher_lr" if key in FIELDS else key


def teacher_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Validate settings of the teacher's own fine-tuning, such as {epochs: 3, lr: 1e-4}.

    Raises:
        UserError: an unknown key, a value of the wrong type or range, or a key that must be the same for students.
    """
    for key in values:
        if key in DIVIDING:
            raise UserError(f"teacher.{key}: {key} divides the data for teacher and students alike; give {key} alone.")
        if key not in teacher_keys():
            raise unknown("key of section 'teacher'", key, teacher_keys())
    names = {key: shared_key(key) for key in values}
    parsed = Training.parse({names[key]: value for key, value in values.items()}, "section 'teacher'")
    if not parsed.epochs:
        raise UserError("teacher.epochs is 1 or more; --teacher-is-finetuned takes a teacher as it is.")
    return {key: getattr(parsed, name) for key, name in names.items()}


class Recording(Options):
    """Choose what a run records beside its result. No setting can change a result."""

    probe_size: int = option(2048, "training rows on which the entropy gap is computed", source="LGTM Fig. 5, 6", ge=0)
    influence_samples: int = option(64, "training rows whose influence is recorded", source="LGTM Fig. 4", ge=0)
    influence_points: int = option(140, "number of steps at which the influence is recorded", ge=0)


class Execution(Options):
    """Say where and how a run is executed; not part of its ID.

    Another device or number of threads changes the order of floating-point sums, and so the last bits.
    """

    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    jobs: int = option(
        0,
        "runs at once on this machine, each on its share of the cores; 0 is one for each core of a CPU, as far as "
        "memory and the number of runs allow, and 1 on a GPU",
        ge=0,
        le=256,
    )
    threads: int = option(
        0, "CPU threads of a run; 0 is its share of the cores; a run is resumed with those that it began with", ge=0
    )
    checkpoint_seconds: float = option(60.0, "seconds between checkpoints", ge=0)
    micro_batch: int = option(0, "rows of a batch in memory at once; 0 is all of them", ge=0)
    trim_embedding: bool = option(
        True, "on the CPU, train and checkpoint only the embedding rows of tokens that occur; results are the same"
    )


class Study(Options):
    """Networks and data that a study compares methods on."""

    student: str = option("tiny-2x64", "initial network of the student")
    teacher: str = option("tiny-4x64", "initial network of the teacher")
    source: Literal["generated", "glue-dir", "hub"] = option("generated", "source of the examples")
    glue_dir: str = option("", "a folder in the classic GLUE layout")
    data_dir: str = option("", "a folder with the files of declared tasks, in folders by task", later=True)
    feedback: str = option("train:0.1", "rows for methods with feedback: train:F or validation")
    selection: str = option("train:0.1", "rows that select checkpoints and grid points: train:F or validation")
    hold_out_feedback: Literal["learners", "all"] = option(
        "learners",
        "who does not train on the rows held out for feedback: only methods that learn from feedback (learners), or "
        "every method and teacher (all)",
        later=True,
    )
    teacher_is_finetuned: bool = option(
        False, "use the teacher without training: it is fine-tuned on the task, with the task's labels", later=True
    )


class Invocation(Options):
    """The methods, tasks and seeds to run, and where; may be given in a settings file."""

    preset: str = option("tiny", "the preset to start from")
    methods: str | list[str] = option("all", "methods to run")
    tasks: str | list[str] = option("glue", "tasks to run")
    seeds: str | int | list[int] = option("0", "seeds to run")
    results: str = option("results", "the results folder")
    executor: str = option("local", "where runs are trained: local, or a cluster's queue such as slurm")
    devices: str | list[str] = option("", "devices to divide among the jobs, such as cuda:0,cuda:1")
    runs_per_job: int = option(1, "runs in one job of a queue", ge=1)


# all settings that belong to no method, by what they are about
GROUPS: dict[str, type[Options]] = {
    "study": Study, "training": Training, "recording": Recording, "execution": Execution, "what to run": Invocation,
}  # fmt: skip
