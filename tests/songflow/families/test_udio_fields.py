"""Every field of the gateways' published table: its default, its valid values, and those it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from songflow.errors import InvalidRequest
from songflow.families.family import Mode
from songflow.families.udio import MODELS, PLACES, UDIO, LyricsType, SongRequest

FRACTIONS = (
    "song_section_start",
    "song_section_end",
    "lyrics_placement_start",
    "lyrics_placement_end",
    "prompt_strength",
    "clarity_strength",
    "lyrics_strength",
)
OPTIONAL = ("song_section_start", "song_section_end", "lyrics_placement_start", "lyrics_placement_end")
EXTENSION = {"mode": "precede", "source_song_id": "song-1"}


def refusal(**fields: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        SongRequest.parse({"prompt": "a waltz", **fields})
    error = caught.value
    assert error.exit_code == 2
    assert error.billed == "no"
    assert error.next == "correct it and run again; nothing was sent."
    return error.message


def test_a_request_with_only_a_prompt_has_the_published_defaults() -> None:
    """All fields that have a default are sent, because one gateway marks nearly all of them as required."""
    assert SongRequest.parse({"prompt": "a waltz"}).body() == {
        "gen_params": {
            "prompt": "a waltz",
            "lyrics": "",
            "lyrics_type": "generate",
            "negative_prompt": "",
            "model_type": "udio32-v1.5",
            "seed": -1,
            "bypass_prompt_optimization": False,
            "song_section_start": 0,
            "song_section_end": 1,
            "prompt_strength": 0.5,
            "clarity_strength": 0.25,
            "lyrics_strength": 0.5,
            "generation_quality": 0.75,
            "config": {"mode": "regular"},
        }
    }


@pytest.mark.parametrize("name", FRACTIONS)
@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf, -math.inf, True, "0.5", [0.5]])
def test_a_fraction_outside_0_to_1_or_of_another_type_is_refused(name: str, value: Any) -> None:
    """The error names the field, the value and the range."""
    assert f"{name} is {value!r}: allowed is a number from 0 to 1" in refusal(**{name: value})


@pytest.mark.parametrize("name", FRACTIONS)
@pytest.mark.parametrize("value", [0, 0.0, 0.4, 1, 1.0])
def test_a_fraction_may_be_any_number_from_0_to_1(name: str, value: float) -> None:
    """Both ends are included, also as integers."""
    start_of = {"song_section_start": "song_section_end", "lyrics_placement_start": "lyrics_placement_end"}
    ends_of = {end: start for start, end in start_of.items()}
    fields: dict[str, Any] = {name: value}
    if name in start_of:
        fields[start_of[name]] = None
    if name in ends_of and value == 0:
        del fields[name]  # an end at 0 leaves no room for its start
        assert f"{name}, which is 0" in refusal(**{name: value, ends_of[name]: 0})
        return
    assert getattr(SongRequest.parse({"prompt": "a waltz", **fields}), name) == value


@pytest.mark.parametrize("name", sorted(set(FRACTIONS) - set(OPTIONAL)))
def test_none_is_refused_for_a_fraction_with_a_default(name: str) -> None:
    """None does not mean the default."""
    assert f"{name} is None: allowed is a number from 0 to 1" in refusal(**{name: None})


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_fraction_that_is_none_is_left_out_of_the_body(name: str) -> None:
    """Fields that are not set are not sent; "auto" is the word for it, and a stored body is read as it was sent."""
    request = SongRequest.parse({"prompt": "a waltz", name: None})
    assert name not in request.body()["gen_params"]
    assert SongRequest.parse({"prompt": "a waltz", name: "auto"}) == request
    assert SongRequest.from_body(request.body()) == request == SongRequest.parse(request.model_dump())
    assert f"{name} is 'Auto': allowed is a number from 0 to 1, or auto" in refusal(**{name: "Auto"})


def test_the_section_is_left_to_the_model_without_changing_other_hashes() -> None:
    """Only a body without a field that was always sent before has another hash, in the first version, too."""
    plain, auto = (
        SongRequest.parse({"prompt": "a waltz", **dict.fromkeys(names, "auto")})
        for names in ((), ("song_section_start", "song_section_end"))
    )
    assert UDIO.body_hash(plain.body()) == "75cf87349433074c637f20fd0c8591905eac6fc77204010c34b2a2785999fdcf"
    assert UDIO.body_hash(auto.body()) != UDIO.body_hash(plain.body())
    assert (UDIO.oldest_version(auto.body()), auto.start) == (1, None)
    later = SongRequest.parse({"prompt": "a", "song_section_start": "auto", "song_section_end": 0})
    assert later.body()["gen_params"]["song_section_end"] == 0


@pytest.mark.parametrize("value", [0, 0.3, 0.76, 2, -1, True, "0.75", None, math.nan, [1]])
def test_a_quality_other_than_the_four_levels_is_refused(value: Any) -> None:
    """The error names the four."""
    message = refusal(generation_quality=value)
    assert f"generation_quality is {value!r}: allowed are 0.25, 0.5, 0.75, 1" in message


@pytest.mark.parametrize("value", [0.25, 0.5, 0.75, 1, 1.0])
def test_each_of_the_four_quality_levels_is_valid(value: float) -> None:
    """The last one also as an integer."""
    assert SongRequest.parse({"prompt": "a waltz", "generation_quality": value}).generation_quality == value


@pytest.mark.parametrize("value", [-2, 2**63, 10**30, 1.0, 1.5, True, "7", None, math.nan])
def test_a_seed_out_of_range_or_not_an_integer_is_refused(value: Any) -> None:
    """A number too large for frames and relays is refused before it is paid for."""
    expected = f"seed is {value!r}: allowed is -1 (random) or a whole number from 0 to 9223372036854775807"
    assert expected in refusal(seed=value)


@pytest.mark.parametrize("value", [-1, 0, 2**63 - 1])
def test_the_smallest_and_largest_seeds_are_valid(value: int) -> None:
    """From -1 (random) to the largest."""
    assert SongRequest.parse({"prompt": "a waltz", "seed": value}).body()["gen_params"]["seed"] == value


@pytest.mark.parametrize("value", ["udio32", "UDIO32-V1.5", "", None, 32, ["udio32-v1.5"]])
def test_an_unknown_model_is_refused(value: Any) -> None:
    """The error names the two."""
    assert f"model_type is {value!r}: allowed are udio32-v1.5, udio130-v1.5" in refusal(model_type=value)


@pytest.mark.parametrize(
    ("name", "seconds", "price"), [("udio32-v1.5", 32.81, 1.0), ("udio130-v1.5", 130.0, 2.0)]
)
def test_each_model_has_its_published_length_and_price(name: str, seconds: float, price: float) -> None:
    """As published: 130 s cost twice as much as 32 s."""
    model = SongRequest.parse({"prompt": "a waltz", "model_type": name}).model
    assert (model.seconds, model.price) == (seconds, price)
    assert model is MODELS[name]


@pytest.mark.parametrize("value", [0, 1, "true", "yes", None])
def test_bypass_prompt_optimization_accepts_only_bools(value: Any) -> None:
    """Numbers and texts are refused."""
    message = refusal(bypass_prompt_optimization=value)
    assert f"bypass_prompt_optimization is {value!r}: allowed are true and false" in message


@pytest.mark.parametrize("value", ["", " \n\t", None, 5, b"a", "lone \udcff surrogate"])
def test_a_blank_or_invalid_prompt_is_refused(value: Any) -> None:
    """Blank, of another type, or not Unicode."""
    expected = f"prompt is {value!r}: allowed is a text that is not blank, in valid Unicode"
    assert expected in refusal(prompt=value)


def test_a_prompt_is_required() -> None:
    """The error says so."""
    with pytest.raises(InvalidRequest, match="prompt is required"):
        SongRequest.parse({})


@pytest.mark.parametrize("name", ["lyrics", "negative_prompt"])
@pytest.mark.parametrize("value", [None, 5, "\ud800"])
def test_text_fields_refuse_other_types(name: str, value: Any) -> None:
    """No value is converted silently."""
    fields = {name: value} | ({"lyrics_type": "user"} if name == "lyrics" else {})
    assert f"{name} is {value!r}: allowed is a text in valid Unicode" in refusal(**fields)


@pytest.mark.parametrize("value", ["USER", "sung", 1, ["user"]])
def test_an_unknown_lyrics_type_is_refused(value: Any) -> None:
    """The error names the three."""
    message = refusal(lyrics_type=value)
    assert f"lyrics_type is {value!r}: allowed are user, instrumental, generate" in message


@pytest.mark.parametrize("value", ["extend", "", [], {}, 1, None])
def test_an_unknown_mode_is_refused(value: Any) -> None:
    """The error names the three, whatever the type of the wrong value."""
    assert f"mode is {value!r}: allowed are regular, precede, continuation" in refusal(mode=value)


@pytest.mark.parametrize("value", [0, 0.99, 130.01, True, "130", math.nan, math.inf])
def test_a_context_length_outside_1_to_130_seconds_is_refused(value: Any) -> None:
    """The error names the range."""
    message = refusal(**EXTENSION, context_length=value)
    assert f"context_length is {value!r}: allowed is a number of seconds from 1 to 130" in message


@pytest.mark.parametrize("value", [1, 64.5, 130])
def test_the_shortest_and_longest_context_lengths_are_valid(value: float) -> None:
    """Both ends are included."""
    request = SongRequest.parse({"prompt": "a waltz", **EXTENSION, "context_length": value})
    assert request.body()["gen_params"]["config"]["context_length"] == value


@pytest.mark.parametrize("value", ["", "  ", 7])
def test_a_blank_source_song_id_is_refused(value: Any) -> None:
    """A source is identified by a non-blank id."""
    message = refusal(mode="precede", source_song_id=value)
    assert f"source_song_id is {value!r}: allowed is a text that is not blank" in message


def test_an_error_names_every_wrong_field() -> None:
    """All can be corrected before the next run."""
    wrong: dict[str, Any] = {
        "prompt": " ",
        "lyrics_type": "sung",
        "model_type": "udio64",
        "seed": -2,
        "bypass_prompt_optimization": "no",
        "song_section_start": 2,
        "song_section_end": -1,
        "prompt_strength": math.nan,
        "generation_quality": 0.3,
        "mode": "extend",
        "context_length": 200,
        "tempo": 120,
    }
    message = refusal(**wrong)
    assert message.count(";") == len(wrong) - 1
    for name, value in wrong.items():
        assert f"{name} is {value!r}" in message or f"{name} is not a field" in message


def test_an_error_names_every_broken_rule_between_fields() -> None:
    """The same for rules that concern several fields."""
    message = refusal(
        lyrics="la",
        lyrics_type="instrumental",
        source_song_id="song-1",
        context_length=130,
        song_section_start=0.5,
        song_section_end=0.5,
        lyrics_placement_start=0.9,
        lyrics_placement_end=0.1,
    )
    assert message.split("The request is not valid: ")[1].rstrip(".").split("; ") == [
        "lyrics is forbidden with lyrics_type instrumental (words of your own: user)",
        "source_song_id is forbidden with mode regular (use precede or continuation)",
        "context_length is forbidden with mode regular (it belongs to precede and continuation)",
        "song_section_start is 0.5: allowed is a number below song_section_end, which is 0.5",
        "lyrics_placement_start is 0.9: allowed is a number below lyrics_placement_end, which is 0.1",
    ]


def test_an_unknown_field_is_refused_and_valid_fields_are_listed() -> None:
    """A misspelt field must not become a default that is paid for."""
    message = refusal(prompt_strenght=0.9)
    assert message.startswith("The request is not valid: prompt_strenght is not a field (there are: ")
    assert all(name in message for name in SongRequest.model_fields)


def test_a_field_name_that_is_not_a_string_is_refused() -> None:
    """JSON objects have only string names."""
    with pytest.raises(InvalidRequest, match="Keys should be strings"):
        SongRequest.parse({"prompt": "a waltz", 1: 2})  # type: ignore[dict-item]


def test_a_request_must_be_a_mapping() -> None:
    """Pydantic's own validation refuses it, too."""
    with pytest.raises(ValueError, match="valid dictionary"):
        SongRequest.model_validate("a waltz")


