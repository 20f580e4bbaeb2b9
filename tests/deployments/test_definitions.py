"""There is one list of deployments, and `prefect deploy` and the serving process read the same."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from prefect.flows import load_flow_from_entrypoint

from deployments.automations import TAG, TROUBLE
from deployments.definitions import HEARTBEAT_SECONDS, WORK_POOL, definitions, served

DEFINED = {definition.full_name: definition.fields for definition in definitions()}
FREE = {"rescue-songs/rescue", "attention/attention"}


@pytest.fixture(scope="module")
def served_by_name():
    return {f"{one.flow_name}/{one.name}": one for one in served()}


def test_every_deployment_is_served_as_it_is_deployed(served_by_name):
    assert list(served_by_name) == list(DEFINED)
    for name, fields in DEFINED.items():
        one = served_by_name[name]
        assert one.entrypoint == fields["entrypoint"]
        assert one.tags == fields["tags"]
        assert one.parameters == fields.get("parameters", {})
        assert len(one.schedules or []) == len(fields.get("schedules", ()))
        assert one.concurrency_limit == fields.get("concurrency_limit", {}).get("limit")
        assert one.work_pool_name is None


@pytest.mark.parametrize("name", DEFINED)
def test_a_deployment_says_what_a_team_needs_to_know(name):
    fields = DEFINED[name]
    assert fields["version"] == version("songflow")
    assert TAG in fields["tags"]
    assert ("free" in fields["tags"]) == (name in FREE)
    assert ("pays" in fields["tags"]) != (name in FREE)
    text = fields.get("description") or load_flow_from_entrypoint(fields["entrypoint"]).description
    assert "**" in text, "a description in Markdown says what it pays"
    assert fields["work_pool"]["name"] == WORK_POOL
    beat = fields["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    assert beat == str(HEARTBEAT_SECONDS)


def test_what_is_scheduled_never_piles_up():
    for name, fields in DEFINED.items():
        if fields.get("schedules"):
            assert fields["concurrency_limit"]["limit"] == 1, name
            assert "scheduled" in fields["tags"], name


def test_a_daily_song_at_a_time_of_day_and_a_rescue_every_quarter_of_an_hour(served_by_name):
    """When the runs are is up to the server: `test_cluster.py`."""
    [daily] = served_by_name["generate-song/daily"].schedules
    assert daily.schedule.timezone == "Europe/Berlin"
    [rescue] = served_by_name["rescue-songs/rescue"].schedules
    assert rescue.schedule.interval.total_seconds() == 900


def test_what_is_scheduled_costs_nothing_until_somebody_names_a_gateway():
    for name, fields in DEFINED.items():
        if fields.get("schedules"):
            assert not {"account", "credentials"} & set(fields.get("parameters", {})), name


def test_trouble_is_told_of_by_the_events_that_are_trouble():
    [trigger] = DEFINED["attention/attention"]["triggers"]
    assert set(trigger["expect"]) == TROUBLE
