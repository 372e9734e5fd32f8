"""Divide data among four roles: train, feedback, selection, report.

A method gets train and, if it requires it, feedback. The runner alone uses selection, to choose checkpoints and grid
points, and report, for the numbers in tables.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.core.errors import UserError
from kdbench.core.spec import RunSpec


@dataclass(frozen=True)
class Part:
    """A selection of rows from a split of the source data."""

    split: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Roles:
    """The rows of every role; `feedback` is None for methods that do not use it."""

    train: Part
    feedback: Part | None
    selection: Part
    report: tuple[Part, ...]


def held_out_share(protocol: str, role: str) -> float:
    """Return the share F of train that the protocol `train:F` holds out; 0 for `validation`.

    Raises:
        UserError: the protocol is neither.
    """
    if protocol == "validation":
        return 0.0
    try:
        kind, _, share = protocol.partition(":")
        if kind == "train" and 0 < float(share) < 0.5:
            return float(share)
    except ValueError:
        pass
    raise UserError(
        f"--{role} {protocol} is not valid; give 'validation', or 'train:F' with a share F of the training set "
        f"between 0 and 0.5, such as train:0.1."
    )


def division_key(spec: RunSpec) -> Hashable:
    """Return a key that is equal for runs whose roles have equally many rows."""
    return spec.task, spec.data.fingerprint, spec.selection, spec.feedback or spec.withheld, spec.training.train_rows


def assign_roles(
    spec: RunSpec, sizes: Mapping[str, int], report_splits: tuple[str, ...], validation_split: str = ""
) -> Roles:  # fmt: skip
    """Divide the source's splits among the roles, the same way for every method and seed.

    The rows held out for selection are not trained on by any method. The rows for feedback are taken out of train only
    for methods that use feedback, so all methods see the same labelled examples; or for all (`RunSpec.withheld`), so
    all methods train on the same rows.

    Args:
        sizes: rows of each split.
        validation_split: the split that `validation` means; "" where there is none that is not reported, so that it
            means the first reported one.

    Raises:
        UserError: a role has no rows.
    """
    # selection
    limit = spec.training.train_rows or sizes["train"]
    rows = np.random.default_rng([spec.training.split_seed, 20230]).permutation(sizes["train"])[:limit]
    selection_share = held_out_share(spec.selection, "selection")
    cut = round(selection_share * len(rows))
    held, rest = rows[:cut], rows[cut:]
    report = tuple(Part(name, np.arange(sizes[name])) for name in report_splits)
    validation = Part(validation_split, np.arange(sizes[validation_split])) if validation_split else report[0]
    # feedback
    feedback = None
    if held_out := spec.feedback or spec.withheld:
        share = held_out_share(held_out, "feedback")
        slice_end = round(share * len(rows))
        if spec.feedback:
            feedback = Part("train", np.sort(rest[:slice_end])) if share else validation
        rest = rest[slice_end:]
    # train is the rest
    selection = Part("train", np.sort(held)) if selection_share else validation
    roles = Roles(Part("train", np.sort(rest)), feedback, selection, report)
    # no role may be empty
    parts: dict[str, Any] = {"train": roles.train, "feedback": roles.feedback, "selection": roles.selection}
    for role, part in parts.items():
        if part is not None and not len(part.rows):
            raise UserError(f"Task '{spec.task}' leaves no rows for {role}; hold out a larger share or add data.")
    return roles
