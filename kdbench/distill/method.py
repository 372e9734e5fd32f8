"""Base classes of distillation methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import StringConstraints

from kdbench.core.errors import UserError
from kdbench.core.options import Options, option
from kdbench.core.spec import RUN_NAME

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.core.spec import RunSpec
    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext
    from kdbench.models.reference import Shape

# the last: more of a fine-tuned teacher than its logits, so that a file of outputs is not enough
Requirement = Literal["teacher", "teacher_lr", "feedback", "teacher_network"]
Limit = Literal["labels_only", "teacher_only", "no_feedback"]
RowName = Annotated[str, StringConstraints(pattern=RUN_NAME)]


class NoOptions(Options):
    """For methods without hyperparameters of their own."""


NEEDS_CLASSES = "it compares probabilities of classes, and a regression has none"  # for `Method.no_regression`


class Method:
    """Base class of a distillation method: its options, the runs it needs, its networks, its training step.

    The runner owns data, seeds, evaluation, checkpoints and logs. A subclass builds its networks from the
    `MethodContext` in `build` and advances them by one batch in `step`; a method with a single loss for the student
    overrides `loss`.

    Class attributes:
        title: the method's name in tables.
        paper: author and year.
        group: the name under which `--methods` selects the method together with others, such as `logits`. `all` means
            the methods of `paper` and those without a group.
        two_classes: what the method becomes on two classes, as one sentence; "" where nothing is lost. Tables mark such
            scores.
        least_classes: the fewest classes of a task on which the method can teach at all; 0: of any task.
        version: raise it when a change to the code changes results. A class that does not state it is known by the
            code in its file.
        requires: the optional fields of the spec that the method reads; the others are None in its spec. And
            `teacher_network`, where it reads more of its fine-tuned teacher than logits, or trains it.
        options_type: the class of its hyperparameters.
        variants: named option settings (title, option values), selectable like methods.
        no_regression: why the method cannot learn a task of numbers, as a sentence without full stop; "" where it can,
            because its losses are `losses.label_loss` and `losses.output_distance`, or others that hold for one output.
        class_options: the values of options with which a method that can learn a regression cannot.
        couples_rows: True if the loss of a row depends on the number of rows in the batch (contrastive losses), or if
            it pairs rows by operations on [B, 1] and [B] on purpose.
        limits: option values at which the student's loss must equal the cross-entropy with the labels (`labels_only`),
            or must not depend on them (`teacher_only`). `kdbench check-method` tests both. With those of `no_feedback`
            the feedback rows are held out and not used, for a comparison on equal rows.
    """

    name: ClassVar[str] = ""  # set by the registry: the file's (or the entry point's) name
    title: ClassVar[str]
    paper: ClassVar[str] = ""
    group: ClassVar[str] = ""
    two_classes: ClassVar[str] = ""
    least_classes: ClassVar[int] = 0
    version: ClassVar[int] = 1
    position: ClassVar[int] = 1000  # row order in the tables
    requires: ClassVar[frozenset[Requirement]] = frozenset()
    options_type: ClassVar[type[Options]] = NoOptions
    variants: ClassVar[Mapping[RowName, tuple[str, Mapping[str, Any]]]] = {}
    limits: ClassVar[Mapping[Limit, Mapping[str, Any]]] = {}
    couples_rows: ClassVar[bool] = False
    no_regression: ClassVar[str] = (
        'its loss is written for classes, unless no_regression = "" in its class says that it holds for numbers too'
    )

    class_options: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __init__(self, spec: RunSpec, context: MethodContext) -> None:
        self.spec = spec
        self.context = context
        self.options: Any = self.options_type.parse(spec.options, f"method '{spec.method}'")
        self.build(context)

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        """Return the runs that must be done first, by role (`teacher`, `assistant`, ...).

        `teacher`, `teacher_lr` and `feedback` of `spec` are set here even when `requires` does not name them.
        """
        return {}

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        """Return why this student cannot learn this task from these networks, as one sentence; "" when it can.

        `spec.options` lacks the options that were added later (`option(..., later=True)`) and have their default.

        Args:
            others: the other networks by role: students of the runs in `needs`, and a `teacher` that is trained too.
            classes: the number of the task's classes, 1 for a regression.
        """
        return ""

    def build(self, context: MethodContext) -> None:
        """Build the networks; by default one student."""
        self.student = context.trainable_model("student", self.spec.student, lr=self.spec.training.student_lr)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Advance all networks by one batch and return scalars to log, `loss` among them."""
        loss = self.loss(batch)
        self.student.step(loss)
        return {"loss": loss.detach()}

    def loss(self, batch: Batch) -> Tensor:
        """Compute the student's loss on a batch; enough for methods that do not override `step`."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither step nor loss")

    def may_be_best(self, step: int) -> bool:
        """Return whether the student after `step` steps may be the run's best.

        False where a method of several stages has not trained its classifier yet. The last student always may.
        """
        return True

    def state(self) -> dict[str, Tensor]:
        """Return the method's own state, saved in checkpoints beside networks and optimisers."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""


class Distillation(Method):
    """Base class of methods with a frozen, fine-tuned teacher; a subclass implements `loss`.

    `self.teacher.logits(batch)` come from the teacher cache, unless the batch's inputs were changed;
    `self.teacher.outputs(batch, output_hidden_states=True)` are computed at every call.
    """

    title = ""  # a base, not a method

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        return {"teacher": finetuned(spec)}

    def build(self, context: MethodContext) -> None:
        super().build(context)
        self.teacher = context.frozen_teacher("teacher")


class OnlineOptions(Options):
    """Options of every method whose teacher is trained together with the student."""

    teacher_start: Literal["pretrained", "finetuned"] = option(
        "pretrained",
        "the teacher's initial weights: pre-trained, or fine-tuned on the task first",
        source="LGTM Fig. 5",
    )
    zero_heads: bool = option(
        True,
        "start the classifiers of student and pre-trained teacher at zero; slow where classes are many or rare",
        source="LGTM Fig. 5, ProKT",
    )


class Online(Method):
    """Base class of methods that train the teacher together with the student; a subclass implements `step`."""

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


def finetuned(spec: RunSpec, *, snapshots: tuple[float, ...] = ()) -> RunSpec:
    """Return the run that fine-tunes the teacher on the labels alone, for use in `needs`.

    It has the settings of the run that needs it (batch size, epochs, ...), the teacher's learning rate, and all
    training rows, including those that the method holds out for feedback. Settings for the teacher's own training
    take precedence. A teacher that is fine-tuned already gets a run that only evaluates and saves it.

    Args:
        snapshots: the shares of its training at which the network is saved too, such as (1/3, 2/3).

    Raises:
        UserError: snapshots of a teacher that is fine-tuned already.
    """
    training = spec.training.of_teacher(spec.teacher_training)
    if snapshots and not training.epochs:
        raise UserError(
            f"Method '{spec.method}' learns from the states that the teacher had while it was fine-tuned, and one that "
            f"is fine-tuned already has none; leave out '{spec.method}', or teacher_is_finetuned."
        )
    return spec.derive(
        method="finetune", student=spec.teacher, training=training if training.epochs else training.as_it_is(),
        options={}, snapshots=snapshots, teacher_training={},
    )  # fmt: skip
