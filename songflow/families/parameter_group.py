"""Base class of parameter groups: related parameters as one model for flows, the command line and Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from songflow.errors import InputError

__all__ = ["ParameterGroup"]


class ParameterGroup(BaseModel):
    """Related parameters. Unknown names are refused; texts and limits appear in Prefect's forms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, value: Self | Mapping[str, Any] | None, name: str) -> Self:
        """A group from a mapping of its parameters, or with the defaults (None).

        Raises:
            InputError: names each wrong parameter as `name.parameter`.
        """
        if isinstance(value, cls):
            return value
        try:
            return cls.model_validate(value or {})
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join((name, *map(str, fault['loc'])))} is {fault['input']!r}: {fault['msg']}"
                for fault in error.errors(include_url=False)
            )
            raise InputError(f"{faults}.", next="correct it; nothing was sent.") from None

    def given(self) -> dict[str, Any]:
        """The parameters that are not None, by name."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
