"""The Suno family: its body and hash, its limits, what an extension inherits, and the documented wire bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from songflow.errors import InvalidRequest
from songflow.families.registry import (
    body_hash,
    extension_request,
    family_of,
    parse_request,
    request_of,
)
from songflow.families.suno import MODELS, SUNO, SunoRequest
from songflow.gateways import DIALECTS, relay_suno

EXAMPLES = Path(__file__).parents[1] / "examples"
WORDS = "[Verse]\nWalking down the streets\nBeneath the city lights"

# The request fields of each documented body.
PLAIN: dict[str, dict[str, Any]] = {
    "idea": {"prompt": "cat", "model_type": "chirp-auk"},
    "instrumental": {
        "prompt": "An anthem dance pop song about dancing all night",
        "lyrics_type": "instrumental",
        "model_type": "chirp-auk",
    },
    "own_words": {
        "prompt": "emotional punk",
        "lyrics": f"{WORDS}\nNeon signs flickering\nLighting up the night",
        "title": "City Lights",
        "model_type": "chirp-v4",
    },
    "continue": {
        "prompt": "emotional punk",
        "lyrics": WORDS,
        "title": "City Lights",
        "negative_prompt": "dance",
        "model_type": "chirp-v4",
        "mode": "continuation",
        "source_song_id": "ce2cfbce-9ea0-45b0-9386-020c0ff54a49",
        "source_generation_id": "17350521802760039",
        "continue_at": 80,
    },
}


def refused(fields: dict[str, Any]) -> tuple[str, ...]:
    """The faults of a request."""
    with pytest.raises(InvalidRequest) as caught:
        parse_request({"prompt": "cat", "model_type": "chirp-auk"} | fields)
    return caught.value.faults


def test_every_documented_body_has_a_test_case() -> None:
    """The folder and the table have the same names."""
    names = {path.name.split(".")[2] for path in EXAMPLES.glob("suno.submit.*.json")}
    assert names - {"answer"} == set(PLAIN)


@pytest.mark.parametrize("name", PLAIN)
def test_request_fields_make_the_documented_body_exactly(name: str) -> None:
    """At both gateways; the stored body makes the same request, and so the same body, again."""
    documented = json.loads((EXAMPLES / f"suno.submit.{name}.json").read_text(encoding="utf-8"))
    request = parse_request(PLAIN[name])
    for gateway in ("cometapi", "openai-hk"):
        service = DIALECTS[gateway].services["suno"]
        assert service.wire_body(request.body()) == documented
        assert json.dumps(service.wire_body(request_of(request.body()).body())) == json.dumps(
            service.wire_body(request.body())
        )
    assert service.path_for(request.body()) == "/suno/submit/music"
    assert request_of(request.body()) == request


def test_an_extension_without_lyrics_sends_its_style_and_no_words() -> None:
    """As CometAPI's scenario guide has it: an empty prompt beside tags."""
    continued = PLAIN["continue"] | {"lyrics": "", "lyrics_type": "instrumental"}
    wire = relay_suno(MODELS)["suno"].wire_body(parse_request(continued).body())
    assert (wire["prompt"], wire["tags"], wire["make_instrumental"]) == ("", "emotional punk", True)


def test_only_a_relay_needs_the_task_of_the_source() -> None:
    """It is no part of the request where it is not given, and the relay names what is missing."""
    fields = {name: value for name, value in PLAIN["continue"].items() if name != "source_generation_id"}
    body = parse_request(fields).body()
    assert "source_generation_id" not in body["suno"]
    with pytest.raises(ValueError, match=r"source_generation_id is required .* --generation"):
        relay_suno(MODELS)["suno"].wire_body(body)


