"""The registry of methods, and the groups in which `--methods` selects them."""

from __future__ import annotations

from kdbench.core.registry import ALL, Registry
from kdbench.distill.declared_options import options_problem
from kdbench.distill.method import Method

PAPER, EVERYTHING = "paper", "everything"  # the group of the paper's methods; every group

METHODS: Registry[Method] = Registry("method", "kdbench.methods", Method, "methods", options_problem)


def methods_of_group(name: str) -> dict[str, type[Method]]:
    """Return the methods that a group selects: `all`, `everything`, or a method's `group`; {} where there is none."""
    found = METHODS.all()
    if METHODS.owner(name):
        return {}
    if name == EVERYTHING:
        return dict(found)
    wanted = (PAPER, "") if name == ALL else (name,)
    return {key: method for key, method in found.items() if name and method.group in wanted}


def has_enough_classes(row: str, classes: int) -> bool:
    """Return whether so many classes of a task are enough for the method of a row to teach at all."""
    method = METHODS.all().get(METHODS.owner(row) or "")
    return method is None or classes >= method.least_classes


def in_group(row: str, name: str) -> bool:
    """Return whether a group selects a row's method; rows without a method, such as the teacher's, belong to `all`."""
    owner = METHODS.owner(row)
    return name == ALL if owner is None or owner in METHODS.broken else owner in methods_of_group(name)


def method_groups() -> list[str]:
    """Return the names of all groups."""
    return [ALL, *dict.fromkeys(method.group for method in METHODS.all().values() if method.group), EVERYTHING]
