"""Find out which networks of a run have another tokenizer than its student, and mark them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from kdbench.core.errors import RunFailure
from kdbench.core.spec import ModelRef, RunSpec
from kdbench.distill.context import Sources
from kdbench.models.own_tokenizer import set_tokenizer
from kdbench.planning import inputs


@dataclass(frozen=True)
class RunTokenizers:
    """The tokenizers of a run's networks.

    Attributes:
        vocabulary: of the task's data, for tiny networks.
        needed: the students of the needed runs, by run.
    """

    spec: RunSpec
    vocabulary: tuple[str, ...]
    needed: Mapping[str, ModelRef]

    @cached_property
    def others(self) -> dict[str, ModelRef]:
        """Return a network for each tokenizer that differs from the student's, by `inputs.tokenizer_key`."""
        refs = [*self.needed.values(), *([self.spec.teacher] if self.spec.teacher else [])]
        keys = {self._key(ref): ref for ref in reversed(refs)}
        return {key: ref for key, ref in keys.items() if key}

    def mark_networks(self, sources: Sources) -> Sources:
        """Return sources whose networks know their tokenizers."""

        def fresh(ref: ModelRef) -> nn.Module:
            key = self._key(ref)
            if key and key not in self.others:
                raise RunFailure(
                    "setting",
                    f"{ref.title} has another tokenizer than the student, and is neither the run's teacher nor of a "
                    f"run that the method needs; give the method a network with the student's tokenizer.",
                )
            return _marked(sources.fresh(ref), key)

        def trained(run: str, snapshot: float | None) -> nn.Module:
            module = sources.trained(run, snapshot)
            return _marked(module, self._key(self.needed[run])) if run in self.needed else module

        return Sources(fresh, trained)

    def _key(self, ref: ModelRef) -> str:
        return inputs.tokenizer_key(self.spec.student, ref, self.vocabulary)


def _marked(module: nn.Module, key: str) -> nn.Module:
    set_tokenizer(module, key)
    return module
