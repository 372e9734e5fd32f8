"""Check what a method's class declares about its options, when the method is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdbench.core.errors import UserError, check_known
from kdbench.core.settings import GROUPS

if TYPE_CHECKING:
    from kdbench.distill.method import Method


def options_problem(method: type[Method]) -> str:
    """Return what is wrong with a method's options, or with values that its class gives them; "" when all is well."""
    kind = method.options_type
    for key, field in kind.model_fields.items():
        if field.is_required():
            return f"option '{key}' of {kind.__name__} has no default; declare it by {key}: TYPE = option(DEFAULT, DOC)"
        if groups := [name for name, group in GROUPS.items() if key in group.model_fields]:
            return (
                f"option '{key}' of {kind.__name__} has the name of a setting of kdbench ({groups[0]}), so that "
                f"--set {key}=VALUE would set both; rename the option"
            )
    try:
        for place, values in _declared_values(method).items():
            kind.parse(values, f"{method.__qualname__}{place}")
        if "class_options" in vars(method):
            check_known(f"key of {method.__qualname__}.class_options", method.class_options, kind.keys())
    except UserError as error:
        return str(error).rstrip(".")
    return ""


def _declared_values(method: type[Method]) -> dict[str, Mapping[str, Any]]:
    """Return the option values of a method's class by the place where they stand: defaults, variants and limits.

    Inherited limits are left out: they may name options that the subclass does not have, and only `check-method` reads
    them.
    """
    variants = {f".variants['{name}']": values for name, (_, values) in method.variants.items()}
    own = method.limits if "limits" in vars(method) else {}
    return {".options_type": {}, **variants, **{f".limits['{name}']": values for name, values in own.items()}}
