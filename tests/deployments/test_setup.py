"""`songflow setup` on a real server: it makes what is missing, keeps what is there, and never shows a key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from pydantic import SecretStr
from support.hummery import HUMMERY

from blocks import (
    AceStepCredentials,
    CometAPICredentials,
    InstalledGatewayCredentials,
    OpenAIHKCredentials,
    SongLibrary,
)
from deployments.automations import CRASH_ZOMBIES, NOTIFY, crash_zombies, install
from deployments.setup import set_up
from songflow.errors import InputError
from songflow.gateways import DIALECTS
from songflow.settings import LibrarySettings
from tasks.limits import limit_name

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect-ui")]

KEY = "sk-of-the-setup-0123456789abcdef"


async def steps(library, **options):
    return {step.part: step async for step in set_up(library, **options)}


@pytest.fixture
def library(tmp_path):
    return LibrarySettings(tmp_path / "songs")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("COMETAPI_KEY", "OPENAI_HK_KEY", "SONGFLOW_API_KEY", "ACESTEP_KEY", "ACESTEP_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("prefect_server")
async def test_a_second_time_there_is_nothing_to_do(library, monkeypatch):
    monkeypatch.setitem(DIALECTS, "hummery", replace(HUMMERY, base_url="https://api.hummery.example"))
    for name in ("COMETAPI_KEY", "HUMMERY_KEY"):
        monkeypatch.setenv(name, KEY)
    await steps(library, overwrite=True)
    again = await steps(library)
    assert {step.outcome for step in again.values()} == {"kept", "left out"}
    assert again["block installed-song-gateway-credentials/hummery"].outcome == "kept"
    installed = (await InstalledGatewayCredentials.aload("hummery")).get_access().account
    assert (installed.dialect.name, installed.base_url, installed.secret) == (
        "hummery",
        "https://api.hummery.example",
        KEY,
    )
    assert (await CometAPICredentials.aload("default")).api_key.get_secret_value() == KEY
    assert (await SongLibrary.aload("default")).get_settings() == library


@pytest.mark.usefixtures("prefect_server")
async def test_what_a_person_has_saved_is_replaced_only_when_asked(library, monkeypatch):
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    await steps(library, overwrite=True)
    mine = await CometAPICredentials.aload("default")
    mine.prices, mine.api_key = {"udio32-v1.5": 0.07}, SecretStr("sk-another")
    await mine.asave("default", overwrite=True)
    elsewhere = replace(library, folder=library.folder / "elsewhere")

    kept = await steps(elsewhere)
    part, place = "block cometapi-credentials/default", "block song-library/default"
    assert (kept[part].outcome, kept[place].outcome) == ("kept", "kept")
    assert "--overwrite" in kept[part].note
    assert "--overwrite" in kept[place].note

    changed = await steps(elsewhere, overwrite=True)
    assert (changed[part].outcome, changed[place].outcome) == ("changed", "changed")
    now = await CometAPICredentials.aload("default")
    assert (now.api_key.get_secret_value(), now.prices) == (KEY, {"udio32-v1.5": 0.07})


@pytest.mark.usefixtures("prefect_server")
async def test_a_server_of_ones_own_is_saved_by_its_address_without_a_key(library, monkeypatch):
    """It is left out until one of its variables is set; its key is taken over later."""
    part = "block ace-step-credentials/default"
    left_out = await steps(library)
    assert left_out[part].note == "ACESTEP_KEY and ACESTEP_URL are not set"
    monkeypatch.setenv("ACESTEP_URL", "http://studio.example:8001")
    made = await steps(library)
    assert (made[part].outcome, made[part].note) == ("made", "with the address in ACESTEP_URL")
    monkeypatch.setenv("ACESTEP_KEY", KEY)
    assert (await steps(library, overwrite=True))[part].note == "it has the key in ACESTEP_KEY now"
    now = await AceStepCredentials.aload("default")
    assert (now.base_url, now.api_key.get_secret_value()) == ("http://studio.example:8001", KEY)


@pytest.mark.usefixtures("prefect_server")
async def test_an_automation_is_brought_up_to_date_and_one_that_is_off_stays_off():
    async with get_client() as client:
        await install(client, crash_zombies())
        assert await install(client, crash_zombies()) == "kept"
        [found] = await client.read_automations_by_name(CRASH_ZOMBIES)
        await client.pause_automation(found.id)
        assert await install(client, crash_zombies(timedelta(minutes=7))) == "changed"
        [found] = await client.read_automations_by_name(CRASH_ZOMBIES)
        assert not found.enabled
        assert found.trigger.within == timedelta(minutes=7)
        await client.delete_automation(found.id)


@pytest.mark.usefixtures("prefect_server")
async def test_the_setup_of_an_older_version_is_taken_over(library, monkeypatch):
    """Under its former names, with the numbers and switches that a person has set, and nothing is there twice."""
    monkeypatch.setenv("OPENAI_HK_KEY", "hk-taken-over")
    access = OpenAIHKCredentials(api_key="hk-taken-over").get_access()
    former = f"songflow-openai-hk-{access.account.fingerprint}"
    async with get_client() as client:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=former, limit=3))
        for one in await client.read_automations_by_name(CRASH_ZOMBIES):
            await client.delete_automation(one.id)
        old = crash_zombies().model_copy(update={"name": "songflow: crash zombie runs", "enabled": False})
        made = await client.create_automation(old)
        await steps(library, overwrite=True)
        await steps(library, overwrite=True)
        [found] = [one for one in await client.read_automations() if one.name in (old.name, CRASH_ZOMBIES)]
        assert (found.id, found.name, found.enabled) == (made, CRASH_ZOMBIES, False)
        limits = {one.name: one.limit for one in await client.read_global_concurrency_limits()}
        assert (limits.get(former), limits[limit_name(access)]) == (None, 3)
        await client.delete_automation(found.id)


@pytest.mark.usefixtures("prefect_server")
async def test_trouble_is_sent_to_a_notification_block(library):
    await SlackWebhook(url="https://hooks.slack.example/T/B/x").asave("songs-team", overwrite=True)
    made = await steps(library, notify_block="slack-webhook/songs-team", overwrite=True)
    assert made[f"automation '{NOTIFY}'"].outcome == "made"
    with pytest.raises(InputError, match="no notification block"):
        await steps(library, notify_block="slack-webhook/nobody")
    async with get_client() as client:
        [found] = await client.read_automations_by_name(NOTIFY)
        await client.delete_automation(found.id)


async def test_the_command_says_what_it_changed_and_never_a_key(prefect_server, command, tmp_path):
    done = await command("setup", "--json", PREFECT_API_URL=prefect_server.url, OPENAI_HK_KEY=KEY)
    assert done.code == 0
    made = {step["part"]: step["outcome"] for step in done.json["steps"]}
    assert made["block openai-hk-credentials/default"] in {"made", "kept"}
    assert "work pool 'songflow'" in made
    for place in (done.out, done.err, prefect_server.dump()):
        assert KEY not in place
    again = await command("setup", fresh=True, PREFECT_API_URL=prefect_server.url, OPENAI_HK_KEY=KEY)
    assert "Nothing to change" in again.out


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "No Prefect server is configured"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "does not answer"),
    ],
    ids=["none", "down"],
)
async def test_without_a_server_the_command_says_so(command, variables, said):
    done = await command("setup", "--json", **variables)
    assert done.code == 2
    assert said in done.json["error"]
    assert "prefect server start" in done.json["next"]


def test_a_run_that_rests_is_no_zombie():
    """Its process may rightly be gone: paused for a person, suspended, waiting for a retry."""
    automation: AutomationCore = crash_zombies()
    assert isinstance(automation.trigger, EventTrigger)
    assert {
        f"prefect.flow-run.{state}" for state in ("Paused", "Suspended", "AwaitingRetry", "Completed")
    } < (automation.trigger.expect)
