"""The wire body, its canonical line and its hash, by which the ledger identifies a paid song."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songflow.families.udio import UDIO, SongRequest

EXAMPLES = Path(__file__).parents[1] / "examples"

# The request fields of each documented body. The documents leave `song_section_end` out of some.
PLAIN: dict[str, dict[str, Any]] = {
    "cometapi.submit.regular.udio32.json": {
        "prompt": "The last song ever sung on the planet earth",
        "song_section_start": 0.4,
        "song_section_end": None,
    },
    "openai_hk.submit.regular.udio32.json": {
        "prompt": "mother",
        "song_section_start": 0.4,
        "song_section_end": None,
    },
    "openai_hk.submit.regular.udio130.json": {
        "prompt": "rock, pop soul, electronic, ",
        "model_type": "udio130-v1.5",
        "lyrics_placement_start": 0,
        "lyrics_placement_end": 0.95,
    },
    "openai_hk.submit.precede.udio32.json": {
        "prompt": "father",
        "mode": "precede",
        "source_song_id": "extension-song-ID",
        "song_section_end": None,
    },
}


def example(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    return body


def test_every_documented_body_has_a_test_case() -> None:
    """The folder and the table have the same names."""
    assert {path.name for path in EXAMPLES.glob("*.submit.*.udio*.json")} == set(PLAIN)


@pytest.mark.parametrize("name", PLAIN)
def test_request_fields_make_the_documented_body_exactly(name: str) -> None:
    """The same fields in the documents' order, and whole numbers as integers."""
    body = example(name)
    fields = dict(PLAIN[name])
    if body["gen_params"]["lyrics"]:
        fields["lyrics"] = body["gen_params"]["lyrics"]
    made = SongRequest.parse(fields).body()
    assert json.dumps(made) == json.dumps(body)


@pytest.mark.parametrize("name", PLAIN)
def test_from_body_and_body_round_trip_documented_bodies(name: str) -> None:
    """A stored body would be sent again unchanged."""
    body = example(name)
    assert json.dumps(SongRequest.from_body(body).body()) == json.dumps(body)


def test_the_canonical_line_is_sorted_unspaced_and_not_escaped() -> None:
    """Equal bodies have equal lines."""
    request = SongRequest.parse({"prompt": "Größe 歌", "seed": 7})
    assert request.canonical() == (
        '{"gen_params":{"bypass_prompt_optimization":false,"clarity_strength":0.25,"config":{"mode":"regular"},'
        '"generation_quality":0.75,"lyrics":"","lyrics_strength":0.5,"lyrics_type":"generate",'
        '"model_type":"udio32-v1.5","negative_prompt":"","prompt":"Größe 歌","prompt_strength":0.5,"seed":7,'
        '"song_section_end":1,"song_section_start":0}}'
    )


def test_hashes_of_stored_bodies_never_change() -> None:
    """A change would make every paid song look like a new request."""
    body = SongRequest.parse({"prompt": "a slow waltz for two cellos", "seed": 7}).body()
    assert UDIO.hash_version == 1
    assert UDIO.body_hash(body, 1) == "cb3fea5f58c57125eb4b9f6dd83a23ecadf43e00d808d23fb9b17954c360d66e"


def test_0_and_0_point_0_make_the_same_body() -> None:
    """Whole numbers are sent as integers, however they were given."""
    whole = SongRequest.parse({"prompt": "a", "song_section_start": 0, "generation_quality": 1})
    point = SongRequest.parse({"prompt": "a", "song_section_start": 0.0, "generation_quality": 1.0})
    assert whole.canonical() == point.canonical()
    assert UDIO.body_hash(whole.body()) == UDIO.body_hash(point.body())
    assert UDIO.body_hash({"gen_params": {"seed": 0.0}}) == UDIO.body_hash({"gen_params": {"seed": 0}})


def test_a_hash_does_not_depend_on_the_order_of_fields() -> None:
    """Neither of the outer fields nor of those in `config`."""
    params = example("openai_hk.submit.precede.udio32.json")["gen_params"]
    turned = dict(reversed(params.items()))
    turned["config"] = dict(reversed(params["config"].items()))
    assert UDIO.body_hash({"gen_params": params}) == UDIO.body_hash({"gen_params": turned})


def test_a_hash_reads_only_the_fields_of_its_version() -> None:
    """A field that a later version adds does not change older hashes."""
    body = SongRequest.parse({"prompt": "a waltz"}).body()
    later = {"gen_params": {**body["gen_params"], "tempo": 120}}
    assert UDIO.body_hash(later, 1) == UDIO.body_hash(body, 1)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"prompt": "b"}, ["prompt"]),
        ({"seed": 8, "lyrics": "la"}, ["lyrics", "lyrics_type", "seed"]),
        ({"song_section_end": None}, ["song_section_end"]),
        (
            {"mode": "precede", "source_song_id": "s"},
            ["config.context_length", "config.mode", "config.source.song_id", "config.source.source_type"],
        ),
        ({}, []),
    ],
)
def test_differing_fields_are_named_below_the_envelope(change: dict[str, Any], fields: list[str]) -> None:
    """As dotted names, also for fields that one body lacks; and the hashes differ."""
    one = SongRequest.parse({"prompt": "a"}).body()
    other = SongRequest.parse({"prompt": "a", **change}).body()
    assert UDIO.differing_fields(one, other) == UDIO.differing_fields(other, one) == fields
    assert (UDIO.body_hash(one) == UDIO.body_hash(other)) is (fields == [])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
shares = st.floats(0, 1) | st.integers(0, 1)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of any valid request."""
    lyrics = draw(texts.filter(lambda text: not text or text.strip()))
    fields: dict[str, Any] = {
        "prompt": draw(texts.filter(str.strip)),
        "lyrics": lyrics,
        "lyrics_type": "user" if lyrics else draw(st.sampled_from(["generate", "instrumental", None])),
        "negative_prompt": draw(texts),
        "model_type": draw(st.sampled_from(["udio32-v1.5", "udio130-v1.5"])),
        "seed": draw(st.integers(-1, 2**63 - 1)),
        "bypass_prompt_optimization": draw(st.booleans()),
        "generation_quality": draw(st.sampled_from([0.25, 0.5, 0.75, 1, 1.0])),
        **{name: draw(shares) for name in ("prompt_strength", "clarity_strength", "lyrics_strength")},
        "mode": draw(st.sampled_from(["regular", "precede", "continuation"])),
    }
    for start, end in (
        ("song_section_start", "song_section_end"),
        ("lyrics_placement_start", "lyrics_placement_end"),
    ):
        first, last = sorted(draw(st.lists(shares, min_size=2, max_size=2, unique=True)))
        fields |= {start: first, end: draw(st.sampled_from([last, None]))}
    if fields["mode"] != "regular":
        fields["source_song_id"] = draw(texts.filter(str.strip))
        fields["context_length"] = draw(st.floats(1, 130) | st.integers(1, 130) | st.none())
    return fields


@settings(deadline=None)
@given(requests())
def test_any_valid_request_round_trips_through_its_body(fields: dict[str, Any]) -> None:
    """Through the body and through the canonical line in the ledger."""
    request = SongRequest.parse(fields)
    assert SongRequest.from_body(request.body()) == request
    assert SongRequest.from_body(json.loads(request.canonical())) == request
    assert UDIO.body_hash(json.loads(request.canonical())) == UDIO.body_hash(request.body())
