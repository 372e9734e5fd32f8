"""What a distillation method is, to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import StringConstraints

from kdbench.core.errors import UserError
from kdbench.core.options import Options, option
from kdbench.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.core.spec import ModelRef, RunSpec
    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext
    from kdbench.models.reference import Shape

Requirement = Literal["teacher", "teacher_lr", "feedback"]
Limit = Literal["labels_only", "teacher_only"]
RowName = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]


class NoOptions(Options):
    """For methods without hyperparameters of their own."""


class Method:
    """A distillation method: what it needs, its options, its step.

    The runner owns data, seeds, evaluation, checkpoints and logs. A subclass builds its networks from the
    `MethodContext` in `build` and advances them by one batch in `step`; a method with a single loss for the student
    overrides `loss`.

    Class attributes:
        title: how tables name it.
        paper: author and year.
        version: raise it when a change to the code changes results.
        requires: which fields of the spec it reads beside the basics. What it does not name is None in its spec.
        options_type: the class of its hyperparameters.
        variants: named settings of the options, selectable like a method of their own (title, option values).
        couples_rows: whether the loss relates the rows of a batch to one another in a way that depends on how many
            they are (a contrastive loss).
        limits: option values at which the student's loss must be the cross-entropy with the labels (`labels_only`), or
            must not depend on them (`teacher_only`). `kdbench check-method` holds the method to it.
    """

    name: ClassVar[str] = ""  # set by the registry: the file's (or the entry point's) name
    title: ClassVar[str]
    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    position: ClassVar[int] = 1000  # row order in the tables
    requires: ClassVar[frozenset[Requirement]] = frozenset()
    options_type: ClassVar[type[Options]] = NoOptions
    variants: ClassVar[Mapping[RowName, tuple[str, Mapping[str, Any]]]] = {}
    limits: ClassVar[Mapping[Limit, Mapping[str, Any]]] = {}
    couples_rows: ClassVar[bool] = False

    def __init__(self, spec: RunSpec, context: MethodContext) -> None:
        self.spec = spec
        self.context = context
        self.options: Any = self.options_type.parse(spec.options, f"method '{spec.method}'")
        self.build(context)

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        """The runs that must be done first, by role (`teacher`, `assistant`, ...).

        `spec` is complete here: `teacher`, `teacher_lr` and `feedback` are set even when `requires` does not name them.
        """
        return {}

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        """Why this student cannot learn this task from these networks by this method, as one sentence; "" when it can.

        `spec.options` lacks the options that came later (`option(..., later=True)`) and have their default.

        Args:
            others: the networks by role: the students of the runs in `needs`, and the `teacher` trained along.
            classes: how many the task has.
        """
        return ""

    def build(self, context: MethodContext) -> None:
        """Make the networks. The default is one student."""
        self.student = context.trainable_model("student", self.spec.student, lr=self.spec.training.student_lr)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Advance all networks by one batch and return scalars to log, `loss` among them."""
        loss = self.loss(batch)
        self.student.step(loss)
        return {"loss": loss.detach()}

    def loss(self, batch: Batch) -> Tensor:
        """The student's loss on a batch, for methods that need no step of their own."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither step nor loss")

    def state(self) -> dict[str, Tensor]:
        """What the method carries from step to step beside networks and optimisers; saved in checkpoints."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""


class Distillation(Method):
    """A method with a fine-tuned teacher that does not learn: a subclass writes its `loss`.

    `self.teacher.logits(batch)` are looked up, unless the batch's inputs were changed;
    `self.teacher.outputs(batch, output_hidden_states=True)` are computed.
    """

    title = ""  # a base, not a method

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        return {"teacher": finetuned(spec)}

    def build(self, context: MethodContext) -> None:
        super().build(context)
        self.teacher = context.frozen_teacher("teacher")


class OnlineOptions(Options):
    """What every method has whose teacher learns with the student from the first step."""

    teacher_start: Literal["pretrained", "finetuned"] = option(
        "pretrained", "one stage, or two: the teacher fine-tuned first", source="LGTM Fig. 5"
    )
    zero_heads: bool = option(
        True, "the student's classifier, and that of a pre-trained teacher, start at zero", source="LGTM Fig. 5, ProKT"
    )


class Online(Method):
    """A method whose teacher learns along: a subclass writes its `step`, with two learners at hand."""

    title = ""  # a base, not a method
    requires = frozenset({"teacher", "teacher_lr"})

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        return {"teacher": finetuned(spec)} if spec.options["teacher_start"] == "finetuned" else {}

    def build(self, context: MethodContext) -> None:
        o, training = self.options, self.spec.training
        self.student = context.trainable_model(
            "student", self.spec.student, lr=training.student_lr, zero_head_first=o.zero_heads
        )
        fresh = o.teacher_start == "pretrained"
        start = self.spec.teacher if fresh else context.trained_network("teacher")
        self.teacher = context.trainable_model(
            "teacher", start, lr=training.teacher_lr, zero_head_first=fresh and o.zero_heads
        )


def finetuned(spec: RunSpec, model: ModelRef | None = None, snapshots: tuple[float, ...] = ()) -> RunSpec:
    """The run that fine-tunes the teacher (or `model`) on the labels alone, to be named in `needs`.

    It is trained as the run that needs it (batch size, epochs, ...), at the teacher's rate, on all of train: a slice
    that the needing method keeps for feedback is in it. What is set for the teacher's own training wins, for the
    teacher. One that is to be taken as it is gets a run that only evaluates and keeps it.

    Args:
        snapshots: the shares of its training at which the network should also be kept, such as (1/3, 2/3).

    Raises:
        UserError: a teacher that is taken as it is has no such states.
    """
    training = spec.training.of_teacher({} if model else spec.teacher_training)
    if snapshots and not training.epochs:
        raise UserError(
            f"Method '{spec.method}' learns from the states that the teacher had while it was fine-tuned, and one that "
            f"is fine-tuned already has none; leave out '{spec.method}', or teacher_is_finetuned."
        )
    return spec.derive(
        method="finetune", student=model or spec.teacher, training=training if training.epochs else training.as_it_is(),
        options={}, snapshots=snapshots, teacher_training={},
    )  # fmt: skip


METHODS: Registry[Method] = Registry("method", "kdbench.methods", Method, folder="methods")
