"""TAKD: distil through assistants of intermediate size (Mirzadeh et al., 2020).

Loss: of KD, at every hop: L = ce_weight CE(y, S) + kd_weight tau^2 KL(A_tau || S_tau).
Trained: the teacher is fine-tuned, an assistant of intermediate size is distilled from it, and the student from the
assistant alone; a chain of assistants makes more hops. Each hop keeps its best checkpoint on the selection split.
Paper and code: the code's KL is also a mean over classes (`reduction`). LGTM does not say which assistant it used: the
presets name one of 8 layers for BERT; elsewhere the assistant has the mean depth of teacher and student and starts from
the teacher's lowest layers. Weights and temperature are LGTM's, the same at every hop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import field_validator

from kdbench.core.options import option
from kdbench.core.spec import RunSpec
from kdbench.methods.kd import KD, KDOptions
from kdbench.models.reference import absolute_name, halfway
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
