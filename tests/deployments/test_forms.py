"""What a person sees and is told in the form of every deployment, and what the server refuses."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint

from blocks.resolver import CREDENTIALS_TYPES
from deployments.definitions import definitions, served

FLOWS = {one.entrypoint: load_flow_from_entrypoint(one.entrypoint) for one in definitions()}
FORMS = {flow.name: flow.parameters.model_dump() for flow in FLOWS.values()}
PAYING = {
    name: form
    for name, form in FORMS.items()
    if "credentials" in form["properties"] and name != "rescue-songs"
}
# Every paying form ends with the same questions in the same order: who pays, from which library, how much; then groups.
_TAIL = (
    "credentials", "library", "budget", "report", "run", "sound", "placement", "account", "waiting", "safety", "shards",
)  # fmt: skip


def ordered(form):
    return sorted(form["properties"], key=lambda name: form["properties"][name]["position"])


@pytest.mark.oldest_prefect
@pytest.mark.parametrize("name", FORMS)
def test_every_parameter_has_a_title_and_a_sentence(name):
    for parameter, schema in FORMS[name]["properties"].items():
        assert schema["title"][0].isupper(), parameter
        assert schema["description"].endswith("."), parameter


@pytest.mark.parametrize("name", FORMS)
def test_what_must_be_said_comes_first(name):
    form = FORMS[name]
    required = form.get("required", [])
    assert ordered(form)[: len(required)] == list(required)


@pytest.mark.parametrize("name", PAYING)
def test_the_questions_of_every_paying_form_come_in_the_same_order(name):
    asked = [parameter for parameter in ordered(PAYING[name]) if parameter in _TAIL]
    assert asked == [parameter for parameter in _TAIL if parameter in asked]


@pytest.mark.parametrize("name", PAYING)
def test_any_account_and_any_library_can_be_picked(name):
    form = PAYING[name]
    picked = [one["$ref"] for one in form["properties"]["credentials"]["anyOf"] if "$ref" in one]
    kinds = [form["definitions"][one.rpartition("/")[2]]["block_type_slug"] for one in picked]
    assert sorted(kinds) == sorted(CREDENTIALS_TYPES)
    assert form["properties"]["library"]["block_type_slug"] == "song-library"


def test_a_section_can_be_left_to_the_model():
    """By null where a section has a default, and by a choice where an empty one is that of the place."""
    new = FORMS["generate-song"]["definitions"]["Placement"]["properties"]
    for name in ("song_section_start", "song_section_end"):
        assert {"type": "null"} in new[name]["anyOf"], name
    more = FORMS["extend-song"]["definitions"]["ExtensionPlacement"]["properties"]
    for name in ("song_section_start", "lyrics_placement_start", "lyrics_placement_end"):
        kinds = [one["type"] for one in more[name]["anyOf"]]
        assert (kinds, more[name]["anyOf"][1]["const"]) == (["number", "string"], "auto"), name
    assert more["song_section_end"]["type"] == "number"


@pytest.fixture(scope="module")
def deployments():
    """All of them, made once."""
    return served()


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect-ui")
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("deployment", "wrong", "said"),
    [
        (
            "generate",
            {"prompt": "a song", "sound": {"prompt_strength": 2}},
            "2 is greater than the maximum of 1",
        ),
        ("generate", {"prompt": "a song", "model_type": "udio64"}, "udio64"),
        ("generate", {}, "'prompt' is a required property"),
        ("extend", {"song_id": "s", "placement": {"context_length": 500}}, "500"),
        ("whole-song", {"safety": {"retries": -1}}, "-1 is less than the minimum of 0"),
        ("sweep", {"spec": "prompt: x", "concurrency": 0}, "0"),
        ("rescue", {"deadline": -1}, "-1 is less than the minimum of 0"),
    ],
)
async def test_the_server_refuses_a_wrong_value_with_the_reason(deployment, wrong, said, deployments):
    """Before there is a run: nothing can be spent."""
    [one] = [one for one in deployments if one.name == deployment]
    await one.aapply()
    async with get_client() as client:
        found = await client.read_deployment_by_name(f"{one.flow_name}/{one.name}")
        with pytest.raises(PrefectHTTPStatusError) as refused:
            await client.create_flow_run_from_deployment(found.id, parameters=wrong)
        await client.delete_deployment(found.id)
    assert refused.value.response.status_code in (409, 422)
    assert said in refused.value.response.text
