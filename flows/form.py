"""Shape a flow's parameters for Prefect's form, which would show a tab "None" in each optional parameter.

A text, number or choice becomes one field that may stay empty, a group the tabs *Defaults* and *Custom*, and
credentials a tab for each kind of account. What a run accepts does not change: None is still valid.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue, NoDefault
from pydantic_core import CoreSchema

from blocks.resolver import CREDENTIALS_TYPES
from songflow.families.parameter_group import unwrap_optional

__all__ = ["form_signature"]

_NULL = {"type": "null"}


def form_signature(signature: inspect.Signature) -> inspect.Signature:
    """The signature that Prefect makes a flow's form from; empty parameters are left out of a run."""
    return signature.replace(
        parameters=[
            one.replace(annotation=Annotated[one.annotation, _Optional()], default=NoDefault)
            if one.default is None
            else one
            for one in signature.parameters.values()
        ]
    )


class _Optional:
    """Replaces the JSON schema of an optional parameter."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        types = [one for one in schema.get("anyOf", ()) if one != _NULL]
        shapes = [handler.resolve_ref_schema(one) for one in types]
        if any("block_type_slug" in one for one in shapes):
            return _blocks(types, shapes)
        if len(types) == 1 and shapes[0].get("properties"):
            return schema | {"anyOf": [_empty("Defaults"), types[0] | {"title": "Custom", "description": ""}]}
        return unwrap_optional(schema)


def _blocks(types: list[JsonSchemaValue], shapes: list[JsonSchemaValue]) -> dict[str, Any]:
    """Saved blocks to pick from, or none. With a type of its own the property may be null in an API call."""
    if len(types) == 1:
        return {"type": "object", "block_type_slug": shapes[0]["block_type_slug"]}
    named = [
        one | {"title": _kind(shape["block_type_slug"])} for one, shape in zip(types, shapes, strict=True)
    ]
    return {"type": "object", "anyOf": [_empty("None"), *named]}


def _kind(slug: str) -> str:
    """The name of a kind of account, as on Prefect's page of blocks."""
    return CREDENTIALS_TYPES[slug].get_block_type_name().removesuffix(" Credentials").removesuffix(" Song")


def _empty(title: str) -> dict[str, Any]:
    """A tab without fields: the parameter is left out."""
    return {"type": "object", "title": title, "properties": {}, "additionalProperties": False}
