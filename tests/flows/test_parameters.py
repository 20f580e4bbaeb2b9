"""Parameters of the paying flows: their form, invalid values, and former names."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import get_args

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ParameterTypeError
from prefect.flow_engine import run_flow

from blocks.credentials import GatewayBlock
from flows.extend import extend_song
from flows.generate import generate_song
from flows.song import make_song
from flows.song_flow import song_flow
from flows.sweep import sweep, sweep_shard
from songflow.accounts import gateway_names
from songflow.errors import InputError, InvalidRequest
from songflow.families.registry import models
from songflow.families.udio import SongRequest
from songflow.families.udio_parameters import Placement, Sound
from songflow.parameters import GatewayName, KeyedSafety

SCHEMA = generate_song.parameters.model_dump()
TOP = [
    "prompt", "lyrics", "lyrics_type", "model_type", "negative_prompt", "seed", "credentials", "library", "budget",
]  # fmt: skip
GROUPS = ["sound", "placement", "details", "account", "waiting", "safety"]
FLOWS = [generate_song, extend_song, make_song, sweep, sweep_shard]

# Every parameter that these flows had before they had groups, with an example of its value.
FORMER = {
    "prompt_strength": 0.7,
    "clarity_strength": 0.3,
    "lyrics_strength": 0.6,
    "generation_quality": 1,
    "bypass_prompt_optimization": True,
    "song_section_start": 0.1,
    "song_section_end": None,
    "lyrics_placement_start": 0.2,
    "lyrics_placement_end": 0.9,
    "gateway": "simulator",
    "base_url": "http://127.0.0.1:1",
    "submit_path": "/submit",
    "fetch_path": "/fetch/{id}",
    "shape": "B",
    "key": "K",
    "step": "chorus",
    "if_unsettled": "new",
    "retry_errors": False,
    "retries": 4,
    "poll_interval": 1.0,
    "deadline": None,
    "fallbacks": None,
    "fallback_gateways": ["simulator"],
}
OF_AN_EXTENSION = {"mode": "precede", "source_song_id": "S", "context_length": 130.0}


def test_the_form_of_generate_has_nine_fields_then_closed_groups():
    """In the order of the documents; a group shows *Defaults* until somebody opens it."""
    properties = SCHEMA["properties"]
    assert sorted(properties, key=lambda name: properties[name]["position"]) == [*TOP, *GROUPS]
    for name in GROUPS:
        assert [tab["title"] for tab in properties[name]["anyOf"]] == ["Defaults", "Custom"]
        assert "default" not in properties[name]
    assert not OF_AN_EXTENSION.keys() & {*properties, *Sound.model_fields, *Placement.model_fields}


@pytest.mark.parametrize("made", FLOWS, ids=lambda made: made.name)
def test_no_form_has_more_than_nine_fields_and_six_groups(made):
    """The rest is in groups."""
    definitions = made.parameters.definitions
    fields = groups = 0
    for schema in made.parameters.properties.values():
        names = [one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", []) if "$ref" in one]
        is_group = len(names) == 1 and "block_type_slug" not in definitions[names[0]]
        groups, fields = groups + is_group, fields + (not is_group)
    assert fields <= 9
    assert groups <= 6


@pytest.mark.parametrize("made", FLOWS, ids=lambda made: made.name)
def test_no_form_has_a_tab_for_none(made):
    """An empty field is left out of a run; only credentials have a tab "None", which is a kind of its own there."""
    schema = made.parameters.model_dump()
    groups = [one for one in schema["definitions"].values() if "block_type_slug" not in one]
    for properties in (schema["properties"], *(group["properties"] for group in groups)):
        for name, property_ in properties.items():
            assert {"type": "null"} not in property_.get("anyOf", []) or property_["default"] is not None, (
                name
            )
    kinds = [block.get_block_type_name().removesuffix("Credentials") for block in get_args(GatewayBlock)]
    tabs = [tab["title"] for tab in schema["properties"]["credentials"]["anyOf"]]
    assert tabs == ["None", *(kind.strip().removesuffix(" Song") for kind in kinds)]
    assert {"CometAPI", "Song Simulator", "Installed Song Gateway", "Custom Song Gateway"} <= set(tabs)


def test_every_parameter_has_a_title_and_a_sentence():
    """In the groups, too."""
    groups = [
        SCHEMA["definitions"][name]
        for name in ("Sound", "Placement", "EnvironmentAccount", "Waiting", "SongSafety")
    ]
    for properties in (SCHEMA["properties"], *(group["properties"] for group in groups)):
        for name, schema in properties.items():
            assert schema["description"].endswith("."), name
            assert schema["title"][0].isupper(), name


def test_the_form_knows_limits_and_choices():
    """The browser refuses a wrong value before anything is sent."""
    sound = SCHEMA["definitions"]["Sound"]["properties"]
    assert sorted(sound, key=lambda name: sound[name]["position"]) == list(Sound.model_fields)
    strength = sound["prompt_strength"]
    assert (strength["minimum"], strength["maximum"], strength["default"]) == (0, 1, 0.5)
    assert sound["generation_quality"]["enum"] == [0.25, 0.5, 0.75, 1]
    assert SCHEMA["properties"]["model_type"]["enum"] == list(models())
    assert set(GatewayName.__args__) == set(gateway_names())


def test_the_form_has_the_fields_of_a_request_with_their_defaults():
    """Except for those of extensions."""
    signature = inspect.signature(generate_song).parameters
    groups = {**Sound.model_fields, **Placement.model_fields}
    for name, field in SongRequest.model_fields.items():
        if name in OF_AN_EXTENSION:
            continue
        assert (name in signature) != (name in groups), name
        # Both fill in the same lyrics type: "user" with lyrics, else "generate".
        if not field.is_required() and name != "lyrics_type":
            default = signature[name].default if name in signature else groups[name].default
            assert default == field.default, name


def test_the_flow_describes_itself_without_a_list_of_arguments():
    """Prefect shows the text above the form, where each parameter has its own."""
    assert "pay once" in generate_song.description
    assert "Args:" not in generate_song.description


def test_a_copy_with_other_options_has_the_same_form():
    """And is still a flow that must be awaited."""
    copy = generate_song.with_options(retries=3, name="mine")
    assert (copy.retries, copy.name, type(copy)) == (3, "mine", type(generate_song))
    assert copy.parameters == generate_song.parameters


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
async def test_a_result_that_cannot_be_put_into_words_fails_no_run(caplog):
    """What the run has paid for is stored, and its result comes back."""

    def wordless(_result, _unit):
        raise ZeroDivisionError

    @song_flow("wordless", "wordless", moved={}, ended=wordless)
    async def making() -> str:
        return "a song"

    state = await making(return_state=True)
    assert (state.is_completed(), await state.aresult()) == (True, "a song")
    assert "The run's result cannot be put into words (ZeroDivisionError)" in caplog.text


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
class TestRefused:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"prompt": ""},
            {"seed": -2},
            {"seed": True},
            {"model_type": "udio64"},
            {"sound": {"prompt_strength": 2}},
            {"sound": {"clarity_strength": "0.5"}},
            {"sound": {"tempo": 120}},
            {"waiting": {"poll_interval": 0}},
            {"waiting": {"deadline": -1.0}},
            {"safety": {"retries": -1}},
            {"safety": {"if_unsettled": "pay"}},
            {"account": {"gateway": "suno"}},
        ],
        ids=str,
    )
    async def test_by_the_form_before_the_run(self, studio, wrong):
        here = studio()
        [[name, value]] = wrong.items()
        named = next(iter(value)) if isinstance(value, dict) else name
        with pytest.raises(ParameterTypeError, match=named):
            await generate_song(**{"prompt": "a song", **here.options, **wrong})
        assert here.billed == 0

    @pytest.mark.parametrize(
        ("wrong", "text"),
        [
            ({"prompt": "  "}, "prompt is .*blank"),
            ({"lyrics": "la", "lyrics_type": "instrumental"}, "lyrics is forbidden"),
            ({"lyrics_type": "user"}, "lyrics is required"),
            ({"sound": {"generation_quality": 0.6}}, "generation_quality is 0.6"),
            (
                {"placement": {"song_section_start": 0.9, "song_section_end": 0.4}},
                "song_section_start is 0.9",
            ),
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
            await generate_song("a song", account={"gateway": "simulator"}, **here.options)
        assert here.billed == 0

    async def test_the_groups_of_the_command_line_and_of_python_are_taken(self, studio):
        """A flow's own group also has blocks; a group without them is accepted as well."""
        here = studio()
        result = await generate_song("plain", safety=KeyedSafety(key="plain", retries=1), **here.options)
        assert (result.key, here.billed) == ("plain", 1)


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
class TestFormerNames:
    """Flat names of saved deployments, schedules, API calls and code: an error names the new place."""

    @pytest.mark.parametrize("name", [*FORMER, *OF_AN_EXTENSION])
    async def test_in_a_call(self, studio, name):
        here = studio()
        value = {**FORMER, **OF_AN_EXTENSION}[name]
        with pytest.raises(
            InputError, match=rf"{name} is now (\w+\.{name}|a parameter of the flow extend-song)"
        ):
            await generate_song("a song", **here.options, **{name: value})
        assert here.billed == 0

    @pytest.mark.parametrize(
        ("made", "required"),
        [
            (extend_song, {"song_id": "S"}),
            (make_song, {}),
            (sweep, {"spec": "prompt: x"}),
            (sweep_shard, {"cells": []}),
        ],
        ids=lambda value: getattr(value, "name", ""),
    )
    async def test_in_a_call_of_every_flow(self, made, required):
        with pytest.raises(
            InputError, match=r"deadline is now waiting\.deadline; retries is now safety\.retries"
        ):
            await made(**required, retries=1, deadline=3.0)

    @pytest.mark.parametrize("enforced", [True, False])
    async def test_in_a_deployment_that_was_saved_before(self, studio, enforced):
        """Its stored schema still has the flat names, and its parameters a null."""
        here = studio()
        async with get_client() as client:
            flow_id = await client.create_flow(generate_song)
            old = {name: {"title": name} for name in ("prompt", *FORMER)}
            deployment = await client.create_deployment(
                flow_id,
                "saved-before",
                parameters={"prompt": "a song", "clarity_strength": 0.3, "deadline": None},
                parameter_openapi_schema={"title": "Parameters", "type": "object", "properties": old},
                enforce_parameter_schema=enforced,
            )
            run = await client.create_flow_run_from_deployment(deployment)
        await self.ends_with(
            run, "clarity_strength is now sound.clarity_strength; deadline is now waiting.deadline"
        )
        assert here.billed == 0
        async with get_client() as client:
            await client.delete_deployment(deployment)

    async def test_null_in_an_api_call_is_an_empty_field(self, studio):
        """Callers and forms of earlier versions sent it for every parameter without a value."""
        here = studio()
        empty = {"prompt": "a song", "credentials": None, "library": None, "budget": None}
        deployment_id = await (await generate_song.ato_deployment("null")).aapply()
        async with get_client() as client:
            run = await client.create_flow_run_from_deployment(deployment_id, parameters=empty)
            await client.delete_deployment(deployment_id)
        values = generate_song.validate_parameters(run.parameters)
        assert {name: values[name] for name in empty} == empty
        assert here.billed == 0

    @pytest.mark.parametrize("enforced", [True, False])
    async def test_in_an_api_call_and_in_a_schedule_of_a_new_deployment(self, enforced):
        """Prefect's server accepts names that a schema does not have."""
        deployment_id = await (
            await generate_song.ato_deployment("old-call", enforce_parameter_schema=enforced)
        ).aapply()
        old = {"prompt": "a song", "retries": 1}
        async with get_client() as client:
            called = await client.create_flow_run_from_deployment(deployment_id, parameters=old)
            every = IntervalSchedule(interval=timedelta(hours=1)).model_dump(mode="json")
            answer = await client.request(
                "POST",
                "/deployments/{id}/schedules",
                path_params={"id": deployment_id},
                json=[{"schedule": every, "active": True, "parameters": old}],
            )
            assert answer.status_code == 201
        await self.ends_with(called, "retries is now safety.retries")
        async with get_client() as client:
            await client.delete_deployment(deployment_id)

    async def ends_with(self, run, text):
        """Prefect's engine executes a run as a worker does; it has failed, with the sentence as its message."""
        with pytest.raises(InputError, match="are in groups"):
            await run_flow(generate_song, flow_run=run)
        async with get_client() as client:
            after = await client.read_flow_run(run.id)
        assert after.state.is_failed()
        assert text in after.state.message
        assert "nothing was sent" in after.state.message