def test_a_long_wrong_value_is_shortened_in_the_message() -> None:
    """Messages stay readable."""
    message = refusal(model_type="x" * 1000)
    assert "..." in message
    assert len(message) < 200


def test_a_request_is_immutable() -> None:
    """The ledger stores its hash."""
    request = SongRequest.parse({"prompt": "a waltz"})
    with pytest.raises(ValueError, match="frozen"):
        request.prompt = "a polka"


def test_numpy_floats_are_valid_numbers() -> None:
    """Sweeps may use `numpy.linspace`."""
    assert (
        SongRequest.parse({"prompt": "a waltz", "prompt_strength": np.float64(0.25)}).prompt_strength == 0.25
    )


# --- lyrics ------------------------------------------------------------------------------------------


def test_lyrics_without_a_type_are_sung() -> None:
    """Lyrics without a type mean `user`."""
    assert SongRequest.parse({"prompt": "folk", "lyrics": "la la"}).lyrics_type is LyricsType.USER


@pytest.mark.parametrize("fields", [{}, {"lyrics": ""}, {"lyrics_type": None}])
def test_without_lyrics_the_type_is_generate(fields: dict[str, Any]) -> None:
    """No lyrics and no type mean `generate`."""
    assert SongRequest.parse({"prompt": "folk", **fields}).lyrics_type is LyricsType.GENERATE


