"""The checks of a method. Each takes a `Subject` and returns what is wrong as a sentence, or ""."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from kdbench.core.errors import UserError
from kdbench.data.batches import Batch
from kdbench.distill.losses import label_loss
from kdbench.training.conformance.check_list import check
from kdbench.training.conformance.small_run import (
    NotApplicable,
    Observed,
    copy_weights,
    difference,
    first_batches,
    make_steps,
    networks,
    pad_rows,
    student_gradient,
)
from kdbench.training.conformance.subject import STEPS, Subject
from kdbench.training.setup import Setup

MIN_STRENGTH = 1e-4  # smallest gradient norm, relative to that of plain fine-tuning
TOLERANCE = 1e-3  # relative; sums in another order change gradients by less than 1e-6


@check("start", "Nothing else can be looked at before the method sets up and makes a step.")
def start(subject: Subject) -> str:
    names = list(subject.training.after.context.learners)
    return "" if "student" in names else f"no learner is called 'student', only {', '.join(names) or 'none at all'}"


@check("options", "Whoever tunes the method reads these texts in `kdbench show` and in the docs.")
def options(subject: Subject) -> str:
    method = subject.method
    bare = [key for key, field in method.options_type.model_fields.items() if not field.description]
    if bare:
        return f"option {bare[0]} has no description; make it with kdbench.option(default, doc, source=...)"
    return "" if method.__doc__ else "the class has no docstring, which `kdbench list methods` shows"


@check("loss", "A run stops at the first number that is not finite; `loss` is what progress and curves show.")
def loss(subject: Subject) -> str:
    for step, logs in enumerate(subject.training.seen.logs):
        if not isinstance(logs, Mapping):
            return f"step returned {logs!r:.40}, where a dict of tensors is expected"
        if "loss" not in logs:
            return f"step returned {sorted(logs)} without `loss`"
        for key, value in logs.items():
            if not isinstance(value, Tensor) or value.numel() != 1:
                return f"{key} is not a tensor with one number"
            if not math.isfinite(float(value.detach())):
                return f"{key} is {float(value.detach())} at step {step + 1}"
    return ""


@check("gradient", "Weights that never move were detached on the way, or are not in the student's loss.")
def gradient(subject: Subject) -> str:
    before, module = subject.training.before["student"], subject.training.after.context.learners["student"].module
    # attention does not depend on the keys' bias, so its gradient is zero
    params = {n: p for n, p in module.named_parameters() if p.requires_grad and not re.search("key.bias$", n)}
    same = [name for name, value in params.items() if torch.equal(before[name], value)]
    return f"{len(same)} weights of the student are the same after {STEPS} steps, such as {same[0]}" if same else ""


@check(
    "strength", "The loss is all but flat: standardised logits are, with two classes; such a student learns nothing."
)
def strength(subject: Subject) -> str:
    counts = {2: "two", 3: "three"}
    for classes in (number for number in counts if number >= subject.method.least_classes):
        if (share := _strength(subject.deterministic_setup(classes=classes))) < MIN_STRENGTH:
            words = counts[classes]
            return f"with {words} classes the student's gradient is {share:.1g} of what the labels alone would give"
    return ""


def _strength(setup: Setup) -> float:
    """Return the norm of the student's gradient relative to that of plain fine-tuning, on the first batch."""
    batch = setup.train.at(0)
    plain = _plain_gradient(setup, batch)
    found, _ = student_gradient(setup, batch)
    return float(found.norm() / plain.norm())


def _plain_gradient(setup: Setup, batch: Batch) -> Tensor:
    """Return the student's gradient of the loss with the labels, flattened."""
    student = setup.context.learners["student"]
    value = label_loss(batch.labels, student.logits(batch))
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, student.params, materialize_grads=True)])


@check("frozen", "A teacher that is meant to stay as it was must not learn, and must answer without dropout.")
def frozen(subject: Subject) -> str:
    training = subject.training
    found = {name: m for name, m in training.modules.items() if name not in training.after.context.learners}
    if not found:
        raise NotApplicable("every network of the method learns")
    for name, module in found.items():
        if name in training.seen.frozen_with_dropout:
            return f"the {name} network was asked in train mode, with its dropout on"
        after = copy_weights(module)
        if any(not torch.equal(value, after[key]) for key, value in training.before[name].items()):
            return f"the weights of the {name} network have changed; one that learns comes from context.trainable_model"
        if any(p.grad is not None for p in module.parameters()):
            return f"gradients flow into the {name} network; detach its outputs"
    return ""


