"""Check a plugin's class attributes against the types that its base class declares."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from reprlib import repr as shortened
from typing import Any, ClassVar, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError


def settle_attributes(plugin: type[Any], base: type[object]) -> str:
    """Convert the plugin's class attributes to the types that `base` declares (such as a list to a tuple).

    Returns:
        which attribute is missing or cannot be converted, and why; "" when all are there.
    """
    for key, adapter in _declared(cast(Hashable, base)).items():
        if hasattr(plugin, key):
            value = getattr(plugin, key)
            try:
                settled = adapter.validate_python(value)
            except ValidationError as error:
                return f"{plugin.__qualname__}.{key} is wrong: {_explain(error)}"
            if type(settled) is not type(value) or settled != value:
                setattr(plugin, key, settled)
        elif not hasattr(base, key):
            return f"{plugin.__qualname__} has no {key}"
    return ""


@cache
def _declared(base: Any) -> Mapping[str, TypeAdapter[Any]]:
    """Return validators of the base's ClassVars, by name; built once, when the first plugin is checked."""
    hints = get_type_hints(base, include_extras=True)
    loose = ConfigDict(arbitrary_types_allowed=True)
    return {
        key: TypeAdapter(get_args(hint)[0], config=loose) for key, hint in hints.items() if get_origin(hint) is ClassVar
    }


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = "".join(f"[{part!r}]" for part in first["loc"])
    about = f"{shortened(first['input'])}{f' at {place}' if place else ''}"
    return f"{about}: {first['msg'][:1].lower()}{first['msg'][1:]}"