@pytest.mark.parametrize("lyrics", [{}, {"lyrics": ""}, {"lyrics": "  \n"}])
def test_lyrics_type_user_requires_lyrics(lyrics: dict[str, str]) -> None:
    """The gateway would make another song, and bill it."""
    assert "lyrics is required with lyrics_type user" in refusal(lyrics_type="user", **lyrics)


@pytest.mark.parametrize("kind", ["instrumental", "generate"])
def test_lyrics_are_refused_with_a_type_that_ignores_them(kind: str) -> None:
    """A song without the given lyrics would be billed."""
    assert f"lyrics is forbidden with lyrics_type {kind}" in refusal(lyrics_type=kind, lyrics="la")


def test_an_instrumental_has_no_lyrics() -> None:
    """The wire body has the type and empty lyrics."""
    params = SongRequest.parse({"prompt": "folk", "lyrics_type": "instrumental"}).body()["gen_params"]
    assert (params["lyrics"], params["lyrics_type"]) == ("", "instrumental")


# --- extensions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["precede", "continuation"])
def test_an_extension_has_a_source_and_a_context_of_130_seconds(mode: str) -> None:
    """`context_length` has a default only for extensions."""
    request = SongRequest.parse({"prompt": "folk", "mode": mode, "source_song_id": "song-1"})
    assert request.body()["gen_params"]["config"] == {
        "mode": mode,
        "context_length": 130,
        "source": {"source_type": "song", "song_id": "song-1"},
    }


@pytest.mark.parametrize("mode", ["precede", "continuation"])
def test_an_extension_without_a_source_is_refused(mode: str) -> None:
    """There is nothing to extend."""
    assert f"source_song_id is required with mode {mode}" in refusal(mode=mode)


def test_a_regular_song_refuses_a_source() -> None:
    """A source that would be ignored is refused."""
    assert "source_song_id is forbidden with mode regular" in refusal(source_song_id="song-1")


def test_the_four_placements_are_the_published_ones() -> None:
    """precede + 0 is an intro, + 0.4 the front; continuation + 0.4 is the back, + 0.9 an outro."""
    assert dict(PLACES) == {
        "intro": (Mode.PRECEDE, 0.0),
        "front": (Mode.PRECEDE, 0.4),
        "back": (Mode.CONTINUATION, 0.4),
        "outro": (Mode.CONTINUATION, 0.9),
    }
