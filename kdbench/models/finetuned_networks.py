"""A network that is fine-tuned already: loaded whole, its classifier included, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.spec import ModelRef
from kdbench.models import build, classifier_head
from kdbench.models.configuration import load_config
from kdbench.models.loading_report import check_report
from kdbench.models.reference import available, split_name

WORDLESS = re.compile(r"label_(\d+)")  # what transformers calls a class that nobody has named


def build_given(ref: ModelRef, labels: Sequence[str], attention: str) -> tuple[Any, str]:
    """Load a fine-tuned network as it is.

    Args:
        labels: the task's label words, in the order of its classes.

    Returns:
        the network, and a sentence where its classes have no words or another order; else "".

    Raises:
        UserError: the network has no classifier, or one for other labels.
    """
    folder, (_, layers) = available(ref), split_name(ref.name)
    if folder is None or layers:
        what = "some layers of a network" if layers else "drawn at random"
        raise UserError(f"'{ref.name}' is {what} and so is not fine-tuned; leave out teacher_is_finetuned.")
    build.quiet()
    config = load_config(folder)
    words = classifier_head.label_words(config)
    check_labels(ref.title, words, labels)
    classifier_head.set_labels(config, labels)
    model, report = build.load_reported(folder, config, attention, ignore_mismatched_sizes=True)
    if lacking := check_report(model, report, ref.title).fresh:
        some = f"{', '.join(lacking[:4])}{', ...' * (len(lacking) > 4)}"
        raise UserError(
            f"'{ref.name}' is not a fine-tuned classifier: it lacks {some}; leave out teacher_is_finetuned, and it is "
            f"fine-tuned first."
        )
    if is_wordless(words):
        words_taken = ", ".join(labels)
        return model, f"The classes of {ref.title} have no words; they are taken to be {words_taken}, in this order."
    said = classifier_head.fit_head(model, (), words, labels)
    in_order = [word.casefold() for word in words] == [word.casefold() for word in labels]
    return model, "" if in_order else f"{ref.title}: {said}."


def is_wordless(words: Sequence[str]) -> bool:
    """Whether the classes have numbers only: nothing tells which label each stands for."""
    return all((found := WORDLESS.fullmatch(word.casefold())) and int(found[1]) == i for i, word in enumerate(words))


def check_labels(name: str, words: Sequence[str], labels: Sequence[str]) -> None:
    """See that a network's classes are the task's, in any order; classes without words are taken to be in its order.

    Raises:
        UserError: they are not.
    """
    same = sorted(word.casefold() for word in words) == sorted(word.casefold() for word in labels)
    if len(words) != len(labels) or not (same or is_wordless(words)):
        raise UserError(
            f"The classifier of '{name}' knows {', '.join(words)}, and the task's labels are {', '.join(labels)}; "
            f"give a teacher with these, or leave out teacher_is_finetuned."
        )
