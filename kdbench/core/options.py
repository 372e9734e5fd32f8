"""Typed, documented, frozen options: what a user may set, and how what they typed becomes a value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from kdbench.core.errors import UserError, unknown


def option(default: Any, doc: str, *, source: str = "", later: bool = False, **bounds: Any) -> Any:
    """A field of `Options`.

    Args:
        default: the value when nothing is set.
        doc: one line for the reader of `kdbench show` and the docs.
        source: where the default comes from (paper, equation, table, or code).
        later: it came when there were results already; with the default, a run is the one that it was without it.
        bounds: pydantic's constraints (`ge`, `gt`, `le`, `lt`).
    """
    return Field(default, description=doc, json_schema_extra={"source": source, "later": later}, **bounds)


class Options(BaseModel):
    """Base of every group of settings: frozen, no unknown keys, defaults validated like input."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def keys(cls) -> list[str]:
        return list(cls.model_fields)

    def identity(self) -> dict[str, Any]:
        """The values, without those that came later and have their default."""
        values, later = self.model_dump(mode="json"), _later(type(self))
        return {key: value for key, value in values.items() if key not in later or value != later[key]}

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate `values` (strings as typed, or values as stored).

        Raises:
            UserError: an unknown key, or a value of the wrong type or range; `where` names the group.
        """
        for key in values:
            if key not in cls.model_fields:
                raise unknown(f"key of {where}", key, cls.keys())
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise UserError(_explain(cls, error, where)) from None


@cache
def _later(cls: type[Options]) -> dict[str, Any]:
    """The settings that came later, with their defaults."""
    extras = {key: field.json_schema_extra for key, field in cls.model_fields.items()}
    return {
        k: cls.model_fields[k].default for k, extra in extras.items() if isinstance(extra, dict) and extra.get("later")
    }


def _explain(cls: type[Options], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "?"
    problem = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    about = f" ({describe(cls.model_fields[key])})" if key in cls.model_fields else ""
    return f"{where}: {key}={first['input']!r} is not valid: it {problem}{about}."


def describe(field: FieldInfo) -> str:
    """One line about a field: what it is and its default."""
    return f"{field.description or 'no description'}; default {field.default!r}"