@check(
    "trained",
    "Weights that nothing updates stay random; those of a teacher come from context.frozen_teacher.",
)
def trained(subject: Subject) -> str:
    training = subject.training
    for name, weights in training.own.items():
        if any(w.grad is not None for _, w in weights) and all(torch.equal(before, w) for before, w in weights):
            return f"self.{name} gets a gradient, and nothing updates it; make it by context.trainable_model"
    learners = {name: learner for name, learner in training.after.context.learners.items() if name != "student"}
    if not learners:
        raise NotApplicable("the student is the only network that learns")
    for name, learner in learners.items():
        before, after = training.before[name], copy_weights(learner.module)
        if all(torch.equal(before[key], after[key]) for key in before):
            return f"the network '{name}' has not changed in {STEPS} steps"
    return ""


@check("detached", "A gradient left over is added to the next one: a loss reached a network that it should not teach.")
def detached(subject: Subject) -> str:
    for name, learner in subject.training.after.context.learners.items():
        if any(p.grad is not None for p in learner.params):
            return f"after a step, gradients are left in '{name}'; detach its outputs (`target_logits`) in other losses"
    return ""


@check("modes", "The next step would train without dropout.")
def modes(subject: Subject) -> str:
    for name, learner in subject.training.after.context.learners.items():
        if not all(part.training for part in learner.module.modules()):
            return f"after a step, '{name}' is left in eval mode; use `with learner.mode(False)`"
    return ""


@check("batch order", "The loss pairs an example with what belongs to another: logits, labels or states of other rows.")
def batch_order(subject: Subject) -> str:
    subject.require_deterministic_loss()
    setups = [subject.deterministic_setup() for _ in range(2)]
    for setup in setups:
        make_steps(setup, first_batches(setup, 1))  # fills any state that the method keeps between batches
    batch = setups[0].train.at(1)
    shuffled = batch.rows(torch.arange(len(batch) - 1, -1, -1))
    return _compare(setups, (batch, shuffled), "the same rows in another order have")


@check("padding", "A distance over tokens must leave padding out, or it changes with the longest row of the batch.")
def padding(subject: Subject) -> str:
    subject.require_deterministic_loss()
    setups = [subject.deterministic_setup() for _ in range(2)]
    batch = setups[0].train.at(0)
    if batch.format.side == "left":
        raise NotApplicable("the tokenizer pads on the left")
    return _compare(setups, (batch, pad_rows(batch, 8)), "the batch with eight more padded tokens a row has")


@check(
    "batch mean", "A sum over the batch changes the learning rate with its size; or set `couples_rows` (see Method)."
)
def batch_mean(subject: Subject) -> str:
    subject.require_separate_rows()
    subject.require_deterministic_loss()
    setups = [subject.deterministic_setup() for _ in range(2)]
    batch = setups[0].train.at(0)
    doubled = batch.rows(torch.arange(len(batch)).repeat(2))
    return _compare(setups, (batch, doubled), "the batch put twice into one has")


def _compare(setups: Sequence[Setup], batches: Sequence[Batch], words: str) -> str:
    """Return how loss or gradient of the second batch differ from those of the first; "" where they are the same."""
    (a, loss_a), (b, loss_b) = (student_gradient(s, x) for s, x in zip(setups, batches, strict=True))
    if difference(loss_a, loss_b) > TOLERANCE:
        return f"{words} the loss {float(loss_b):.4g}, not {float(loss_a):.4g}"
    return f"{words} another gradient, by {_percent(a, b)}" if _differ(a, b) else ""


@check(
    "changed inputs",
    "A teacher must answer for the tokens in the batch, which may be augmented, not for the row's own.",
)
def changed_inputs(subject: Subject) -> str:
    if not subject.training.after.context.frozen_networks:
        raise NotApplicable("no network of the method is frozen, so nothing is kept of one")
    subject.require_deterministic_loss()
    batch, other = first_batches(subject.deterministic_setup(), 2)
    few = torch.arange(min(len(batch), len(other)))
    own = other.rows(few)
    changed = replace(own, index=batch.index[few])  # the tokens and labels of one batch under the numbers of another
    (a, loss_a), (b, loss_b) = (student_gradient(subject.deterministic_setup(), x) for x in (changed, own))
    if difference(loss_a, loss_b) > TOLERANCE or _differ(a, b):
        return f"tokens put in the place of others have the loss {float(loss_a):.4g}, in their own {float(loss_b):.4g}"
    if not _differ(b, student_gradient(_with_altered_weights(subject.deterministic_setup()), own)[0]):
        raise NotApplicable("the frozen networks make no difference to the student")
    setups = subject.deterministic_setup(), subject.deterministic_setup()
    for setup in setups:
        make_steps(setup, [batch])  # values cached for these rows must not be used for other tokens
    (a, _), (b, _) = (student_gradient(setup, changed) for setup in (setups[0], _with_altered_weights(setups[1])))
    return "" if _differ(a, b) else "the teacher is not asked about new tokens of a row that was seen before"


def _with_altered_weights(setup: Setup) -> Setup:
    """Change all linear maps of a run's frozen networks, which changes their states and predictions."""
    for frozen in setup.context.frozen_networks.values():
        for part in frozen.module.modules():
            if isinstance(part, nn.Linear):
                part.weight.data.mul_(-0.5)
    return setup


