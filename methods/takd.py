"""TAKD: distil through assistants of intermediate size (Mirzadeh et al., 2020).

Loss: of KD, at every hop: L = ce_weight CE(y, S) + kd_weight tau^2 KL(A_tau || S_tau).
Trained: the teacher is fine-tuned, an assistant of intermediate size is distilled from it, and the student from the
assistant alone; a chain of assistants makes more hops. Each hop keeps its best checkpoint on the selection split.
Paper and code: the code's KL is also a mean over classes (`reduction`). LGTM does not say which assistant it used: the
presets name one of 8 layers for BERT; elsewhere the assistant has the mean depth of teacher and student and starts from
the teacher's lowest layers. Weights and temperature are LGTM's, the same at every hop.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import field_validator

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.core.options import option
from kdbench.core.spec import RunSpec
from kdbench.methods.kd import KD, KDOptions
from kdbench.models.outputs_reference import OUTPUTS_NAME
from kdbench.models.reference import TINY, absolute_name, resolve, shape, split_name
from kdbench.planning.make_plan import model_ref

if TYPE_CHECKING:
    from kdbench.distill.context import MethodContext

HALFWAY, CHAIN = "halfway", "::"


class TAKDOptions(KDOptions):
    assistants: str = option(
        HALFWAY,
        "initial networks of the assistants, from large to small, joined by '::'; halfway: the teacher's lowest layers",
        source="TAKD; LGTM does not say",
        pattern=r"\S",
    )

    @field_validator("assistants")
    @classmethod
    def _from_any_folder(cls, names: str) -> str:
        """Make paths absolute, so that commands and specs name the same networks wherever they are read."""
        return names if names == HALFWAY else CHAIN.join(absolute_name(name.strip()) for name in names.split(CHAIN))


class TAKD(KD):
    """Distil the frozen teacher into assistants of decreasing size, and the last of them into the student."""

    title = "TAKD"
    version = 1
    paper = "Mirzadeh et al., 2020"
    group = "paper"
    position = 5
    options_type = TAKDOptions
    options: TAKDOptions

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        assert spec.teacher is not None
        asked = spec.options["assistants"]
        names = [halfway(spec.teacher.name, spec.student.name)] if asked == HALFWAY else asked.split(CHAIN)
        # the student's teacher is the smallest assistant, which in turn needs the larger ones
        *larger, last = (model_ref(name.strip()) for name in names)
        hop = spec.derive(student=last, method="kd", options={key: spec.options[key] for key in KDOptions.model_fields})
        if larger:
            chain = CHAIN.join(ref.name for ref in larger)
            hop = hop.derive(method=cls.name, options={**hop.options, "assistants": chain})
        return {"assistant": hop}

    def build(self, context: MethodContext) -> None:
        self.student = context.trainable_model("student", self.spec.student, lr=self.spec.training.student_lr)
        self.teacher = context.frozen_teacher("assistant")


@lru_cache(maxsize=64)
def halfway(teacher: str, student: str) -> str:
    """Return the name of a network of the teacher's lowest layers, as deep as the mean of both (rounded up).

    Raises:
        UserError: the teacher is a file of outputs, or has fewer layers than that.
    """
    if OUTPUTS_NAME.fullmatch(teacher):
        raise UserError(
            "The teacher is a file of outputs, which has no layers to make an assistant of; name the assistants' "
            "networks, as --set takd.assistants=NETWORK does."
        )
    theirs, own = (shape(resolve(name), ()).layers for name in (teacher, student))
    depth = math.ceil((theirs + own) / 2)
    base, layers = split_name(teacher)
    if depth > theirs:
        raise UserError(
            f"The teacher {teacher} has {count(theirs, 'layer')} and the student {student} {own}, so the teacher's "
            f"layers are too few for an assistant between them; choose a student no deeper than its teacher, or name "
            f"the assistants' networks, as --set takd.assistants=NETWORK does."
        )
    if tiny := TINY.fullmatch(base):
        return f"tiny-{depth}x{tiny['hidden']}"
    return f"{base}:{'+'.join(map(str, (layers or range(depth))[:depth]))}"
