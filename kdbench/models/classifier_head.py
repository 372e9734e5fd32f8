"""The classifier's last layer and the label words that its rows stand for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from kdbench.core.errors import UserError
from kdbench.core.lazy_torch import nn, torch

if TYPE_CHECKING:
    from torch.nn import Linear, Module


def label_words(config: Any) -> tuple[str, ...]:
    """Return the label words of a configuration, in the order of its classes."""
    return tuple(str(config.id2label.get(i, "")) for i in range(config.num_labels))


def set_labels(config: Any, labels: Sequence[str]) -> None:
    """Set a configuration's labels, for a task with exactly one label per text; one label means a regression."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {word: i for i, word in enumerate(labels)}
    # transformers' pipelines read it: they put a softmax on classes, and nothing on the number of a regression
    config.problem_type = "regression" if len(labels) == 1 else None


def fit_head(model: Any, fresh: Collection[str], words: Sequence[str], labels: Sequence[str]) -> str:
    """Match a checkpoint's classifier to the task's labels by name, or initialise it at random.

    Names are compared without regard to case. The default names LABEL_0, LABEL_1, ... match no task's labels.

    Args:
        model: a network with as many classes as the task.
        fresh: names of the tensors that were initialised at random.
        words: the checkpoint's label words.
        labels: the task's label words.

    Returns:
        a sentence about what was done with the checkpoint's classifier; "" if the checkpoint has none.
    """
    name, layer = output_layer(model)
    if f"{name}.weight" in fresh:
        return ""
    # labels do not match: a new classifier
    theirs, ours = ([word.casefold() for word in group] for group in (words, labels))
    if sorted(theirs) != sorted(ours) or len(set(ours)) < len(ours):
        _draw_anew(model, layer)
        return f"its {name} knows {', '.join(words)} and not {', '.join(labels)}: drawn anew"
    # labels match: the rows in the task's order
    order = [theirs.index(word) for word in ours]
    if order == sorted(order):
        return f"its {name} is kept, it knows the task's labels"
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter[order].clone())
    return f"its {name} is kept, put from the order {', '.join(words)} into {', '.join(labels)}"


def output_layer(model: Any) -> tuple[str, Linear]:
    """Find the linear layer that computes logits: the last one outside the encoder with a row for each class.

    Raises:
        UserError: there is none.
    """
    inside, classes = f"{model.base_model_prefix}.", model.config.num_labels
    linear = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    found = [(name, part) for name, part in linear if not name.startswith(inside) and part.out_features == classes]
    if not found:
        raise UserError(f"A network of type {model.config.model_type} has no linear classifier; take another one.")
    return found[-1]


def _draw_anew(model: Any, layer: Module) -> None:
    """Initialise one layer with the scheme of the network's class (flags as in `from_pretrained`)."""
    drawn = set(layer.parameters())
    for parameter in model.parameters():
        parameter._is_hf_initialized = parameter not in drawn
    for module in model.modules():
        module._is_hf_initialized = drawn.isdisjoint(module.parameters())
    model.initialize_weights()
