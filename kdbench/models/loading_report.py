"""Check that a network's tensors, except the classifier's, all came from its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from kdbench.core.errors import UserError

NAMED = 3  # tensors listed in a message
POOLER = "pooler"  # a layer that plain encoders lack and some classifiers do not use


class LoadedParts(NamedTuple):
    """Names of tensors: `fresh` ones were initialised at random, `unused` ones are in the files only."""

    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def describe(self) -> list[str]:
        """Describe fresh and unused tensors, in a sentence each."""
        sentences = [f"drawn anew: {', '.join(self.fresh)}"] if self.fresh else []
        return sentences + ([f"not needed of its files: {_some(self.unused)}"] if self.unused else [])


def check_report(model: Any, report: Mapping[str, Any], name: str) -> LoadedParts:
    """Check that the files contain all of the encoder's tensors (the pooler excepted) and no other encoder tensors.

    Args:
        model: a network with a classifier, just loaded.
        report: of `from_pretrained(..., output_loading_info=True)`: `missing_keys`, `unexpected_keys`,
            `mismatched_keys` (name, shape in the file, shape in the network).
        name: the model's name, for messages.

    Returns:
        names of the other tensors that are missing in the files or unused.

    Raises:
        UserError: a tensor of the encoder is not in the files, has another shape there, or would be dropped.
    """
    own = _EncoderNames(model)
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    shapes = {key: (tuple(theirs), tuple(ours)) for key, theirs, ours in report["mismatched_keys"]}
    # three kinds of problems: missing, of another shape, unused
    lost = [key for key in missing if own.is_inside(key) and not own.is_pooler(key)]
    other = [
        f"{key} is {_shape(theirs)} there and {_shape(ours)} in the network"
        for key, (theirs, ours) in sorted(shapes.items())
        if own.is_inside(key)
    ]
    dropped = [key for key in unexpected if own.belongs(key)]
    # all of them in one message
    if lost or other or dropped:
        total = len(model.state_dict())
        parts = {
            f"{len(lost)} of the network's {total} tensors are missing": lost,
            f"{len(other)} have another shape": other,
            f"{len(dropped)} in the files have no place in the network": dropped,
        }
        wrong = "; ".join(f"{what} ({_some(names)})" for what, names in parts.items() if names)
        raise UserError(f"The weights of '{name}' do not fit its config.json: {wrong}. {own.way_out(lost, dropped)}")
    return LoadedParts(tuple(sorted([*missing, *shapes])), tuple(unexpected))


def check_complete(report: Mapping[str, Any], name: str) -> None:
    """Check that the files contain exactly the network's tensors, for networks that kdbench saved.

    Raises:
        UserError: a tensor is missing or unexpected.
    """
    if strange := sorted([*report["missing_keys"], *report["unexpected_keys"]]):
        raise UserError(f"The network in {name} is not whole ({_some(strange)}); delete the run and train it again.")


class _EncoderNames:
    """Recognises names of tensors of a network's encoder (its `base_model`), also with another prefix."""

    def __init__(self, model: Any) -> None:
        self._prefix = f"{model.base_model_prefix}."
        self._layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
        self._tensors = set(model.base_model.state_dict())
        self._buffers = {name for name, _ in model.base_model.named_buffers()}
        self._parts = {name for name, _ in model.base_model.named_children()}

    def is_inside(self, key: str) -> bool:
        """Return whether one of the network's own tensors belongs to the encoder."""
        return key.startswith(self._prefix)

    def is_pooler(self, key: str) -> bool:
        return key.removeprefix(self._prefix).startswith(f"{POOLER}.")

    def belongs(self, key: str) -> bool:
        """Return whether an unused tensor belongs to an encoder: of an extra layer, or under another prefix."""
        plain = key.removeprefix(self._prefix)
        if self.is_pooler(key) or plain in self._buffers:
            return False
        inside = plain != key or plain.split(".")[0] in self._parts
        return inside or self._foreign_prefix(key) != ""

    def _foreign_prefix(self, key: str) -> str:
        """Return the prefix before the name of an encoder tensor, such as `module.`; "" if there is none."""
        places = [place + 1 for place, letter in enumerate(key) if letter == "."]
        return next((key[:place] for place in places if key[place:] in self._tensors), "")

    def way_out(self, lost: Collection[str], dropped: Collection[str]) -> str:
        """Return a sentence on how to correct weights that do not fit.

        Args:
            lost: tensors that the files lack.
            dropped: tensors of the files that have no place in the network.
        """
        prefixes = Counter(self._foreign_prefix(key).removesuffix(self._prefix) for key in dropped)
        prefix = max(prefixes, key=lambda prefix: prefixes[prefix], default="")
        if prefix:
            return (
                f"Names begin with '{prefix}' instead of '{self._prefix}': correct model_type in config.json, or save "
                f"the network without what it is wrapped in, with save_pretrained()."
            )
        # the number of layers is not to blame where only shapes differ
        layers = f" (num_hidden_layers={self._layers})" if lost or dropped else ""
        return f"Correct config.json{layers}, or save network and configuration together with save_pretrained()."


def _some(names: Collection[str]) -> str:
    return ", ".join([*list(names)[:NAMED], *(["..."] if len(names) > NAMED else [])])


def _shape(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
