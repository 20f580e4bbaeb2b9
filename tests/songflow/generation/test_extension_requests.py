"""The request of an extension: its placement, its own fields, and the inherited ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from songflow.errors import InvalidRequest
from songflow.families.family import Mode
from songflow.families.registry import extension_request
from songflow.families.udio import PLACES, LyricsType, SongRequest

EXAMPLES = Path(__file__).parents[1] / "examples"
SONG = "extension-song-ID"


def documented(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    return body


def params(**fields: Any) -> SongRequest:
    """A parent's request."""
    return SongRequest.parse({"prompt": "a waltz", **fields})


SUNG = params(lyrics="la la", lyrics_placement_start=0.1, lyrics_placement_end=0.9)


def test_a_bare_id_gives_the_documented_body() -> None:
    """All fields, in order."""
    made = extension_request(None, SONG, mode="precede", overrides={"prompt": "father"})
    assert json.dumps(made.body()) == json.dumps(documented("openai_hk.submit.precede.udio32.json"))


@pytest.mark.parametrize(
    "parent", ["openai_hk.submit.regular.udio32.json", "cometapi.submit.regular.udio32.json"]
)
def test_a_documented_parent_gives_the_documented_body(parent: str) -> None:
    """With only the prompt given."""
    made = extension_request(
        SongRequest.from_body(documented(parent)), SONG, mode=Mode.PRECEDE, overrides={"prompt": "father"}
    )
    assert json.dumps(made.body()) == json.dumps(documented("openai_hk.submit.precede.udio32.json"))


@pytest.mark.parametrize("auto", [None, "auto"])
def test_a_section_can_be_left_to_the_model(auto: str | None) -> None:
    """With a mode; the lyrics' own placement, too. A named place is a section already."""
    fields = dict.fromkeys(("song_section_start", "lyrics_placement_start", "lyrics_placement_end"), auto)
    made = extension_request(SUNG, SONG, mode="precede", overrides=fields)
    sent = made.body()["gen_params"]
    assert (made.start, sent["lyrics"]) == (None, "la la")
    assert not {*fields, "song_section_end"} & sent.keys()
    again = extension_request(made, SONG, place="outro").body()["gen_params"]
    assert (again["song_section_start"], "lyrics_placement_end" in again) == (0.9, False)
    with pytest.raises(InvalidRequest, match="mode is required with song_section_start"):
        extension_request(SUNG, SONG, overrides=fields)
    with pytest.raises(InvalidRequest, match="place intro is song_section_start 0, which is given as auto"):
        extension_request(SUNG, SONG, place="intro", overrides=fields)


@pytest.mark.parametrize(
    ("place", "mode", "start"),
    [
        ("intro", "precede", 0.0),
        ("front", "precede", 0.4),
        ("back", "continuation", 0.4),
        ("outro", "continuation", 0.9),
    ],
)
def test_a_place_is_a_mode_and_a_section(place: str, mode: str, start: float) -> None:
    """By name alone, by name and mode, by mode and number, and by all three: one body."""
    requests = [
        extension_request(SUNG, SONG, place=place),
        extension_request(SUNG, SONG, place=place, mode=mode),
        extension_request(SUNG, SONG, mode=mode, overrides={"song_section_start": start}),
        extension_request(SUNG, SONG, mode=mode, place=place, overrides={"song_section_start": start}),
    ]
    assert {request.canonical() for request in requests} == {requests[0].canonical()}
    assert (requests[0].mode, requests[0].song_section_start) == (mode, start)
    assert requests[0].source_song_id == SONG


@pytest.mark.parametrize(
    ("mode", "place"), [("precede", "intro"), ("continuation", "outro"), (None, "outro")]
)
def test_a_mode_without_a_place_has_its_default_place(mode: str | None, place: str) -> None:
    """By default an extension continues the song."""
    assert extension_request(SUNG, SONG, mode=mode) == extension_request(SUNG, SONG, place=place)


def test_fields_that_are_not_given_are_inherited() -> None:
    """Lyrics and their placement, style, strengths, seed and model."""
    fields = {
        "lyrics": "la la",
        "negative_prompt": "drums",
        "model_type": "udio130-v1.5",
        "seed": 7,
        "bypass_prompt_optimization": True,
        "lyrics_placement_start": 0.1,
        "lyrics_placement_end": 0.9,
        "prompt_strength": 0.1,
        "clarity_strength": 0.2,
        "lyrics_strength": 0.3,
        "generation_quality": 1.0,
    }
    made = extension_request(params(**fields), SONG, place="back").model_dump()
    assert {name: made[name] for name in fields} == fields
    assert (made["prompt"], made["lyrics_type"]) == ("a waltz", LyricsType.USER)


