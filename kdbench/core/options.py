"""Typed, documented, frozen options, and their validation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from kdbench.core.errors import UserError, check_known


def option(
    default: Any, doc: str, *, source: str = "", later: bool = False, before: Any = None, **bounds: Any
) -> Any:  # fmt: skip
    """Declare a field of `Options`.

    Args:
        doc: a line of description for `kdbench show` and the docs.
        source: where the default comes from (paper, equation, table, or code).
        later: the option was added when there were results already; its default does not change a run's ID.
        before: the value that stands for the behaviour before the option existed, where the default differs. It
            does not change a run's ID, and stored settings without the option get it.
        bounds: pydantic's constraints (`ge`, `gt`, `le`, `lt`).
    """
    omitted = {"omitted": default if later else before} if later or before is not None else {}
    return Field(default, description=doc, json_schema_extra={"source": source, **omitted}, **bounds)


class Options(BaseModel):
    """Base class of groups of settings: frozen, without unknown keys, defaults validated like input."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def keys(cls) -> list[str]:
        return list(cls.model_fields)

    def identity(self) -> dict[str, Any]:
        """Return the values that identify a run: all but options added later that change nothing (see `option`)."""
        values, omitted = self.model_dump(mode="json"), omitted_values(type(self))
        return {key: value for key, value in values.items() if key not in omitted or value != omitted[key]}

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate `values`, strings of users or stored values.

        Args:
            where: the group's name, for messages.

        Raises:
            UserError: an unknown key, or a value of the wrong type or range.
        """
        check_known(f"key of {where}", values, cls.keys())
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise UserError(_explain(cls, error, where)) from None


@cache
def omitted_values(cls: type[Options]) -> dict[str, Any]:
    """Return the options that were added later, with the values that mean what was done before."""
    extras = {key: field.json_schema_extra for key, field in cls.model_fields.items()}
    return {key: extra["omitted"] for key, extra in extras.items() if isinstance(extra, dict) and "omitted" in extra}


def _explain(cls: type[Options], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "?"
    about = f" ({describe(cls.model_fields[key])})" if key in cls.model_fields else ""
    if first["type"] == "missing":
        return f"{where}: {key} is missing{about}; give it a value."
    problem = first["msg"].removeprefix("Value error, ").removeprefix("Input ").partition(", unable to parse")[0]
    problem = problem.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    return f"{where}: {key}={first['input']!r} is not valid: it {problem}{about}."


def describe(field: FieldInfo) -> str:
    """Return a field's description and default in one line."""
    default = "no default" if field.is_required() else f"default {field.default!r}"
    return f"{field.description or 'no description'}; {default}"
