"""`songflow generate` as a flow run if a Prefect server is configured, else in plain Python."""

from __future__ import annotations

import json
import os
import re

import pytest

from blocks import OpenAIHKCredentials

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


@pytest.fixture
def command(tmp_path, program):
    """Run the command as a user would; returns its exit code, JSON and stderr."""

    async def run(here, *arguments, api_url, fresh=False, **variables):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "SONGFLOW_"))
        }
        environment |= {"PREFECT_API_URL": api_url, "PREFECT_HOME": str(tmp_path / "home"), **variables}
        process = await program(
            *("-m", "cli", "generate", *arguments),
            *("--library", here.folder / "songs", "--poll-interval", "0.1", "--json"),
            env=environment,
            fresh=fresh,
        )
        out, err = await process.communicate()
        return process.returncode, json.loads(out), err.decode()

    return run


async def test_a_command_becomes_a_flow_run_if_a_server_is_configured(studio, prefect_server, command):
    """The run is in Prefect, the song in the library; JSON, progress and log lines are those without Prefect."""
    here = studio()
    code, answer, err = await command(
        here,
        *("by command", "--gateway", "openai-hk", "--base-url", here.simulator.url, "--key", "K1"),
        api_url=prefect_server.url,
        fresh=True,
        OPENAI_HK_KEY=here.secret,
    )
    assert (code, answer["state"], answer["billed"]) == (0, "succeeded", "yes")
    assert list(answer) == ["key", "generation_id", "state", "billed", "price", "songs"]
    [run] = await prefect_server.flow_runs("by command")
    submissions, songs = await here.ledger("K1")
    assert submissions[0].runs.flow_run_id == str(run.id)
    assert [song.path for song in songs] == [song["path"] for song in answer["songs"]]
    assert here.billed == 1
    assert err.count(f"/runs/flow-run/{run.id}") == 1
    assert re.search(r"^\d\d:\d\d:\d\d 'by command': succeeded after ", err, re.MULTILINE)
    lines_of_the_run = ("Making songs with", "songs stored:", "Created task run", "Finished in state")
    assert [line for line in lines_of_the_run if line in err] == []


async def test_a_flow_run_reaches_this_machine_past_a_proxy(studio, prefect_server, command):
    """Prefect's own client reads the proxy from the environment: its server, on this machine, is asked directly."""
    here = studio()
    code, _answer, err = await command(
        here,
        *("past the proxy", "--gateway", "openai-hk", "--base-url", here.simulator.url),
        api_url=prefect_server.url,
        OPENAI_HK_KEY=here.secret,
        HTTP_PROXY="http://127.0.0.1:1",
        ALL_PROXY="http://127.0.0.1:1",
        NO_PROXY="elsewhere.test",
    )
    assert code == 0, err
    assert len(await prefect_server.flow_runs("past the proxy")) == 1
    assert here.billed == 1


async def test_a_refusal_inside_a_flow_run_has_the_exit_code_and_json_of_a_refusal(
    studio, prefect_server, command
):
    """The output for programs is the same with and without Prefect."""
    here = studio(accept_keys=frozenset({"another"}))
    code, answer, err = await command(
        here,
        *("by command", "--gateway", "openai-hk", "--base-url", here.simulator.url),
        api_url=prefect_server.url,
        OPENAI_HK_KEY=here.secret,
    )
    assert (code, answer["state"], answer["billed"]) == (3, "refused", "no")
    assert here.secret not in err + json.dumps(answer)
    assert here.billed == 0


async def test_credentials_come_from_a_block(studio, prefect_server, command):
    """`--credentials NAME` needs neither a gateway nor a key in the environment."""
    here = studio()
    block = OpenAIHKCredentials(api_key=here.secret, base_url=here.simulator.url)
    await block.asave("command-line", overwrite=True)
    code, answer, _err = await command(
        here, "by block", "--credentials", "command-line", "--key", "K2", api_url=prefect_server.url
    )
    submissions, _songs = await here.ledger("K2")
    assert (code, here.billed) == (0, 1), answer
    assert submissions[0].account == "block:openai-hk-credentials/command-line"


async def test_a_server_that_does_not_answer_causes_a_warning_but_loses_no_song(
    studio, command, prefect_server
):
    """Songs depend on the ledger only, not on Prefect."""
    here = studio()
    code, _answer, err = await command(
        here,
        *("alone", "--gateway", "openai-hk", "--base-url", here.simulator.url),
        api_url="http://127.0.0.1:9/api",
        OPENAI_HK_KEY=here.secret,
    )
    assert (code, here.billed) == (0, 1)
    assert "does not answer" in err