def test_the_parents_placement_is_not_inherited() -> None:
    """Nor are its section, its source and its context length."""
    parent = params(
        mode="precede",
        source_song_id="grandparent",
        context_length=20,
        song_section_start=0.2,
        song_section_end=0.3,
    )
    made = extension_request(parent, SONG, place="outro")
    assert (made.song_section_start, made.song_section_end) == (0.9, None)
    assert (made.source_song_id, made.context_length) == (SONG, 130)


def test_given_fields_replace_inherited_ones() -> None:
    """Any field of a request."""
    given = {"prompt": "bells", "seed": 3, "context_length": 30, "song_section_end": 0.95, "lyrics": "new"}
    made = extension_request(SUNG, SONG, overrides=given)
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize(
    ("parent", "given", "words", "kind", "placed"),
    [
        ({"lyrics": "la"}, {}, "la", "user", True),
        ({"lyrics": "la"}, {"lyrics_type": "user"}, "la", "user", True),
        ({"lyrics": "la"}, {"lyrics_type": None}, "la", "user", True),
        ({"lyrics": "la"}, {"lyrics": "new"}, "new", "user", False),
        ({"lyrics": "la"}, {"lyrics": ""}, "", "generate", False),
        ({"lyrics": "la"}, {"lyrics_type": "instrumental"}, "", "instrumental", False),
        ({"lyrics": "la"}, {"lyrics_type": "generate"}, "", "generate", False),
        ({}, {"lyrics": "new"}, "new", "user", False),
        ({}, {"lyrics_type": "instrumental"}, "", "instrumental", False),
        ({"lyrics_type": "instrumental"}, {}, "", "instrumental", True),
        ({"lyrics_type": "instrumental"}, {"lyrics": ""}, "", "instrumental", False),
        ({"lyrics_type": "instrumental"}, {"lyrics": "new"}, "new", "user", False),
        ({"lyrics_type": "instrumental"}, {"lyrics_type": None}, "", "instrumental", True),
        ({"lyrics_type": "instrumental"}, {"lyrics_type": "generate"}, "", "generate", False),
    ],
)
def test_new_lyrics_replace_the_old_with_their_type_and_placement(
    parent: dict[str, Any], given: dict[str, Any], words: str, kind: str, placed: bool
) -> None:
    """The old placement belongs to the old lyrics."""
    made = extension_request(params(lyrics_placement_start=0.1, **parent), SONG, overrides=given)
    assert (made.lyrics, made.lyrics_type) == (words, kind)
    assert made.lyrics_placement_start == (0.1 if placed else None)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"mode": "precede", "place": "outro"},
            "place outro belongs to mode continuation, and mode is precede",
        ),
        ({"mode": "continuation", "place": "front"}, "place front belongs to mode precede"),
        ({"mode": "regular"}, "mode is 'regular': allowed are precede, continuation"),
        ({"place": "middle"}, "place is 'middle': allowed are intro, front, back, outro"),
        ({"place": "intro", "overrides": {"song_section_start": 0.4}}, "place intro is song_section_start 0"),
        ({"overrides": {"song_section_start": 0.4}}, "mode is required with song_section_start"),
        ({"mode": "precede", "overrides": {"song_section_start": 2.0}}, "song_section_start is 2.0"),
        ({"overrides": {"song_section_end": 0.5}}, "allowed is a number below song_section_end"),
        ({"overrides": {"mode": "precede"}}, "mode is not a field to override"),
        ({"overrides": {"source_song_id": "x"}}, "source_song_id is not a field to override"),
        ({"overrides": {"tempo": 3}}, "tempo is not a field"),
        ({"overrides": {"context_length": 131.0}}, "context_length is 131.0"),
        ({"overrides": {"lyrics": "a", "lyrics_type": "instrumental"}}, "lyrics is forbidden"),
        ({"overrides": {"lyrics_type": "user"}}, "lyrics is required"),
    ],
    ids=str,
)
def test_contradictory_or_wrong_fields_are_refused(wrong: dict[str, Any], text: str) -> None:
    """The error names the field and the allowed values."""
    with pytest.raises(InvalidRequest, match=text) as refused:
        extension_request(params(), SONG, **wrong)
    assert "nothing was sent" in str(refused.value)


def test_a_bare_id_needs_a_prompt() -> None:
    """There is no parent to inherit one from."""
    with pytest.raises(InvalidRequest, match="prompt is required"):
        extension_request(None, SONG, place="intro")


@pytest.mark.parametrize("place", PLACES)
def test_an_extension_can_be_extended(place: str) -> None:
    """Its request is a parent like any other."""
    first = extension_request(SUNG, SONG, place=place)
    second = extension_request(first, "next", place=place)
    assert second.body()["gen_params"]["config"]["source"]["song_id"] == "next"
    assert second.model_copy(update={"source_song_id": SONG}) == first
