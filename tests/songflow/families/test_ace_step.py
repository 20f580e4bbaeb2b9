"""The ACE-Step family: its body and hash, what it refuses, what an extension inherits, and the documented fields."""

from __future__ import annotations

from typing import Any

import pytest

from songflow.errors import InvalidRequest
from songflow.families.ace_step import ACE_STEP, AceStepRequest
from songflow.families.registry import body_hash, extension_request, family_of, parse_request, request_of
from songflow.gateways import DIALECTS

SERVICE = DIALECTS["ace-step"].services["ace-step"]
TURBO = {"prompt": "upbeat pop song", "model_type": "acestep-v15-turbo"}
FILE = "/tmp/api_audio/abc123.mp3"
# What each body says beyond what this one says.
WIRE = {
    "model": "acestep-v15-turbo",
    "prompt": "upbeat pop song",
    "thinking": False,
    "inference_steps": 8,
    "batch_size": 2,
    "audio_format": "mp3",
    "use_random_seed": True,
}


def asked(**fields: Any) -> Any:
    return parse_request({**TURBO, **fields})


def refused(**fields: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidRequest) as caught:
        asked(**fields)
    return caught.value.faults


@pytest.mark.parametrize(
    ("fields", "wire"),
    [
        ({}, {"sample_query": "upbeat pop song"}),
        ({"lyrics": "Hello world"}, {"lyrics": "Hello world"}),
        ({"lyrics_type": "instrumental"}, {"lyrics": "[Instrumental]"}),
        (
            {"lyrics": "Hello world", "thinking": True, "negative_prompt": "drums"},
            {"lyrics": "Hello world", "thinking": True, "lm_negative_prompt": "drums"},
        ),
        (
            {"lyrics": "Hola", "vocal_language": "es", "duration": 30, "bpm": 120, "key_scale": "C Major"}
            | {"seed": 0, "batch_size": 1, "inference_steps": 20},
            {"lyrics": "Hola", "vocal_language": "es", "audio_duration": 30, "bpm": 120}
            | {"key_scale": "C Major", "use_random_seed": False, "seed": 0, "batch_size": 1}
            | {"inference_steps": 20},
        ),
        (
            {"lyrics": "Hello again", "mode": "continuation", "source_song_id": FILE}
            | {"continue_at": 30.5, "duration": 20},
            {"lyrics": "Hello again", "task_type": "repaint", "src_audio_path": FILE}
            | {"repainting_start": 30.5, "repainting_end": 50.5},
        ),
    ],
)
def test_each_kind_of_request_has_its_documented_body(fields: dict[str, Any], wire: dict[str, Any]) -> None:
    """The stored body makes the same request, and so the same body, again."""
    request = asked(**fields)
    assert SERVICE.wire_body(request.body()) == {**WIRE, **wire}
    assert request_of(request.body()) == request
    assert SERVICE.path_for(request.body()) == "/release_task"


def test_the_canonical_body_has_only_what_says_something() -> None:
    """No field of another family, and no empty one; its line and its hash stay as they are."""
    request = asked()
    assert request.canonical() == (
        '{"ace_step":{"batch_size":2,"inference_steps":8,"lyrics_type":"generate","model_type":"acestep-v15-turbo",'
        '"prompt":"upbeat pop song"}}'
    )
    assert body_hash(request.body()) == "21bec5602591b42645f1ab120f72de0b28235f8948ad5e3c94f0a7cfae4d55c3"
    assert family_of(request.body()) is ACE_STEP
    assert (ACE_STEP.hash_version, ACE_STEP.oldest_version(asked(seed=1).body())) == (1, 1)
    assert (request.model.price, request.is_random, asked(seed=0).is_random) == (0.0, True, False)