def test_the_canonical_body_has_only_what_says_something() -> None:
    """No field of another family, and no empty one; its line and its hash stay as they are."""
    request = parse_request(PLAIN["idea"])
    assert request.canonical() == (
        '{"suno":{"lyrics_type":"generate","model_type":"chirp-auk","prompt":"cat"}}'
    )
    assert body_hash(request.body()) == "3eddfff344e6e096522a399e383e14ed70bb87d69f6844aa078d02313dbce86b"
    assert family_of(request.body()) is SUNO
    assert (SUNO.hash_version, SUNO.oldest_version(parse_request(PLAIN["continue"]).body())) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"seed": 7}, "seed is not a field"),
        ({"quality": 1}, "quality is not a field"),
        ({"mode": "precede"}, "mode is precede: allowed are regular, continuation"),
        ({"title": "Cat"}, "title is forbidden without lyrics of your own"),
        ({"negative_prompt": "dogs"}, "negative_prompt is forbidden without lyrics of your own"),
        ({"lyrics_type": "user"}, "lyrics is required with lyrics_type user"),
        ({"continue_at": 0}, "continue_at is 0: allowed is a number of seconds above 0"),
        ({"continue_at": 60}, "continue_at is forbidden with mode regular (use continuation)"),
        ({"mode": "continuation"}, "source_song_id is required to extend a song"),
        ({"lyrics": "la", "prompt": "x" * 1001}, "prompt has 1001 characters: chirp-auk takes 1000"),
        ({"lyrics": "la", "prompt": "x" * 201, "model_type": "chirp-v4"}, "chirp-v4 takes 200"),
        ({"lyrics": "x" * 5001}, "lyrics has 5001 characters: chirp-auk takes 5000"),
        ({"prompt": "x" * 3001, "model_type": "chirp-v3-5"}, "prompt has 3001 characters"),
    ],
)
def test_what_the_model_does_not_take_is_named(fields: dict[str, Any], fault: str) -> None:
    """Before anything is sent; the fields of another family are unknown ones."""
    assert any(fault in one for one in refused(fields))


def test_a_model_decides_the_family_and_its_default_is_documented() -> None:
    """Each model's name belongs to one family."""
    assert all(
        isinstance(parse_request({"prompt": "cat", "model_type": name}), SunoRequest) for name in MODELS
    )
    assert SunoRequest.parse({"prompt": "cat"}).model_type == "chirp-auk"
    assert (MODELS["chirp-crow"].seconds, MODELS["chirp-v3-5"].seconds) == (480, 120)


def test_an_extension_inherits_the_request_that_made_its_source() -> None:
    """But for how the source itself continued another one, and for lyrics that are replaced."""
    parent = parse_request(PLAIN["continue"])
    made = extension_request(parent, "song", generation_id="task", overrides={"continue_at": 30.5})
    assert made.model_dump() == parent.model_dump() | {
        "source_song_id": "song",
        "source_generation_id": "task",
        "continue_at": 30.5,
    }
    replaced = {"continue_at": 9, "lyrics_type": "instrumental"}
    quiet = extension_request(parent, "song", generation_id="task", overrides=replaced)
    assert isinstance(quiet, SunoRequest)
    assert (quiet.lyrics, quiet.title) == ("", "City Lights")
    assert made.with_source("other", "its task").body()["suno"]["source_generation_id"] == "its task"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"place": "outro"}, "place is 'outro': these models continue a song at a second of it"),
        ({"mode": "precede"}, "mode is 'precede': allowed is continuation"),
        ({"overrides": {}}, "continue_at is required to extend a song"),
        ({"overrides": {"continue_at": 60, "model_type": "udio32-v1.5"}}, "model_type is 'udio32-v1.5'"),
    ],
)
def test_an_extension_that_suno_does_not_make_is_refused(given: dict[str, Any], fault: str) -> None:
    """A placement of another family, or nothing about where to continue."""
    with pytest.raises(InvalidRequest) as caught:
        extension_request(parse_request(PLAIN["own_words"]), "song", generation_id="task", **given)
    assert fault in caught.value.message