@check("labels only", "With all weight on the labels the student must get the gradient of plain fine-tuning.")
def labels_only(subject: Subject) -> str:
    setup = subject.at_limit("labels_only")
    subject.require_deterministic_loss()
    return _differs_from_plain(setup)


def _differs_from_plain(setup: Setup) -> str:
    """Say by how much the student's gradient differs from that of plain fine-tuning; "" where it does not."""
    batch = setup.train.at(0)
    wanted = _plain_gradient(setup, batch)
    found, _ = student_gradient(setup, batch)
    return f"the student's gradient differs by {_percent(found, wanted)}" if _differ(found, wanted) else ""


@check("teacher only", "With all weight on the teacher the labels must not reach the student.")
def teacher_only(subject: Subject) -> str:
    setups = [subject.at_limit("teacher_only") for _ in range(2)]
    subject.require_deterministic_loss()
    batch = setups[0].train.at(0)
    other = type(batch)(**{**vars(batch), "labels": (batch.labels + 1) % setups[0].context.num_labels})
    (a, _), (b, _) = (student_gradient(s, x) for s, x in zip(setups, (batch, other), strict=True))
    return f"other labels give another gradient, by {_percent(a, b)}" if _differ(a, b) else ""


@check("temperature", "Softened losses shrink with 1 / tau^2 unless multiplied by tau^2 (Hinton et al., 2015).")
def temperature(subject: Subject) -> str:
    if "temperature" not in subject.method.options_type.model_fields:
        raise NotApplicable("the method has no temperature")
    lengths = []
    for tau in (40.0, 80.0):
        setup = subject.at_limit("teacher_only", temperature=tau)
        found, _ = student_gradient(setup, setup.train.at(0))
        lengths.append(float(found.norm()))
    ratio = lengths[0] / max(lengths[1], 1e-30)
    if ratio > 1.33:  # a ratio below 1 belongs to losses that ignore the size of logits, such as a correlation
        return f"doubling a high temperature divides the gradient by {ratio:.2g}; the factor tau^2 is missing"
    return ""


@check(
    "extreme logits", "Sure networks have logits whose small probabilities are 0 in floating point; use log-softmax."
)
def extreme_logits(subject: Subject) -> str:
    setup = subject.deterministic_setup()
    for module in networks(setup).values():
        if heads := [part for part in module.modules() if isinstance(part, nn.Linear)]:
            torch.nn.init.normal_(heads[-1].weight, std=1e3)
    seen = make_steps(setup, first_batches(setup, 2))
    if bad := _not_finite(seen):
        return f"with logits of some thousands {bad[0]} is not finite"
    for name, updates in seen.gradients.items():
        if not all(torch.isfinite(g).all() for gradients in updates for g in gradients):
            return f"with logits of some thousands the gradient of '{name}' is not finite"
    return ""


@check("batch of one", "The last batch of an epoch may hold one example.")
def batch_of_one(subject: Subject) -> str:
    setup = subject.deterministic_setup()
    seen = make_steps(setup, [batch.rows(torch.arange(1)) for batch in first_batches(setup, 2)])
    bad = _not_finite(seen)
    return f"{bad[0]} is not finite" if bad else ""


@check("three classes", "A task may have more than two classes.")
def three_classes(subject: Subject) -> str:
    setup = subject.deterministic_setup(classes=3)
    seen = make_steps(setup, first_batches(setup, 2))
    bad = _not_finite(seen)
    return f"{bad[0]} is not finite with three classes" if bad else ""


@check("regression", "A task may have numbers for labels; a method that needs classes says so (`no_regression`).")
def regression(subject: Subject) -> str:
    if reason := subject.method.no_regression:
        raise NotApplicable(reason)
    try:
        setup = subject.deterministic_setup(classes=1)
    except UserError as error:  # its options do not fit a regression
        raise NotApplicable(str(error).rstrip(".")) from None
    share = _strength(setup)
    bad = _not_finite(make_steps(setup, first_batches(setup, 2)))
    if bad or share < MIN_STRENGTH:
        return (
            f"{bad[0]} is not finite" if bad else f"the student's gradient is {share:.1g} of what the labels would give"
        )
    if "labels_only" not in subject.method.limits:
        return ""
    subject.require_deterministic_loss()
    text = _differs_from_plain(subject.at_limit("labels_only", classes=1))
    return f"with all weight on the labels {text}" if text else ""


def _not_finite(seen: Observed) -> list[str]:
    """Return the names of logged numbers that are infinite or NaN."""
    return [key for logs in seen.logs for key, value in logs.items() if not torch.isfinite(value).all()]


def _differ(a: Tensor, b: Tensor) -> bool:
    return difference(a, b) > TOLERANCE


def _percent(a: Tensor, b: Tensor) -> str:
    return f"{100 * difference(a, b):.3g} %"
