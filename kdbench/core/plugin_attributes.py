"""Check what a plugin declares against the class attributes that its base declares."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

_KNOWN: dict[type[object], Mapping[str, TypeAdapter[Any]]] = {}


def settle_attributes(plugin: type[Any], base: type[object]) -> str:
    """Give the plugin's class attributes the types that `base` declares (of a list a tuple, say).

    Returns:
        which attribute cannot have its type, and why; "" when all can.
    """
    for key, adapter in _declared(base).items():
        if hasattr(plugin, key):
            value = getattr(plugin, key)
            try:
                settled = adapter.validate_python(value)
            except ValidationError as error:
                return f"{plugin.__qualname__}.{key} is wrong: {_explain(error)}"
            if type(settled) is not type(value) or settled != value:
                setattr(plugin, key, settled)
    return ""


def _declared(base: type[object]) -> Mapping[str, TypeAdapter[Any]]:
    """The types of the base's ClassVars, by name; made when the first plugin is looked at."""
    if base not in _KNOWN:
        _KNOWN[base] = _made(base)
    return _KNOWN[base]


def _made(base: type[object]) -> Mapping[str, TypeAdapter[Any]]:
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