def test_each_model_has_its_own_number_of_steps() -> None:
    """Also if a request is repeated with another model; a number of one's own stays."""
    assert asked(model_type="acestep-v15-sft").inference_steps == 50
    other = parse_request(asked().fields_with({"model_type": "acestep-v15-base"}))
    assert other.model_dump()["inference_steps"] == 50
    kept = asked().fields_with({"model_type": "acestep-v15-base", "inference_steps": 32})
    assert kept["inference_steps"] == 32


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"title": "Cat"}, "title is not a field"),
        ({"prompt_strength": 0.5}, "prompt_strength is not a field"),
        ({"mode": "precede"}, "mode is precede: allowed are regular, continuation"),
        ({"bpm": 29}, "bpm is 29: allowed is a whole number from 30 to 300"),
        ({"bpm": 120.5}, "bpm is 120.5: allowed is a whole number"),
        ({"lyrics": "la", "duration": 9}, "duration is 9: allowed is a number of seconds from 10 to 600"),
        ({"lyrics": "la", "key_scale": "H minor"}, "key_scale is 'H minor': allowed is a key such as"),
        ({"vocal_language": "english"}, "vocal_language is 'english': allowed are ar, az"),
        ({"inference_steps": 21}, "inference_steps is 21: acestep-v15-turbo takes 20"),
        ({"batch_size": 9}, "batch_size is 9: allowed is a whole number from 1 to 8"),
        ({"seed": 2**32}, "seed is 4294967296: allowed is -1"),
        ({"negative_prompt": "drums"}, "negative_prompt is forbidden without thinking"),
        ({"duration": 30}, "duration is forbidden with lyrics_type generate, which decides on it"),
        ({"bpm": 90}, "bpm is forbidden with lyrics_type generate"),
        ({"lyrics": "x" * 4097}, "lyrics has 4097 characters: the model takes 4096"),
        ({"lyrics": "la", "prompt": "x" * 513}, "prompt has 513 characters: the model takes 512"),
        ({"continue_at": 60.0}, "continue_at is forbidden with mode regular"),
        ({"mode": "continuation"}, "source_song_id is required to extend a song"),
        (
            {"mode": "continuation", "source_song_id": FILE, "continue_at": 9.0, "duration": 91},
            "duration is 91: the new part of an extension is 90 s at most",
        ),
        (
            {"mode": "continuation", "source_song_id": FILE, "continue_at": 9.0, "duration": 30}
            | {"thinking": True},
            "thinking is forbidden to extend a song",
        ),
    ],
)
def test_what_the_server_does_not_document_is_refused(fields: dict[str, Any], fault: str) -> None:
    """With a field's name, its value and what is allowed."""
    assert any(one.startswith(fault) for one in refused(**fields)), refused(**fields)


def test_a_model_that_is_no_text_is_a_fault_like_any_other() -> None:
    """Whatever a file has in its place."""
    for value in ({}, ["acestep-v15-turbo"], 7):
        assert "allowed are acestep-v15-turbo" in (AceStepRequest.field_fault("model_type", value) or "")


def test_an_extension_inherits_the_music_and_has_a_length_of_its_own() -> None:
    """Words that are invented drop the tempo and the key, and another model the number of steps."""
    parent = asked(
        lyrics="Hello", bpm=90, key_scale="Am", duration=60, thinking=True, negative_prompt="drums"
    )
    longer = extension_request(parent, FILE, seconds=60.0, overrides={"continue_at": 60.0}).model_dump()
    inherited = {name: longer[name] for name in ("lyrics", "bpm", "key_scale", "duration", "thinking")}
    assert inherited == {"lyrics": "Hello", "bpm": 90, "key_scale": "Am", "duration": 30.0, "thinking": False}
    other = {"continue_at": 60.0, "lyrics_type": "generate", "model_type": "acestep-v15-sft", "duration": 45}
    invented = extension_request(parent, FILE, overrides=other).model_dump()
    chosen = {name: invented[name] for name in ("lyrics", "bpm", "key_scale", "duration", "inference_steps")}
    assert chosen == {"lyrics": "", "bpm": None, "key_scale": "", "duration": 45, "inference_steps": 50}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, "continue_at is required to extend a song (the second of it; on the command line --at)"),
        ({"continue_at": 61.0}, "continue_at is 61 s, and the song is 60 s long"),
        ({"continue_at": 20.0}, "the new part ends at 50 s of a song of 60 s: nothing would be added"),
    ],
)
def test_an_extension_goes_beyond_the_end_of_its_song(fields: dict[str, Any], fault: str) -> None:
    """It begins inside of it, or where it ends: a song that was to have 60 s may have a little less."""
    parent = asked(lyrics="Hello")
    with pytest.raises(InvalidRequest) as caught:
        extension_request(parent, FILE, seconds=60.0, overrides=fields)
    assert fault in str(caught.value)
    assert extension_request(parent, FILE, seconds=59.9, overrides={"continue_at": 60.0}).start == 60
