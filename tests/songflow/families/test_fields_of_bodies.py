"""A stored body's fields, read without validation, are those of the validated request."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from songflow.families.registry import (
    FAMILIES,
    extension_request,
    fields_of_bodies,
    parse_request,
    request_of,
    song_families,
)

REQUESTS: list[dict[str, Any]] = [
    {"prompt": "a waltz"},
    {
        "prompt": "a waltz",
        "lyrics": "la",
        "seed": 7,
        "model_type": "udio130-v1.5",
        "song_section_start": None,
    },
    {"prompt": "a waltz", "mode": "precede", "source_song_id": "s", "song_section_end": None},
    {"prompt": "a cat", "model_type": "chirp-auk"},
    {
        "prompt": "punk",
        "model_type": "chirp-v4",
        "lyrics": "la",
        "title": "City",
        "negative_prompt": "flutes",
    },
    {"prompt": "a waltz", "model_type": "acestep-v15-turbo"},
    {"prompt": "a waltz", "model_type": "acestep-v15-turbo", "duration": 20, "seed": 0, "lyrics": "la"},
]


@pytest.mark.parametrize("fields", REQUESTS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_the_fields_of_a_body_are_those_of_its_request(fields: dict[str, Any]) -> None:
    """Defaults included; enumerations as their values."""
    _check(parse_request(fields).body())


@pytest.mark.parametrize("model", [next(iter(family.models)) for family in song_families()])
def test_the_fields_of_an_extensions_body_are_those_of_its_request(model: str) -> None:
    """For every family that can extend a song."""
    parent = parse_request({"prompt": "a waltz", "model_type": model})
    overrides = {} if model.startswith("udio") else {"continue_at": 3}
    _check(extension_request(parent, "song", generation_id="generation", overrides=overrides).body())


def _check(body: dict[str, Any]) -> None:
    request = request_of(body)
    values = {name: getattr(request, name) for name in type(request).model_fields}
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
    (found,) = fields_of_bodies([body])
    assert {name: found.get(name) for name in plain} == plain
    assert request.model_type in FAMILIES[found["family"]].models
