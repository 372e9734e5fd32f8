"""Load networks that are fine-tuned already, with their classifiers."""

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

WORDLESS = re.compile(r"label_(\d+)")  # the default name of a class in transformers


def build_finetuned(ref: ModelRef, labels: Sequence[str], attention: str) -> tuple[Any, str]:
    """Load a fine-tuned network without changes.

    Args:
        labels: the task's label words, in the order of its classes.

    Returns:
        the network, and what is to be known of its classes: that they have no words, or another order, or were trained
        as several labels of a text; else "".

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
    several = (
        f"{ref.title} was trained to give a text several labels ({config.problem_type}); here its logits are those of "
        "one."
        if config.problem_type == "multi_label_classification" else ""
    )  # fmt: skip
    classifier_head.set_labels(config, labels)
    model, report = build.load_reported(folder, config, attention, ignore_mismatched_sizes=True)
    if lacking := check_report(model, report, ref.title).fresh:
        tensors = f"{', '.join(lacking[:4])}{', ...' * (len(lacking) > 4)}"
        raise UserError(
            f"'{ref.name}' is not a fine-tuned classifier: it lacks {tensors}; leave out teacher_is_finetuned, and it "
            f"is fine-tuned first."
        )
    if len(labels) == 1:  # a number, whatever it is called
        return model, ""
    if has_no_label_words(words):
        words_taken = ", ".join(labels)
        said = f"The classes of {ref.title} have no words; they are taken to be {words_taken}, in this order."
        return model, f"{said} {several}".strip()
    said = classifier_head.fit_head(model, (), words, labels)
    in_order = [word.casefold() for word in words] == [word.casefold() for word in labels]
    return model, f"{'' if in_order else f'{ref.title}: {said}.'} {several}".strip()


def has_no_label_words(words: Sequence[str]) -> bool:
    """Return whether all classes have default names (LABEL_0, ...), which do not say what they stand for."""
    return all((found := WORDLESS.fullmatch(word.casefold())) and int(found[1]) == i for i, word in enumerate(words))


def check_labels(name: str, words: Sequence[str], labels: Sequence[str]) -> None:
    """Check that a network has the task's classes, in any order; classes with default names are accepted.

    A regression's one output may have any name.

    Raises:
        UserError: the classes differ.
    """
    if len(words) == len(labels) == 1:
        return
    same = sorted(word.casefold() for word in words) == sorted(word.casefold() for word in labels)
    if len(words) != len(labels) or not (same or has_no_label_words(words)):
        raise UserError(
            f"The classifier of '{name}' knows {', '.join(words)}, and the task's labels are {', '.join(labels)}; "
            f"give a teacher with these, or leave out teacher_is_finetuned."
        )
