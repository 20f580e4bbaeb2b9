"""Base class of parameter groups: related parameters as one model for flows, the command line and Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from songflow.errors import InputError

__all__ = ["ParameterGroup", "field_text", "unwrap_optional"]


class ParameterGroup(BaseModel):
    """Related parameters. Unknown names are refused; texts and limits appear in Prefect's forms."""

    # Built when first used, as a request is.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

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

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema with optional parameters as fields that may stay empty."""
        schema = handler(core_schema)
        group = handler.resolve_ref_schema(schema)
        # Prefect's form sorts by position: PostgreSQL does not keep the order of a stored schema.
        group["properties"] = {
            name: unwrap_optional(one) | {"position": position}
            for position, (name, one) in enumerate(group["properties"].items())
        }
        return schema

    def chosen(self) -> dict[str, Any]:
        """The parameters that differ from their defaults, by name."""
        return self.model_dump(exclude_defaults=True)

    def given(self) -> dict[str, Any]:
        """The parameters that are not None, by name."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


def field_text(model: type[BaseModel], name: str) -> str:
    """The description of a model's field."""
    text = model.model_fields[name].description
    assert text, f"every field of a request is described: {name}"
    return text


def unwrap_optional(schema: JsonSchemaValue) -> JsonSchemaValue:
    """The schema of a parameter without a default as that of its own types: it may be left out, not null."""
    types: list[JsonSchemaValue] = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if not types or schema.get("default") is not None:
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return (types[0] if len(types) == 1 else {"anyOf": types}) | rest
