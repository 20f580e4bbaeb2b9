"""`songflow doctor` looks at every part, says how to mend what is wrong, and spends only when asked."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import fastapi
import prefect
import pytest
from prefect.client.orchestration import get_client
from prefect.schedules import Schedule
from prefect.states import Scheduled

from deployments import doctor_server
from deployments.doctor import unmet
from flows.attention import attention
from songflow.library.library import Library
from songflow.settings import LibrarySettings

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect-ui")]


def states(done):
    return {check["part"]: check["state"] for check in done.json["checks"]}


def of(done, part):
    [check] = [check for check in done.json["checks"] if check["part"] == part]
    return check


async def test_a_fresh_machine_is_healthy_and_nothing_is_made(command, tmp_path):
    done = await command("doctor", "--json", fresh=True)
    assert done.code == 0, done.out
    assert done.json["healthy"]
    assert states(done) == {
        "Python": "ok",
        "packages": "ok",
        "decoder": "ok",
        "network": "ok",
        "library": "ok",
        "keys": "hint",
        "Prefect server": "hint",
    }
    assert not (tmp_path / "songs").exists()


async def test_a_library_is_looked_at_as_it_is(command, studio, tmp_path):
    here = studio()
    address = ("--gateway", "simulator", "--base-url", here.simulator.url, "--poll-interval", "0.1", "--json")
    made = await command("generate", "a waltz", *address, SONGFLOW_PREFECT="off")
    assert made.code == 0, made.err
    await command("pause", "end of month")
    done = await command("doctor", "--json", SONGFLOW_BUDGET="1")
    assert done.code == 0
    assert of(done, "collected")["state"] == "ok"
    assert "end of month" in of(done, "spending")["said"]
    assert of(done, "spending")["mend"].startswith("`songflow resume`")
    assert of(done, "budget")["state"] == "hint"
    assert of(done, "spool")["said"].startswith("1 accepted")


async def test_a_ledger_that_cannot_be_used_is_named_with_its_cure(command, tmp_path):
    async with Library(LibrarySettings(tmp_path / "songs")):
        pass
    with sqlite3.connect(tmp_path / "songs" / "ledger.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    done = await command("doctor", "--json")
    assert done.code == 1
    assert "9999" in of(done, "library")["said"]
    assert "upgrade songflow" in of(done, "library")["mend"]


async def test_a_place_that_no_folder_can_be_made_in_is_named(command, tmp_path):
    (tmp_path / "file").touch()
    done = await command("doctor", "--json", "--library", str(tmp_path / "file" / "songs"))
    assert done.code == 1
    assert "cannot be written to" in of(done, "library")["said"]


async def test_a_server_that_is_down_and_a_gateway_that_does_not_answer(command):
    done = await command("doctor", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.code == 1
    assert "!!  Prefect server" in done.out
    assert "1 of 7 parts do not work" in done.out


async def test_a_server_without_our_parts_names_the_command_for_each(prefect_server, command):
    await command("setup", PREFECT_API_URL=prefect_server.url)
    done = await command("doctor", "--json", PREFECT_API_URL=prefect_server.url)
    assert done.code == 1
    found = states(done)
    assert (found["Prefect server"], found["block types"], found["zombies"]) == ("ok", "ok", "ok")
    assert (found["deployments"], found["workers"]) == ("bad", "bad")
    assert "make deploy" in of(done, "deployments")["mend"]
    assert "prefect worker start" in of(done, "workers")["mend"]
    assert found["credentials song-simulator-credentials/default"] == "ok"


async def test_a_schedule_from_which_no_runs_are_planned_is_named(prefect_server, monkeypatch):
    """As Prefect 3.9.1 plans none from a cron on Python 3.11; here the schedule's only date is over."""
    over = Schedule(rrule="DTSTART:20200101T070000\nRRULE:FREQ=DAILY;COUNT=1", timezone="Europe/Berlin")
    made = await attention.ato_deployment("over", schedules=[over])
    async with get_client() as client:
        deployment = await client.read_deployment(await made.aapply())
        scheduled = {"attention/over": deployment}
        assert (await doctor_server._schedules(client, scheduled)).state == "ok"  # it may come yet
        monkeypatch.setattr(doctor_server, "_PLANNED_WITHIN", timedelta(0))
        found = await doctor_server._schedules(client, scheduled)
        assert (found.state, found.said) == ("bad", "the server plans no runs of attention/over.")
        await client.create_flow_run_from_deployment(
            deployment.id, parameters={"event": "a test"}, state=Scheduled()
        )
        assert (await doctor_server._schedules(client, scheduled)).state == "ok"
        await client.delete_deployment(deployment.id)


async def test_the_live_test_states_its_price_and_asks_first(command, studio):
    here = studio()
    there = ("--gateway", "openai-hk", "--base-url", here.simulator.url)
    asked = await command("doctor", "--spend", *there, OPENAI_HK_KEY=here.secret)
    assert asked.code == 2
    assert "costs 1 unit" in asked.err
    assert here.billed == 0
    done = await command("doctor", "--spend", "--yes", *there, "--json", OPENAI_HK_KEY=here.secret)
    assert done.code == 0, done.err
    assert (done.json["state"], done.json["price"], here.billed) == ("succeeded", 1.0, 1)
    assert here.secret not in asked.out + asked.err + done.out + done.err


async def test_the_live_test_of_a_wrong_key_says_that_nothing_was_billed(command, studio):
    here = studio(accept_keys=frozenset({"sk-the-right-one"}))
    there = ("--gateway", "openai-hk", "--base-url", here.simulator.url, "--json")
    done = await command("doctor", "--spend", "--yes", *there, OPENAI_HK_KEY=here.secret)
    assert (done.code, done.json["billed"], here.billed) == (3, "no", 0)
    assert "check the key" in done.json["next"]


async def test_yes_without_spend_is_refused(command):
    done = await command("doctor", "--yes", "--json")
    assert done.code == 2


def test_a_dependency_that_does_not_fit_is_named():
    assert list(unmet(["prefect<3", "surely-not-installed>=1", "optuna>=4; extra == 'search'"])) == [
        f"prefect {prefect.__version__} is not <3",
        "surely-not-installed is not installed",
    ]


def test_the_extra_for_prefect_3_8_bounds_fastapi():
    declared = ["fastapi<0.1; extra == 'prefect-3-8'"]
    assert list(unmet(declared)) == []
    assert list(unmet(declared, "prefect-3-8")) == [f"fastapi {fastapi.__version__} is not <0.1"]
