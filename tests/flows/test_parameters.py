"""What the form of the flow says and refuses: nothing is spent on a wrong value."""

from __future__ import annotations

import inspect

import pytest
from prefect.exceptions import ParameterTypeError

from flows.generate import generate_song
from songflow.errors import InputError, InvalidRequest
from songflow.families.udio import SongRequest

PARAMETERS = generate_song.parameters.model_dump()["properties"]


def test_every_parameter_has_a_title_and_a_text_in_the_form():
    for name, schema in PARAMETERS.items():
        assert schema["description"].endswith("."), name
        assert schema["title"][0].isupper(), name


def test_the_form_knows_limits_and_choices():
    strength = PARAMETERS["prompt_strength"]
    assert (strength["minimum"], strength["maximum"], strength["default"]) == (0, 1, 0.5)
    assert PARAMETERS["generation_quality"]["enum"] == [0.25, 0.5, 0.75, 1]
    assert PARAMETERS["model_type"]["enum"] == ["udio32-v1.5", "udio130-v1.5"]


def test_the_form_asks_for_the_fields_of_a_request_with_their_defaults():
    signature = inspect.signature(generate_song.fn).parameters
    for name, field in SongRequest.model_fields.items():
        assert name in signature, name
        # Both fill in the same type: "user" with lyrics, else "generate".
        if not field.is_required() and name != "lyrics_type":
            assert signature[name].default == field.default, name


def test_the_flow_describes_itself_without_a_list_of_arguments():
    assert "pays once" in generate_song.description
    assert "Args:" not in generate_song.description


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
class TestRefused:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"prompt": ""},
            {"prompt_strength": 2},
            {"clarity_strength": "0.5"},
            {"seed": -2},
            {"seed": True},
            {"model_type": "udio64"},
            {"mode": "remix"},
            {"context_length": 131.0},
            {"retries": -1},
            {"poll_interval": 0},
            {"deadline": -1.0},
            {"if_unsettled": "pay"},
            {"gateway": "suno"},
        ],
        ids=str,
    )
    async def test_by_the_form_before_the_run(self, studio, wrong):
        here = studio()
        with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
            await generate_song(**{"prompt": "a song", **here.options, **wrong})
        assert here.billed == 0

    @pytest.mark.parametrize(
        ("wrong", "text"),
        [
            ({"prompt": "  "}, "prompt is .*blank"),
            ({"lyrics": "la", "lyrics_type": "instrumental"}, "lyrics is forbidden"),
            ({"lyrics_type": "user"}, "lyrics is required"),
            ({"generation_quality": 0.6}, "generation_quality is 0.6"),
            ({"mode": "precede"}, "source_song_id is required"),
            ({"song_section_start": 0.9, "song_section_end": 0.4}, "song_section_start is 0.9"),
        ],
        ids=str,
    )
    async def test_by_the_request_before_anything_is_spent(self, studio, wrong, text):
        here = studio()
        with pytest.raises(InvalidRequest, match=text):
            await generate_song(**{"prompt": "a song", **here.options, **wrong})
        assert here.billed == 0

    async def test_a_block_and_a_gateway_at_once(self, studio):
        here = studio()
        with pytest.raises(InputError, match=r"either `credentials`, or the gateway.s own fields"):
            await generate_song("a song", gateway="simulator", **here.options)
        assert here.billed == 0
